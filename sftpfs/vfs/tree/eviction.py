"""What is evicted, and when: names that the kernel does not hold, beyond their bound, and what the kernel is
asked to forget, beyond the memory for that.

Synchronous, between ``vfs.tree.kernel_references`` and ``vfs.tree.server_answers``. Nothing is evicted within
an operation's step: what is found, made or listed stays until the reply about it was made. A separate sweep
evicts it; ``vfs.memory_bound`` runs the sweep after ``over_limit`` was called. An operation that waits may
hold an inode without a name when it goes on, so ``fuse`` checks whether the name leads to the inode before
it tells the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sftpfs import clock
from sftpfs.config import CacheConfig
from sftpfs.server_clock import ServerClock
from sftpfs.types import Attributes
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.inode_table import bytes_of
from sftpfs.vfs.tree.kernel_references import KernelReferences
from sftpfs.vfs.tree.leases import LISTED_ENTRIES_MINIMUM

SWEPT_TOGETHER = 2000
"""Names looked at before others get a turn: about a millisecond."""

SLACK = 8
"""If a sweep has to leave more than the bound, it is repeated when there is this part more: looking at all of
it then costs so many steps for each new name."""


MOST_HELD = 256 << 20
"""Bytes for what the kernel holds, some 450,000 files. The largest source trees fit, and a walk over any
number of files takes no more. What the kernel forgot is asked for again by whoever comes back."""

FORGOTTEN_AT_ONCE = 16
"""This part of it is forgotten when there is more: looking at all of it then costs so many steps a name."""


class Eviction(KernelReferences):
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
        self.over_limit: Callable[[], object] = _nobody
        """Called within any operation when there is something to sweep, so that the sweep follows it."""

    def _count_unreferenced(self, parent: Inode, count: int = 1) -> None:
        super()._count_unreferenced(parent, count)
        if self.unreferenced > self._sweep_at:
            self._sweep_at = self.unreferenced + self.bound // SLACK
            self.over_limit()

    def _account(self, size: int) -> None:
        super()._account(size)
        if self.held_bytes > self._forget_at:
            self._forget_at = self.held_bytes + MOST_HELD // FORGOTTEN_AT_ONCE
            self.over_limit()

    def directory_closed(self, inode: Inode) -> None:
        """As ``KernelReferences.directory_closed``. After the last one the directory's names may be
        evicted."""
        super().directory_closed(inode)
        assert inode.directory is not None
        if not inode.directory.open_handles:
            self.names_idle()

    def names_idle(self) -> None:
        """Names of a directory may be evicted from now on."""
        if self.unreferenced > self.bound:
            self._sweep_at = self.unreferenced
            self.over_limit()

    def sweep(self) -> Iterator[None]:
        """Evicts names that the kernel does not hold until they are well within the bound. It works in steps,
        between which others may do anything. It takes whole directories: first those beyond the bound by
        themselves, then those listed longest ago, and last listings made ahead that wait for their reader."""
        now = clock.now()
        steps = 0
        enough = self.bound - self.bound // SLACK  # else the next few names would have all looked at again
        idle = self._evictable.values() if self.unreferenced > self.bound else ()
        for parent in sorted(idle, key=lambda one: self._eviction_rank(one, now)):
            directory = parent.directory
            assert directory is not None
            if self.unreferenced <= enough:
                break
            if not directory.unreferenced or directory.busy:
                continue
            for child in list(directory.children.values()):
                self._evict(parent, child)
                steps += 1
                if steps % SWEPT_TOGETHER == 0:
                    yield
                    if directory.busy:
                        break
            directory.compact()
        stays = self.unreferenced
        self._sweep_at = self.bound if stays <= self.bound else stays + stays // SLACK

    def prunable(self) -> list[Inode]:
        """What the kernel must be asked to forget now: nothing while there is memory, otherwise what it was
        told first. Directories only if files are not enough, and none in which it holds names, because a walk
        (fts(3)) checks whether a directory has the number it had before. What the kernel does not forget
        comes last next time.
        """
        chosen: list[Inode] = []
        if self.held_bytes > MOST_HELD:
            wanted = self.held_bytes - MOST_HELD + MOST_HELD // FORGOTTEN_AT_ONCE
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
        self._forget_at = max(MOST_HELD, self.held_bytes)
        return chosen

    def _may_be_forgotten(self, inode: Inode) -> bool:
        directory = inode.directory
        if directory is None:
            return not inode.handles
        return (
            not directory.busy
            and len(directory.children) == directory.unreferenced
            and inode is not self.root
        )

    def _eviction_rank(self, parent: Inode, now: float) -> int:
        directory = parent.directory
        assert directory is not None
        if directory.unreferenced > self.bound:
            return 0
        return 2 if directory.prefetched and directory.complete_until > now else 1

    def _evict(self, parent: Inode, child: Inode) -> None:
        """Forgets the one name of ``child``, in ``parent``, if nothing needs it. The name may still exist on
        the server, so the listing is no longer complete."""
        if child.lookups or child.handles or child.aliases or child.created_target is not None:
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
        self._drop_name(parent, child.name)
        child.linked = False
        self._release_if_unused(child)


def _nobody() -> None:
    """Nobody sweeps while there is no mount."""
