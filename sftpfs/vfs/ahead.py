"""Asking before somebody asks: carries out walk-ahead and renews listings in the background.

The policies decide (``vfs.walk_ahead``), ``vfs.listings`` asks. A demand never waits for
anything here, but joins a request that is under way already.
"""

from __future__ import annotations

import time

from sftpfs.vfs.background import Background
from sftpfs.vfs.inodes import Inode
from sftpfs.vfs.listings import Listings
from sftpfs.vfs.walk_ahead import WalkAhead

MISSES_BEFORE_LISTING = 2
"""Names asked for one by one before the directory is listed: one may be all that is wanted."""

LARGEST_RENEWED = 5000
"""Entries: a longer listing costs more than the lookups it would answer."""

LARGEST_GUESSED = 256 << 10
"""Size in bytes of a directory that is never listed to answer lookups: about 5,000 names on ext4."""


class Ahead:
    """Listings nobody waits for."""

    def __init__(self, listings: Listings, background: Background) -> None:
        self._listings = listings
        self._background = background
        self.walk = WalkAhead()

    def demanded(self, inode: Inode) -> None:
        """A program begins to list ``inode``."""
        self.walk.demanded(inode, time.monotonic())

    def advance(self) -> None:
        """List ahead what the walk will reach next."""
        for directory in self.walk.plan(time.monotonic()):
            self._background.spawn(self._list, directory)

    async def _list(self, directory: Inode) -> None:
        useful = False
        try:
            await self._listings.listing(directory)
            useful = True
        finally:
            self.walk.arrived(directory, useful)
        self.advance()

    def missed(self, parent: Inode) -> None:
        """A name in ``parent`` has to be asked for; where that happens again and again, list it."""
        directory = parent.directory
        assert directory is not None
        directory.misses += 1
        needed = 1 if self.walk.window else MISSES_BEFORE_LISTING
        if directory.misses < needed or parent.attributes.size > LARGEST_GUESSED:
            return
        if directory.complete_until <= time.monotonic() and directory.listing is None:
            self.walk.demanded(parent, time.monotonic())
            self._background.spawn(self._list_and_advance, parent)

    async def _list_and_advance(self, parent: Inode) -> None:
        await self._listings.refresh(parent)
        self.advance()

    def outdated(self, parent: Inode) -> None:
        """The listing of ``parent`` can no longer be proven true: make it anew."""
        directory = parent.directory
        assert directory is not None
        if len(directory.children) <= LARGEST_RENEWED:
            self._background.spawn(self._listings.refresh, parent)
