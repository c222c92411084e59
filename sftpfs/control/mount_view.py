"""What the requests may see and do of the running mount. ``mount`` composes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from sftpfs.config import MountConfig
from sftpfs.remote.api import Remote
from sftpfs.types import Bandwidth, Operation, RunningOperation
from sftpfs.vfs.filesystem import Filesystem


class Life(Protocol):
    """The end of the mount, as far as requests deal with it."""

    async def detach(self, lazy: bool) -> bool:
        """Takes the mount out of the tree, as umount(8) does. Returns False if somebody uses it and not
        ``lazy``.

        The mount then serves whoever still uses it, brings what is dirty to the server and ends.
        """

    def give_up(self) -> None:
        """Ends without the programs that still use the mount, and without what is not on the server yet."""

    async def drained(self) -> list[str]:
        """Waits until the mount has nothing to do any more. Returns a line for each file that was lost."""

    async def kept(self) -> str:
        """Waits until the mount is off here with everything on the server, and goes on only because something
        else has a copy of it. Returns what that is, for a person."""

    def expect_listener(self) -> trio.Event:
        """Somebody waits for ``drained``; the mount ends once the event is set, or a moment later."""


class Tracer(Protocol):
    """The kernel's requests, one by one, for as long as somebody looks."""

    def watching(self, watcher: Callable[[Operation], None]) -> AbstractContextManager[None]:
        """Calls ``watcher`` with every request that is answered while the context lasts."""

    def running(self) -> list[RunningOperation]:
        """The requests not answered yet that came since somebody looks, the oldest first."""


@dataclass(frozen=True, slots=True)
class MountView:
    """One mount."""

    config: MountConfig
    remote: Remote
    filesystem: Filesystem
    connections: Callable[[], dict[str, Any]]
    """The pool's statistics."""
    limit: Callable[[Bandwidth], None]
    """Content takes at most this much from now on."""
    forget: Callable[[Iterable[tuple[int, bytes]], Iterable[int]], Awaitable[None]]
    """Makes the kernel forget names (directory's inode number, name), and what it holds of inodes."""
    losses: Callable[[], dict[str, Any]]
    """What was lost since the mount and nobody has acknowledged: counts, and where it is saved."""
    read_only: Callable[[], bool]
    """Whether nothing can be written through the mount now: a remount changes that."""
    life: Life
    tracer: Tracer
    since: float
    """When it was mounted, seconds since 1970."""
