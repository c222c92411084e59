"""Small parts for waiting: a slot for one result, a gate for bytes, a byte stream, work in a thread.

Owns what the hot path needs of trio. Holds no policy. Every room of the front process may import it; it
imports nothing else of sftpfs but ``aio.readiness`` and ``types``.
"""

from __future__ import annotations

import errno
import logging
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import trio

from sftpfs.aio import readiness
from sftpfs.types import Buffer

T = TypeVar("T")

logger = logging.getLogger(__name__)

NO_THREAD = "can't start new thread"
"""Python's message when the system refuses a thread."""

THREAD_PAUSE = 0.1
"""Seconds between tries to start a thread."""

THREAD_LOGGED = 2.0
"""Seconds of these tries after which a line is logged."""


async def in_thread(
    work: Callable[..., T],
    *arguments: Any,
    patience: float = math.inf,
    limiter: trio.CapacityLimiter | None = None,
    abandon_on_cancel: bool = False,
) -> T:
    """Runs ``work`` in its own thread, as ``trio.to_thread.run_sync``.

    The system may refuse every new thread for a while (pids.max of a container, RLIMIT_NPROC); this waits
    until it does not. Raises OSError(EAGAIN) after ``patience`` seconds of that, and whatever ``work``
    raises.
    """
    since, logged = trio.current_time(), False
    while True:
        try:
            return await trio.to_thread.run_sync(
                work, *arguments, limiter=limiter, abandon_on_cancel=abandon_on_cancel
            )
        except RuntimeError as problem:
            if str(problem) != NO_THREAD:
                raise
        waited = trio.current_time() - since
        if waited >= patience:
            raise OSError(errno.EAGAIN, "no thread can be started: the limit of processes is reached")
        if waited >= THREAD_LOGGED and not logged:
            logged = True
            logger.warning("no thread can be started: the limit of processes is reached; some work waits")
        await trio.sleep(THREAD_PAUSE)


class Slot(Generic[T]):
    """The result of one request, set once and awaited by any number of tasks.

    ``callback``, when set, runs synchronously as the slot is filled and before any
    waiter goes on; it must not raise. A cancelled waiter does not disturb the slot.

    INVARIANT: filled at most once; after that ``done`` is True for ever.
    """

    __slots__ = ("_error", "_value", "_waiters", "callback", "done")

    def __init__(self, callback: Callable[[Slot[T]], None] | None = None) -> None:
        self.done = False
        self.callback = callback
        self._value: T | None = None
        self._error: BaseException | None = None
        self._waiters: list[trio.lowlevel.Task] | None = None

    @classmethod
    def of(cls, value: T) -> Slot[T]:
        """A slot already filled with ``value``."""
        slot: Slot[T] = cls()
        slot.set(value)
        return slot

    def set(self, value: T) -> None:
        """Fill with ``value`` and wake the waiters."""
        assert not self.done
        self._value = value
        self._finish()

    def fail(self, error: BaseException) -> None:
        """Fill with ``error``; every ``result`` and ``wait`` raises it."""
        assert not self.done
        self._error = error
        self._finish()

    def _finish(self) -> None:
        self.done = True
        if self.callback is not None:
            self.callback(self)
            self.callback = None
        waiters = self._waiters
        if waiters is not None:
            self._waiters = None
            for task in waiters:
                trio.lowlevel.reschedule(task)

    @property
    def error(self) -> BaseException | None:
        """The error it was filled with, or None."""
        return self._error

    def result(self) -> T:
        """The value, or raises the error. Only once ``done``."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    async def wait(self) -> T:
        """Wait until filled, then as ``result``. Does not yield when filled already."""
        if not self.done:
            task = trio.lowlevel.current_task()
            if self._waiters is None:
                self._waiters = [task]
            else:
                self._waiters.append(task)
            waiters = self._waiters

            def abort(_: object) -> trio.lowlevel.Abort:
                waiters.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


class ByteGate:
    """Bounds bytes held for later; takers wait in order of arrival.

    One taker may exceed the limit when nothing else is held, so that no size can
    wait for ever.

    INVARIANT: ``held`` is the sum of what was taken and not yet released, never negative.
    """

    __slots__ = ("_waiters", "held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._waiters: deque[tuple[int, Slot[None]]] = deque()

    def take_nowait(self, size: int) -> bool:
        """Take ``size`` bytes if there is room now and nobody waits; else False."""
        if self._waiters or (self.held and self.held + size > self.limit):
            return False
        self.held += size
        return True

    async def take(self, size: int) -> None:
        """Take ``size`` bytes, waiting for room."""
        if self.take_nowait(size):
            return
        slot: Slot[None] = Slot()
        entry = (size, slot)
        self._waiters.append(entry)
        try:
            await slot.wait()
        except BaseException:
            if slot.done and slot.error is None:
                self.release(size)
            elif entry in self._waiters:
                self._waiters.remove(entry)
                self._admit()
            raise

    def release(self, size: int) -> None:
        """Give back ``size`` bytes and let the next takers in."""
        self.held -= size
        assert self.held >= 0
        self._admit()

    def _admit(self) -> None:
        while self._waiters:
            size, slot = self._waiters[0]
            if self.held and self.held + size > self.limit:
                return
            self._waiters.popleft()
            self.held += size
            slot.set(None)


class ByteStream:
    """A two-way byte stream as non-blocking file descriptors; a socket has one for both ways.

    Owned by whoever reads it last (the SFTP session). ``close`` is idempotent.

    INVARIANT: once ``closed`` both descriptors are -1, because their numbers may be another file's by then.
    """

    __slots__ = ("_read", "_serving", "closed", "read_fd", "write_fd")

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd = read_fd
        self.write_fd = write_fd
        self.closed = False
        self._serving: Slot[None] | None = None
        self._read: Callable[[], object] | None = None
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    def read_into(self, space: memoryview) -> int:
        """Read once; how many bytes came, 0 at the end of the stream. Raises BlockingIOError where nothing
        has come, and OSError."""
        return os.readv(self.read_fd, (space,))

    def write(self, buffers: Sequence[Buffer]) -> int:
        """Write once; how many bytes were taken. Raises BlockingIOError where none are, and OSError."""
        return os.writev(self.write_fd, buffers)

    async def writable(self) -> None:
        """Wait until ``write`` takes something, or nearly so. Raises trio.ClosedResourceError."""
        await trio.lowlevel.wait_writable(self.write_fd)

    async def serve(self, read: Callable[[], object]) -> None:
        """Calls ``read`` whenever there is something to read, between the steps of tasks (``aio.readiness``).

        Raises trio.ClosedResourceError once the stream is closed, and whatever ``read`` raises.
        """
        poller = readiness.poller()
        if poller is None:
            while not self.closed:
                await trio.lowlevel.wait_readable(self.read_fd)
                read()
            raise trio.ClosedResourceError
        if self.closed:
            raise trio.ClosedResourceError
        self._serving = serving = Slot[None]()
        self._read = read
        self._watch(poller)
        try:
            await serving.wait()
        finally:
            self._stop_serving(trio.ClosedResourceError())

    def _watch(self, poller: readiness.Poller) -> None:
        """Have ``_turn`` called whenever there is something to read."""
        poller.add(self.read_fd, self._turn)

    def _turn(self) -> None:
        """Let the reader read. In no task, so that it raises nothing."""
        if self._read is not None:
            try:
                self._read()
            except BaseException as problem:
                self._stop_serving(problem)

    def _stop_serving(self, reason: BaseException) -> None:
        serving, self._serving = self._serving, None
        self._read = None
        if serving is not None:
            poller = readiness.poller()
            assert poller is not None
            poller.remove(self.read_fd)
            serving.fail(reason)

    def close(self) -> None:
        """Close both ends; tasks waiting on them get ``trio.ClosedResourceError``."""
        if self.closed:
            return
        self.closed = True
        self._stop_serving(trio.ClosedResourceError())
        for fd in {self.read_fd, self.write_fd}:
            trio.lowlevel.notify_closing(fd)
            os.close(fd)
        self.read_fd = self.write_fd = -1
