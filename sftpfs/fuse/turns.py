"""Which of pyfuse3's tasks reads the kernel's next request: whoever has the turn.

pyfuse3 lets its tasks pass a lock around the device. With trio's lock a task gives the
turn away before it works on what it read, although most requests are answered from memory,
without waiting: then each request costs a task switch and a round of trio's loop more than
it needs. Here a task keeps the turn until its request has to wait (``step``), and takes the
next request itself where the first did not.

``install`` puts this in the place of the module ``trio`` in pyfuse3, as its own
``pyfuse3.asyncio.enable`` does with another. Only ``fuse`` may use it.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import pyfuse3
import trio

from sftpfs import clock

R = TypeVar("R")

GLANCES = 10
"""Looks at the device before sleeping, about a microsecond each: where requests come one upon
another, that is less than going to sleep and being woken (on another processor, with an
interrupt between them) costs, and the next one is there after a few."""
SOON = 60e-6
"""Seconds within which the last request came for the next to be looked for that way."""
UNBROKEN = 16
"""Requests taken that way before trio's other tasks have a turn."""


class Turn:
    """The right to wait for the device; what pyfuse3 takes for its lock.

    INVARIANT: while somebody waits, either the turn is held, or the task that last read has
    not yet come to a wait or to its end.
    """

    __slots__ = ("_dense", "_device", "_held", "_read", "_registered", "_unbroken", "_waiting", "device")

    def __init__(self) -> None:
        self._device = select.poll()
        self._registered = False
        self.device: int | None = None
        self._dense = False
        self._unbroken = 0
        self._held = False
        self._read = False
        self._waiting: deque[trio.lowlevel.Task] = deque()

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
        self._held = False
        if not self._read:  # the session ends, and whoever waits has to hear of it
            self.pass_on()
        self._read = False

    async def wait_readable(self, fd: int) -> None:
        """Wait for a request; called with the turn held."""
        if self._dense and self._unbroken < UNBROKEN:
            glance = self._device.poll
            for _ in range(GLANCES):
                if glance(0):
                    self._unbroken += 1
                    self._read = True
                    return
        self._unbroken = 0
        before = clock.awake()
        await trio.lowlevel.wait_readable(fd)
        self._dense = clock.awake() - before < SOON
        self._read = True
        if not self._registered:
            self._registered = True
            self.device = fd
            self._device.register(fd, select.POLLIN)

    def pass_on(self) -> None:
        """Let the next task read, if nobody has the turn."""
        if not self._held and self._waiting:
            self._held = True
            trio.lowlevel.reschedule(self._waiting.popleft())


_turn = Turn()
"""pyfuse3's session is one per process, and so is this."""


def device() -> int | None:
    """The descriptor on which the kernel's requests come; None before the first was waited for."""
    return _turn.device


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
        _turn.pass_on()
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
    """Have pyfuse3 take turns this way; before its ``main``."""
    pyfuse3.trio = _Trio()  # type: ignore[attr-defined]
