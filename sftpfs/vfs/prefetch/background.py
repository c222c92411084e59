"""Work of vfs that nobody waits for: listings made ahead, leases renewed.

Owns the nursery that such work runs in. Before the mount serves and while it ends there is no nursery, and
work offered then is not done.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVarTuple

import trio

from sftpfs import operation

log = logging.getLogger(__name__)

Arguments = TypeVarTuple("Arguments")


class BackgroundTasks:
    """Runs tasks until the mount ends."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Be there for work; until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def spawn(self, work: Callable[[*Arguments], Awaitable[None]], *arguments: *Arguments) -> bool:
        """Starts ``work(*arguments)``. If the server refuses it, nobody needs to know. Returns False if it is
        not done."""
        if self._nursery is None:
            return False
        self._nursery.start_soon(self._contained, work, arguments)
        return True

    async def _contained(
        self,
        work: Callable[[*Arguments], Awaitable[None]],
        arguments: tuple[*Arguments],
    ) -> None:
        operation.end()
        try:
            await work(*arguments)
        except OSError as problem:
            log.debug("background work came to nothing: %s", problem)
        except Exception:  # nobody waits for it, and the mount can do without
            log.exception("internal error in background work: please report it")
