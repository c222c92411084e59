"""What is let go, and when: names that the kernel does not hold, beyond the bound on them, and what the
kernel is to be asked to forget, beyond the memory there is for that.

Synchronous, between ``vfs.inventory`` and ``vfs.answers``. Nothing is let go within an operation's step: what
is found, made or listed stays until the reply about it was made. A sweep of its own takes it, which
``vfs.filesystem`` runs after ``crowded`` was called. An operation that waits meanwhile may hold an inode
without a name when it goes on: ``fuse`` looks whether the name leads to it before it tells the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sftpfs import clock
from sftpfs.config import CacheConfig
from sftpfs.server_clock import ServerClock
from sftpfs.types import Attributes
from sftpfs.vfs.inodes import Inode
from sftpfs.vfs.inventory import Inventory, bytes_of
from sftpfs.vfs.leases import LISTED_ENTRIES_MINIMUM

SWEPT_TOGETHER = 2000
"""Names looked at before others have a turn: about a millisecond."""

SLACK = 8
"""A sweep that leaves more than the bound, since it may not be let go, is made again when there is this
part of it more: looking at all of it costs so many steps for each name that came."""


MOST_HELD = 256 << 20
"""Bytes for what the kernel holds, some 450,000 files: the largest source trees fit, and a walk over any
number of them takes no more than that. What it forgot is asked for again by whoever comes back."""

FORGOTTEN_AT_ONCE = 16
"""This part of it is forgotten when there is more: looking at all of it costs so many steps a name."""


class Eviction(Inventory):
    """See the module."""

    def __init__(
        self,
        root: bytes,
        attributes: Attributes,
        config: CacheConfig,
        server_clock: ServerClock | None = None,
    ) -> None:
        super().__init__(root, attributes, config, server_clock)
        self.bound = max(config.max_entries, LISTED_ENTRIES_MINIMUM)
        """Names the kernel does not hold of which more are swept."""
        self._sweep_at = self.bound
        self._forget_at = MOST_HELD
        self.crowded: Callable[[], object] = _nobody
        """Called when there is something to sweep, within any operation: to see to it after that."""

    def _more_unused(self, parent: Inode) -> None:
        super()._more_unused(parent)
        if self.unused > self._sweep_at:
            self._sweep_at = self.unused + self.bound // SLACK
            self.crowded()

    def _hold(self, size: int) -> None:
        super()._hold(size)
        if self.held > self._forget_at:
            self._forget_at = self.held + MOST_HELD // FORGOTTEN_AT_ONCE
            self.crowded()

    def listing_unused(self, inode: Inode) -> None:
        """No handle reads the directory any more: its names may be let go."""
        if self.unused > self.bound:
            self._sweep_at = self.unused
            self.crowded()

    def sweep(self) -> Iterator[None]:
        """Let go of names the kernel does not hold until they are well within the bound; steps, between
        which others may do anything. Whole directories at a time: those beyond the bound by themselves,
        then those listed longest ago, listings made ahead that wait for their reader last."""
        now = clock.now()
        steps = 0
        enough = self.bound - self.bound // SLACK  # else the next few names would have all looked at again
        idle = self._idle.values() if self.unused > self.bound else ()
        for parent in sorted(idle, key=lambda one: self._rank(one, now)):
            directory = parent.directory
            assert directory is not None
            if self.unused <= enough:
                break
            if not directory.unused or directory.busy:
                continue
            for child in list(directory.children.values()):
                self._let_go(parent, child)
                steps += 1
                if steps % SWEPT_TOGETHER == 0:
                    yield
                    if directory.busy:
                        break
            directory.compact()
        stays = self.unused
        self._sweep_at = self.bound if stays <= self.bound else stays + stays // SLACK

    def forgettable(self) -> list[Inode]:
        """What the kernel is to be asked to forget now: nothing while there is memory, else what it was told
        first. Directories only where files are not enough, and none of which it holds names: a walk (fts(3))
        looks whether one has the number it had before. What it does not forget comes last next time."""
        chosen: list[Inode] = []
        if self.held > MOST_HELD:
            wanted = self.held - MOST_HELD + MOST_HELD // FORGOTTEN_AT_ONCE
            for directories in (False, True):
                for inode in self._by_number.values():
                    if wanted <= 0:
                        break
                    if (inode.directory is not None) is directories and self._may_be_forgotten(inode):
                        chosen.append(inode)
                        wanted -= bytes_of(inode)
            for inode in chosen:
                del self._by_number[inode.number]
                self._by_number[inode.number] = inode
        self._forget_at = max(MOST_HELD, self.held)
        return chosen

    def _may_be_forgotten(self, inode: Inode) -> bool:
        directory = inode.directory
        if directory is None:
            return not inode.handles
        return not directory.busy and len(directory.children) == directory.unused and inode is not self.root

    def _rank(self, parent: Inode, now: float) -> int:
        directory = parent.directory
        assert directory is not None
        if directory.unused > self.bound:
            return 0
        return 2 if directory.ahead and directory.complete_until > now else 1

    def _let_go(self, parent: Inode, child: Inode) -> None:
        """Forget the one name of ``child``, in ``parent``, where nothing needs it: there may be such a name
        all the same, so that the listing is complete no longer."""
        if child.lookups or child.handles or child.aliases or child.given_target is not None:
            return
        below = child.directory
        if below is not None and (below.children or below.busy or below.pending):
            return
        directory = parent.directory
        assert directory is not None
        if (child.content is not None and child.content.kept) or directory.children.get(
            child.name
        ) is not child:
            return
        directory.complete_until = directory.absent_until = 0.0
        self._leave(parent, child.name)
        child.linked = False
        self._release_if_unused(child)


def _nobody() -> None:
    """Nobody sweeps while there is no mount."""
