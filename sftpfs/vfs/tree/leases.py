"""Leases: how long what the server said is believed.

Pure policy; time is a parameter (``clock.now``).
"""

from __future__ import annotations

from cachetools import LRUCache

from sftpfs.config import CacheConfig
from sftpfs.types import MTIME_GRAIN, Attributes

SHORTEST_LEASE = 1.0
"""Seconds. A file seen changing on the server is asked about this often at most:
what ``tail -f`` itself polls at, and NFS's acregmin is of the same order."""

ABSENCE_LEASE = 2.0
"""Seconds a name is believed missing at first: somebody who has just made a file on the
server expects to find it here. Renewing costs one round trip a directory, not one a name."""

LISTED_ENTRIES_MINIMUM = 1000
"""Below this a bound on cached names would disable the cache rather than bound it."""


class LeasePolicy:
    """How long attributes, listings, link targets and missing names are believed.

    A file's lease starts at the configured time. Seen changed by somebody else it
    drops to ``SHORTEST_LEASE`` and doubles with every look that finds it unchanged
    (NFS's adaptive attribute timeouts, RFC 1813 implementations' acregmin/acregmax).
    """

    __slots__ = ("attribute", "directory", "link", "negative", "shortest")

    def __init__(self, config: CacheConfig) -> None:
        enabled = config.enabled
        self.attribute = config.stat_timeout if enabled else 0.0
        self.directory = config.directory_timeout if enabled else 0.0
        self.link = config.link_timeout if enabled else 0.0
        self.negative = config.negative_timeout if enabled else 0.0
        self.shortest = min(SHORTEST_LEASE, self.attribute)

    def absence_lease(self, previous: float, changed: bool) -> float:
        """How long absence is believed after a check; ``previous`` is 0 for the first one. Seconds.

        Starts at ``ABSENCE_LEASE`` and doubles while others make or remove no names there.
        """
        if previous == 0.0 or changed:
            return min(ABSENCE_LEASE, self.negative)
        return min(self.negative, previous * 2)

    def next_lease(self, previous: float, changed: bool) -> float:
        """The lease after a look; ``previous`` 0 for the first one. Seconds."""
        if previous == 0.0:
            return self.attribute
        if changed:
            return self.shortest
        return min(self.attribute, previous * 2)

    def is_hot(self, attributes: Attributes, server_time: float) -> bool:
        """True for a file whose last change is younger than its lease: it may be growing."""
        return server_time - attributes.mtime < self.attribute


def version_changed(old: Attributes, new: Attributes) -> bool:
    """True if size or mtime differ: other content, as far as SFTP v3 can tell."""
    return old.mtime != new.mtime or old.size != new.size


def permission_changed(old: Attributes, new: Attributes) -> bool:
    """True if mode or owner differ."""
    return (old.mode, old.uid, old.gid) != (new.mode, new.uid, new.gid)


def proves_unchanged(listed: Attributes, listed_at: float, now: Attributes) -> bool:
    """True if a directory's mtime shows that no name came or went since it was listed.

    ``listed`` are its attributes from just before, ``listed_at`` the least that the server's clock showed
    when it was asked for. A later assumption would take too much for proven.
    """
    return 0 != listed.mtime == now.mtime and listed.mtime + MTIME_GRAIN < listed_at


class NegativeLeases:
    """Names known to be missing, bounded; key (directory's inode number, name).

    INVARIANT: holds no name we created since it was found missing.
    """

    __slots__ = ("_cache",)

    def __init__(self, limit: int) -> None:
        self._cache: LRUCache[tuple[int, bytes], float] = LRUCache(max(limit, LISTED_ENTRIES_MINIMUM))

    def expires(self, directory: int, name: bytes) -> float:
        """When the lease on the absence of ``name`` ends; 0 if there is none."""
        return self._cache.get((directory, name), 0.0)

    def add(self, directory: int, name: bytes, expires: float) -> None:
        """``name`` was found missing; believe it until ``expires``."""
        self._cache[(directory, name)] = expires

    def discard_all(self, directories: set[int]) -> None:
        """Nothing is known to be missing in ``directories`` any more."""
        for key in [key for key in self._cache if key[0] in directories]:
            del self._cache[key]

    def discard(self, directory: int, name: bytes) -> None:
        """``name`` may exist again."""
        self._cache.pop((directory, name), None)
