"""What the attributes of one inode are believed for, and the times it shows.

Synchronous, and below ``vfs.tree.inode_table``; everybody but ``vfs.tree`` asks ``vfs.tree.tree``. Knows of
no name and of no other inode but those above one. INVARIANT: a shown ctime never falls.
"""

from __future__ import annotations

from sftpfs import clock
from sftpfs.config import CacheConfig
from sftpfs.server_clock import ServerClock
from sftpfs.vfs.tree.inode import NANOSECONDS, Inode
from sftpfs.vfs.tree.leases import LeasePolicy

ENDS_TOGETHER = 0.01
"""Seconds. Leases that would end so soon one after another end together, and are one object."""


class AttributeLeases:
    """See the module."""

    def __init__(self, config: CacheConfig, server_clock: ServerClock | None) -> None:
        self.policy = LeasePolicy(config)
        self.clock = server_clock or ServerClock()
        self.changes = 0
        """Counts our changes of inodes."""
        self._last_end = 0.0

    def _grant_lease(self, inode: Inode, changed: bool, since: float = 0.0) -> None:
        """A lease on ``inode`` from ``since`` (``clock.now``), 0 for now."""
        inode.lease = self.policy.next_lease(inode.lease, changed)
        inode.expires = self._lease_end(inode.lease, since)

    def _lease_end(self, lease: float, since: float = 0.0) -> float:
        """When a lease that is granted now ends; ``since`` as in ``_grant_lease``."""
        expires = (since or clock.now()) + lease
        if not 0.0 <= expires - self._last_end < ENDS_TOGETHER:
            self._last_end = expires
        return self._last_end

    def bump_ctime(self, inode: Inode, at_ns: int | None = None) -> None:
        """A change of ours. ctime becomes the present second, or ``at_ns``, and in any case later than it
        was. What was fetched before the change no longer answers an open.

        ctime is a whole second of the clock: from a fraction coreutils would conclude that the fractions of
        all times are known (``times_set``).
        """
        self.changes += 1
        inode.epoch = self.changes
        inode.prefetched_until = 0.0
        at_ns = int(clock.wall()) * NANOSECONDS if at_ns is None else at_ns
        inode.ctime_ns = max(at_ns, inode.shown_ctime_ns + 1)

    def written(self, inode: Inode, mtime: int) -> None:
        """``inode`` was written, most likely in the second ``mtime``, which is shown. ctime is no earlier,
        also if the server later reports an earlier time."""
        inode.ctime_ns = max(mtime * NANOSECONDS, inode.shown_ctime_ns)

    def times_set(self, inode: Inode, times_ns: tuple[int, int], ctime_ns: int) -> None:
        """We set atime and mtime of ``inode``, whose shown ctime was ``ctime_ns``. Their fractions are shown
        if the file was made or written here, and the second of the mtime is over on the server. Otherwise all
        its times stay whole seconds, ctime as well.

        If that second were not over, what is written in the rest of it, which the server dates by the second,
        would look older. And if a fraction were shown of a file that nobody here changed, coreutils would
        take the fractions of all files for known, and copy each whose fraction is lost.
        """
        over = times_ns[1] // NANOSECONDS < int(self.clock.at_least())
        inode.set_ns = times_ns if over and inode.changed_here else None
        if inode.set_ns is None and not ctime_ns % NANOSECONDS:
            inode.ctime_ns = max(int(clock.wall()) * NANOSECONDS, ctime_ns)

    def serves_prefetched(self, inode: Inode) -> bool:
        """Whether what was fetched ahead may answer an open. It may not if a change of ours since has made
        the name another file's, or one that may not be read."""
        if inode.prefetched_until <= clock.now() or not inode.linked:
            return False
        asked = inode.prefetched_until - self.policy.attribute
        node = inode.parent
        while node is not None:
            if node.directory is not None and node.directory.permitted_from >= asked:
                return False
            node = node.parent
        return True

    def content_prefetched(self, inode: Inode, asked: float) -> None:
        """All of ``inode`` was fetched ahead, asked for at ``asked`` (``clock.now``): it may answer opens."""
        inode.prefetched_until = asked + self.policy.attribute

    def link_target_read(self, inode: Inode, target: bytes) -> None:
        """The server says that the link ``inode`` leads to ``target``."""
        inode.target = target
        inode.target_expires = clock.now() + self.policy.link

    def shorten_lease(self, inode: Inode) -> None:
        """``inode`` may be growing: it is asked about as often as allowed while it is read."""
        inode.lease = self.policy.shortest
        inode.expires = min(inode.expires, clock.now() + inode.lease)

    def expire(self, inode: Inode) -> None:
        """The lease on ``inode`` ends now. While the server is away its attributes are still good enough."""
        inode.expires = min(inode.expires, clock.now())

    def end_lease(self, inode: Inode) -> None:
        """What is known of ``inode`` may be wrong: it is not believed while the server is away either."""
        inode.expires = 0.0

    def distrust_inode(self, inode: Inode) -> None:
        """Nobody knows what ``inode`` has now; its content is unknown, too."""
        self.end_lease(inode)
        if inode.content is not None:
            inode.content.invalidate()
