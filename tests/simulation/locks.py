"""The kernel's rwsem: many readers or one writer, in the order of arrival."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class RwSem:
    """INVARIANT: nobody waits while nobody holds it."""

    __slots__ = ("_readers", "_waiting", "_writer")

    def __init__(self) -> None:
        self._readers = 0
        self._writer = False
        self._waiting: deque[tuple[bool, trio.lowlevel.Task]] = deque()

    @property
    def held(self) -> bool:
        """Somebody has it or waits for it."""
        return self._writer or self._readers > 0 or bool(self._waiting)

    async def acquire(self, write: bool) -> None:
        if not self._writer and not self._waiting and not (write and self._readers):
            self._take(write)
            return
        task = trio.lowlevel.current_task()
        entry = (write, task)
        self._waiting.append(entry)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting.remove(entry)
            self._admit()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def release(self, write: bool) -> None:
        if write:
            self._writer = False
        else:
            self._readers -= 1
        self._admit()

    def _take(self, write: bool) -> None:
        if write:
            self._writer = True
        else:
            self._readers += 1

    def _admit(self) -> None:
        while self._waiting:
            write, task = self._waiting[0]
            if self._writer or (write and self._readers):
                return
            self._waiting.popleft()
            self._take(write)
            trio.lowlevel.reschedule(task)

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        await self.acquire(False)
        try:
            yield
        finally:
            self.release(False)

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        await self.acquire(True)
        try:
            yield
        finally:
            self.release(True)
