"""What the requests may see and do of the running mount; ``mount`` composes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sftpfs.config import MountConfig
from sftpfs.remote.api import Remote
from sftpfs.vfs.filesystem import Filesystem


@dataclass(frozen=True, slots=True)
class Mounted:
    """One mount."""

    config: MountConfig
    remote: Remote
    filesystem: Filesystem
    connections: Callable[[], dict[str, Any]]
    """The pool's statistics."""
    forget: Callable[[Iterable[tuple[int, bytes]], Iterable[int]], Awaitable[None]]
    """Makes the kernel forget names (directory's inode number, name), and what it holds of inodes."""
    since: float
    """When it was mounted, seconds since 1970."""
