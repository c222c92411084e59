"""Which of pyfuse3's tasks reads the kernel's next request: the one that has the turn.

pyfuse3's tasks pass a lock around the device. With trio's lock a task gives the turn away before it works on
what it read. Most requests are answered from memory, without waiting; then each request costs one task switch
and one round of trio's loop more than it needs. Here a task keeps the turn until its request has to wait
(``step``), and takes the next request itself if it did not. If it had to wait, nobody has the turn, and no
task is woken for that: whoever is done first takes it, or the next request wakes one of those that wait.

``install`` puts this in the place of the module ``trio`` in pyfuse3, as pyfuse3's own
``pyfuse3.asyncio.enable`` does with another. Only ``fuse`` may use it.
"""

from __future__ import annotations

import select
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import outcome
import pyfuse3
import trio

from sftpfs import clock
from sftpfs.aio.readiness import Poller, poller

R = TypeVar("R")

GLANCES = 10
"""Looks at the device before sleeping, about a microsecond each. When requests come one upon another, that
costs less than going to sleep and being woken (on another processor, with an interrupt between them), and the
next request is there after a few looks."""
SOON = 60e-6
"""The next request is looked for that way if the last one came within these seconds."""
UNBROKEN = 16
"""Requests taken that way before trio's other tasks get a turn."""


class Turn:
    """The right to wait for the device; what pyfuse3 takes for its lock.

    INVARIANT: while somebody waits, the turn is held, or ``_poller`` calls ``_readable``, or the task that
    last read has not yet come to a wait or to its end.
    INVARIANT: ``_found`` only while the turn is held by a task that was woken for a request and has not read.
    """

    __slots__ = (
        "_dense",
        "_device",
        "_found",
        "_held",
        "_poller",
        "_read",
        "_reader",
        "_registered",
        "_unbroken",
        "_waiting",
        "device",
    )

    def __init__(self) -> None:
        self._device = select.poll()
        self._registered = False
        self.device: int | None = None
        self._dense = False
        self._unbroken = 0
        self._held = False
        self._found = False
        self._read = False
        self._poller: Poller | None = None
        """Set while it calls ``_readable``."""
        self._reader: trio.lowlevel.Task | None = None
        self._waiting: list[trio.lowlevel.Task] = []

    async def __aenter__(self) -> None:
        if not self._held:
            self._held = True
            return
        task = trio.lowlevel.current_task()
        self._waiting.append(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def __aexit__(self, *error: object) -> None:
        self._held = self._found = False
        if not self._read:  # the session ends, and whoever waits has to hear of it
            self.pass_on()
        self._read = False

    async def wait_readable(self, fd: int) -> None:
        """Wait for a request; called with the turn held.

        The kernel takes a request back if its program is killed, and a read would then hold up the whole
        mount: what was seen a while ago is looked at once more.
        """
        if self._found:
            self._unbroken = 0
            await self._still_there(fd)
            self._read = True
            return
        if self._dense and self._unbroken < UNBROKEN:
            glance = self._device.poll
            for _ in range(GLANCES):
                if glance(0):
                    self._unbroken += 1
                    self._read = True
                    return
        self._unbroken = 0
        before = clock.awake()
        await self._wait(fd)
        self._dense = clock.awake() - before < SOON
        if not self._registered:
            self._registered = True
            self.device = fd
            self._device.register(fd, select.POLLIN)
        await self._still_there(fd)
        self._read = True

    async def _still_there(self, fd: int) -> None:
        while not self._device.poll(0):
            self._found = False
            await self._wait(fd)

    async def _wait(self, fd: int) -> None:
        if self._poller is None:
            found = poller()
            if found is None:
                await trio.lowlevel.wait_readable(fd)
                return
            found.add(fd, self._readable)
            self._poller, self.device = found, fd
        self._reader = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._reader = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _readable(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            trio.lowlevel.reschedule(reader)
        elif self._waiting and not self._held:
            self._found = True
            self.pass_on()
        else:
            self._unwatch()  # nobody will read for now, and it would be reported again and again

    def _unwatch(self) -> None:
        watching, self._poller = self._poller, None
        if watching is not None and self.device is not None:
            watching.remove(self.device)

    def end(self) -> None:
        """The device is about to be closed: its number may be another descriptor's soon."""
        self._unwatch()
        self.device = None

    def notify_closing(self, fd: int) -> None:
        """No request is waited for any more: whoever waits gets trio.ClosedResourceError."""
        self._unwatch()
        reader, self._reader = self._reader, None
        if reader is not None:
            trio.lowlevel.reschedule(reader, outcome.Error(trio.ClosedResourceError()))
        self.pass_on()
        trio.lowlevel.notify_closing(fd)

    def leave(self) -> None:
        """Who read a request has to wait: another task may read."""
        if self._poller is None:
            self.pass_on()

    def pass_on(self) -> None:
        """Let the next task read, if nobody has the turn."""
        if not self._held and self._waiting:
            self._held = True
            trio.lowlevel.reschedule(self._waiting.pop())  # the last: what its buffer is in is still near


_turn = Turn()
"""pyfuse3's session is one per process, and so is this."""


def device() -> int | None:
    """The descriptor on which the kernel's requests come; None before the first was waited for, and after
    ``end``."""
    return _turn.device


def end() -> None:
    """Before the device is closed: nobody looks at its descriptor or writes to it any more."""
    _turn.end()


class step(Generic[R]):
    """``await step(coroutine)``: run it, and give the turn away if it has to wait."""

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, R]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, R]:
        coroutine = self._coroutine
        try:
            trap = coroutine.send(None)
        except StopIteration as end:
            result: R = end.value
            return result
        _turn.leave()
        while True:
            try:
                try:
                    answer = yield trap
                except BaseException as error:
                    trap = coroutine.throw(error)
                else:
                    trap = coroutine.send(answer)
            except StopIteration as end:
                result = end.value
                return result


class _Nursery:
    """Tasks that leave the turn to others when they end."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(self, function: Callable[..., Awaitable[None]], *args: Any, name: str) -> None:
        async def task() -> None:
            try:
                await function(*args)
            finally:
                _turn.pass_on()

        self._nursery.start_soon(task, name=name)


class _LowLevel:
    wait_readable = staticmethod(_turn.wait_readable)
    notify_closing = staticmethod(_turn.notify_closing)

    def __getattr__(self, name: str) -> Any:
        return getattr(trio.lowlevel, name)


class _Trio:
    """What pyfuse3 uses of trio, with the turn for its lock."""

    lowlevel = _LowLevel()

    @staticmethod
    def Lock() -> Turn:
        return _turn

    @staticmethod
    @asynccontextmanager
    async def open_nursery() -> AsyncIterator[_Nursery]:
        async with trio.open_nursery() as nursery:
            yield _Nursery(nursery)

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)


def install() -> None:
    """Makes pyfuse3 take turns this way; before its ``main``."""
    pyfuse3.trio = _Trio()  # type: ignore[attr-defined]
