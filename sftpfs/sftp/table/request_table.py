"""The request table of one SFTP session: sends packets, matches replies, keeps the deadline.

Owns the byte stream, the outstanding requests and the counters; knows nothing of
what the requests mean beyond their ``Kind``. ``Session`` puts SFTP on top of it.
All state changes in synchronous code; only the three loops await.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import trio

from sftpfs import clock
from sftpfs.aio import ByteStream, Slot
from sftpfs.errors import ProtocolError, SessionLostError, Status, StatusError, UnsentError, fresh
from sftpfs.histogram import Histogram
from sftpfs.server_traits import ServerTraits
from sftpfs.sftp.handle_prediction import HandlePredictor
from sftpfs.sftp.link_rate import Link, LinkDirection
from sftpfs.sftp.packets import Decoder
from sftpfs.sftp.table.packet_writer import PacketWriter
from sftpfs.sftp.table.reply_deadline import ReplyDeadline
from sftpfs.sftp.table.reply_value import value_of
from sftpfs.sftp.table.request import AbandonedRequest, Kind, Reach, Request, SessionStatistics
from sftpfs.sftp.table.request_order import RepeatedHandleError, RequestOrder
from sftpfs.types import Buffer

T = TypeVar("T")

logger = logging.getLogger(__name__)

_REAPER_INTERVAL = 1.0
"""Seconds between looks at the oldest request: short beside any deadline, rare enough to cost nothing."""


class RequestTable:
    """Requests outstanding on one byte stream.

    INVARIANT: a request is in ``_requests`` from its sending until its slot is
    filled; the dict's order is the order of sending. Once ``closed_error`` is set
    the dict and the queue are empty and stay so, and the stream is closed.
    INVARIANT: without an ``order`` nothing is ``_kept_back``; what is waits for a request in ``_requests``.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        timeout: float,
        generation: int,
        link: Link | None = None,
        traits: ServerTraits | None = None,
    ) -> None:
        self.generation = generation
        self.traits = traits or ServerTraits()
        """What the server is known to do, over all sessions of the mount."""
        self.link = link or Link()
        """How fast content passes, over all sessions of the mount."""
        self.watch: Callable[[], None] | None = None
        """Called about once a second while the session lives; must not raise."""
        self.closed_error: SessionLostError | None = None
        self.statistics = SessionStatistics()
        self.handles = HandlePredictor()
        """Which handle the server gives next."""
        self.order: RequestOrder | None = None
        """Keeps requests apart where the server may carry them out in any order."""
        self._kept_back: dict[int, tuple[Request[Any], tuple[Buffer, ...]]] = {}
        """What the order keeps back, with its packet."""
        self.writer = PacketWriter(stream, self.statistics)
        self._stream = stream
        self._deadline = ReplyDeadline(timeout)
        self._value_of = value_of
        self._decoder = Decoder()
        self._requests: dict[int, Request[Any]] = {}
        self._last_id = 0
        self._ended = trio.Event()
        self._last_reply = 0.0
        self._ended_silent: float | None = None

    @property
    def outstanding(self) -> int:
        """Requests sent and not yet answered."""
        return len(self._requests)

    @property
    def last_reply(self) -> float:
        """When the latest reply came, by ``clock.awake``; 0 before the first."""
        return self._last_reply

    @property
    def one_at_a_time(self) -> bool:
        """No handle is to be made while there is another."""
        return self.traits.known.one_at_a_time

    @property
    def handles_open(self) -> int:
        """Handles that were given and not closed, as far as the server has answered, and those asked for.
        None are counted where the server carries requests out in order."""
        if self.order is None:
            return 0
        asked = [*self._requests.values(), *(request for request, _ in self._kept_back.values())]
        return self.order.open_handles + sum(one.kind.reach is Reach.OPENS for one in asked)

    @property
    def timeout(self) -> float:
        """Seconds without an answer after which the session is given up."""
        return self._deadline.timeout

    def silent_for(self) -> float:
        """Seconds the server has owed its next answer; 0 where it owes none."""
        since = self.silent_since
        return 0.0 if since is None else max(0.0, clock.awake() - since)

    @property
    def silent_since(self) -> float | None:
        """Since when the server has owed its next answer; None where it owes none. Once the session is
        closed, as it was then; where nothing was owed, when that was."""
        since = self._deadline.owed_since(self._requests, self._last_reply)
        return self._ended_silent if since is None else since

    def unanswered(self) -> list[Request[Any]]:
        """Requests sent and not yet answered, in the order of sending."""
        return list(self._requests.values())

    def detach_request(self, request: Request[T]) -> Request[T] | None:
        """Take ``request``, which its owner is to fill, from the table: the reply goes to the slot returned.

        None where it is not outstanding.
        """
        for identifier, outstanding in self._requests.items():
            if outstanding is request:
                instead: Request[T] = AbandonedRequest()
                instead.kind, instead.detail, instead.sent = request.kind, request.detail, request.sent
                instead.direction, instead.queued = request.direction, request.queued
                self._requests[identifier] = instead
                return instead
        return None

    # -- life ---------------------------------------------------------------

    async def run(self) -> None:
        """Read, write and watch the deadline until the session is closed, by whomever.

        Never raises for anything the other side does; ``closed_error`` tells why it ended.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read_loop)
                nursery.start_soon(self._write_loop)
                nursery.start_soon(self._reap_loop)
                await self._ended.wait()
                nursery.cancel_scope.cancel()
        finally:
            self.close("the SFTP session was ended")
            self._decoder.release()

    def close(self, reason: str, number: int = errno.EIO) -> None:
        """End the session: close the stream and fail every request with SessionLostError. Idempotent."""
        if self.closed_error is not None:
            return
        since = self.silent_since
        self._ended_silent = clock.awake() if since is None else since
        self.closed_error = SessionLostError(reason, number)
        self._stream.close()
        self.writer.drop()
        self._ended.set()
        lost = list(self._requests.values())
        held = [request for request, _ in self._kept_back.values()]
        self._requests.clear()
        self._kept_back.clear()
        for request in lost:
            if request.direction is not None:
                request.direction.lost(request.detail)
            request.fail(fresh(self.closed_error))
        for request in held:
            request.fail(UnsentError(reason, number))

    # -- sending ------------------------------------------------------------

    def _next_id(self) -> int:
        self._last_id = identifier = (self._last_id + 1) & 0xFFFFFFFF
        return identifier

    def _start(
        self,
        kind: Kind[T],
        identifier: int,
        packet: bytes,
        detail: Any = None,
        data: Buffer | None = None,
        direction: LinkDirection | None = None,
        beside: Collection[int] = (),
    ) -> Slot[T]:
        """Send ``packet``, followed by ``data``, and note the request under ``identifier``. ``detail`` is
        the length of the content that goes in ``direction``, where one is given. ``beside`` as
        ``RequestOrder.enter`` has it.

        Fills no other request's slot, whatever happens: a failed write is dealt with
        by the writer task.
        """
        request: Request[T] = Request()
        if self.closed_error is not None:
            request.fail(fresh(self.closed_error))
            return request
        if kind.reach is Reach.OPENS and self.one_at_a_time and self.handles_open:
            request.fail(StatusError(Status.FAILURE, "the server has one file open, and takes no other"))
            return request
        request.kind = kind
        request.detail = detail
        request.direction = direction
        buffers: tuple[Buffer, ...] = (packet,) if data is None else (packet, data)
        if self.order is not None and not self.order.enter(identifier, packet, beside):
            self._kept_back[identifier] = request, buffers
        else:
            self._depart(identifier, request, buffers)
        return request

    def _depart(self, identifier: int, request: Request[Any], buffers: tuple[Buffer, ...]) -> None:
        """``request`` is under way from now on."""
        direction = request.direction
        request.sent = now = clock.awake()
        request.queued = 0 if direction is None else direction.sent(request.detail, now)
        requests = self._requests
        statistics = self.statistics
        if not requests:
            statistics.waits += 1
        requests[identifier] = request
        name = request.kind.name
        counts = statistics.requests
        counts[name] = counts.get(name, 0) + 1
        self.writer.send(buffers)

    async def _write_loop(self) -> None:
        try:
            failure = await self.writer.run()
        except trio.ClosedResourceError:
            self.close("the SFTP stream was closed")
            return
        while self._receive():
            pass  # the other side takes nothing more; what it answered before is still worth reading
        self.close(f"writing to the SFTP stream failed: {failure.strerror}")

    # -- receiving ----------------------------------------------------------

    async def _read_loop(self) -> None:
        try:
            await self._stream.serve(self._receive)
        except trio.ClosedResourceError:
            self.close("the SFTP stream was closed")

    def _receive(self) -> bool:
        """Read once and answer every request whose reply is complete.

        False where there was nothing to read, or the session is closed.
        """
        if not self._fill():
            return False
        try:
            self._answer(clock.awake())
        except ProtocolError as violation:
            logger.warning("SFTP session %d closed: the server sent %s", self.generation, violation)
            self.close(f"the server broke the SFTP protocol: {violation}", errno.EPROTO)
        return self.closed_error is None

    def _fill(self) -> bool:
        """Read once into the decoder; False where nothing came. Closes the session at the stream's end."""
        if self.closed_error is not None:
            return False
        try:
            count = self._stream.read_into(self._decoder.space())
        except BlockingIOError:
            return False
        except OSError as failure:
            self.close(f"reading from the SFTP stream failed: {failure.strerror}")
            return False
        if not count:
            self.close("the server ended the SFTP session")
            return False
        self._decoder.received(count)
        self.statistics.bytes_received += count
        return True

    def _answer(self, now: float) -> None:
        """Fill the slots of all replies the decoder holds. Raises ProtocolError."""
        next_packet = self._decoder.next_packet
        requests = self._requests
        while (packet := next_packet()) is not None:
            packet_type, identifier, payload = packet
            request = requests.get(identifier)
            if request is None:
                raise ProtocolError(f"a reply to request {identifier}, which is not outstanding")
            makes_handle = request.kind.reach is Reach.OPENS
            try:
                value = self._value_of(request, packet_type, payload, self.statistics)
            except OSError as failure:
                del requests[identifier]
                if self.order is not None:
                    self._release(self.order, identifier, None, False)
                self._count_reply(request, now, None)
                if makes_handle:
                    self.handles.answered(identifier, None)
                request.fail(failure)
            else:
                del requests[identifier]
                if self.order is not None:
                    try:
                        self._release(self.order, identifier, value if makes_handle else None, True)
                    except ProtocolError:
                        requests[identifier] = request  # to fail with all others
                        raise
                self._count_reply(request, now, value)
                if makes_handle:
                    self.handles.answered(identifier, value)
                request.set(value)
            if self.closed_error is not None:
                return

    def _release(self, order: RequestOrder, identifier: int, handle: bytes | None, done: bool) -> None:
        """Send what waited for request ``identifier``, which was answered. Raises ProtocolError."""
        try:
            free = order.answered(identifier, handle, done)
        except RepeatedHandleError:
            self.traits.contradict("gives_each_handle_once", "two files open at once were given one handle")
            raise ProtocolError("a handle that is open already") from None
        for waiting in free:
            self._depart(waiting, *self._kept_back.pop(waiting))

    def _count_reply(self, request: Request[Any], now: float, value: Any) -> None:
        statistics = self.statistics
        statistics.replies += 1
        statistics.last_latency = latency = now - request.sent
        if latency < statistics.minimum_latency:
            statistics.minimum_latency = latency
            self.link.round_trip = min(latency, self.link.round_trip)
        direction, size = request.direction, request.detail
        if direction is not None:
            if request.kind.ends and (value is None or len(value) < size):
                # The end of the file, or a refusal, comes quickly over any link.
                direction.cut(size, 0 if value is None else len(value))
            else:
                direction.answered(size, request.queued, latency, self.link.round_trip, now)
        name = request.kind.name
        histogram = statistics.latencies.get(name)
        if histogram is None:
            histogram = statistics.latencies[name] = Histogram()
        histogram.count(latency)
        self._last_reply = now

    # -- deadline -----------------------------------------------------------

    async def _reap_loop(self) -> None:
        while (pause := self._check_deadline(clock.awake())) > 0:
            if self.watch is not None:
                self.watch()
            with trio.move_on_after(pause):
                await self._ended.wait()

    def _check_deadline(self, now: float) -> float:
        """Seconds until the next look; 0 once the oldest request waited too long: the session is closed."""
        deadline, requests = self._deadline, self._requests
        deadline.owed_since(requests, self._last_reply)
        deadline.reply_arriving(self._decoder.held, now)
        left = deadline.seconds_left(requests, self._last_reply, now)
        if left <= 0:
            # Replies may have come while this process did not run.
            self._receive()
            left = deadline.seconds_left(requests, self._last_reply, now)
            if left <= 0:
                self.close(f"the server did not answer within {self.timeout:g} s", errno.ETIMEDOUT)
                return 0.0
        return min(left, _REAPER_INTERVAL)
