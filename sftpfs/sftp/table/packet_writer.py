"""Packets on their way into the byte stream of one session.

Owns what the stream has not taken yet. A packet is written at once if nothing waits before it; one task sends
the rest. Used by ``sftp.table.request_table`` only.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

import trio

from sftpfs.aio import ByteStream
from sftpfs.sftp.table.request import SessionStatistics
from sftpfs.types import Buffer

_BUFFERS_PER_WRITE = 1024
"""Buffers in one writev: Linux's IOV_MAX."""


class PacketWriter:
    """See the module.

    INVARIANT: ``queued_bytes`` is the sum of the lengths in ``_queue``. Once the stream has failed, nothing
    more is written.
    """

    __slots__ = ("_failure", "_queue", "_statistics", "_stream", "_wake", "queued_bytes")

    def __init__(self, stream: ByteStream, statistics: SessionStatistics) -> None:
        self.queued_bytes = 0
        self._stream = stream
        self._statistics = statistics
        self._queue: deque[Buffer] = deque()
        self._failure: OSError | None = None
        self._wake = trio.Event()

    def send(self, buffers: tuple[Buffer, ...]) -> None:
        """Write ``buffers`` now if nothing waits before them; ``run`` sends what is left."""
        if not self._queue and self._failure is None:
            try:
                sent = self._stream.write(buffers)
            except BlockingIOError:
                sent = 0
            except OSError as failure:
                self._failure = failure
                self._wake.set()
                return
            self._statistics.bytes_sent += sent
            if sent == sum(map(len, buffers)):
                return
            buffers = _after(buffers, sent)
        self._queue.extend(buffers)
        self.queued_bytes += sum(map(len, buffers))
        self._wake.set()

    async def run(self) -> OSError:
        """Sends what is queued until the stream fails. Returns why it failed. Raises
        trio.ClosedResourceError if we closed it."""
        while self._failure is None:
            if self._stream.closed:
                raise trio.ClosedResourceError
            if self._queue:
                await self._write_some()
            else:
                self._wake = trio.Event()
                await self._wake.wait()
        return self._failure

    async def flush(self) -> None:
        """Sends what is queued, before anybody is in ``run``. Raises as ``run`` does."""
        while self._queue and self._failure is None:
            await self._write_some()

    def drop(self) -> None:
        """The session has ended. Nothing of the queue is sent any more."""
        self._queue.clear()
        self.queued_bytes = 0

    async def _write_some(self) -> None:
        await self._stream.writable()
        if not self._stream.closed:
            self._write_queued()

    def _write_queued(self) -> None:
        """Write as much of the queue as the stream takes at once."""
        queue = self._queue
        head = list(islice(queue, _BUFFERS_PER_WRITE))
        try:
            sent = self._stream.write(head)
        except BlockingIOError:
            return
        except OSError as failure:
            self._failure = failure
            return
        self._statistics.bytes_sent += sent
        self.queued_bytes -= sent
        while sent:
            first = queue.popleft()
            if len(first) > sent:
                queue.appendleft(memoryview(first)[sent:])
                return
            sent -= len(first)


def _after(buffers: tuple[Buffer, ...], sent: int) -> tuple[Buffer, ...]:
    """What is left of ``buffers`` once their first ``sent`` bytes are gone."""
    if not sent:
        return buffers
    rest: list[Buffer] = []
    for buffer in buffers:
        if sent >= len(buffer):
            sent -= len(buffer)
        else:
            rest.append(memoryview(buffer)[sent:] if sent else buffer)
            sent = 0
    return tuple(rest)
