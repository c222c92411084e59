"""Enter-ahead: a program that looks up a directory usually enters it next.

Pure policy; ``vfs.prefetch.prefetcher`` carries it out. A small directory that is looked up by name is listed
at once, before the program's next request. What the program then opens, makes or changes there is known, or
known to be missing, without a wait of its own.
"""

from __future__ import annotations

from sftpfs.vfs.prefetch.tally import Tally, UnusedDirectories
from sftpfs.vfs.tree.inode import Inode

DISTANT = 0.002
"""Seconds of round trip below which a listing takes the server as long as it can save."""

LARGEST = 4096
"""Size in bytes of a directory that is listed unasked: a block, about 150 names on ext4, which
come with the first READDIRs sent together."""

MOST_UNUSED = 32
"""Directories listed and not entered: those that a program only looked at."""

TRIAL = 32
"""Listings wasted before it is asked whether this pays at all."""


class DirectoryEnterPrefetch:
    """Decides which directories to list as they are looked up; ``unused`` are those that nobody entered."""

    __slots__ = ("unused",)

    def __init__(self) -> None:
        self.unused = UnusedDirectories(lambda state: state.complete_until)

    @property
    def tally(self) -> Tally:
        """In listings."""
        return self.unused.tally

    def on_lookup(self, directory: Inode, round_trip: float, now: float) -> bool:
        """A program looks up ``directory``, which was never listed. Returns whether to list it; then it
        counts as issued."""
        if round_trip < DISTANT or directory.attributes.size > LARGEST or not self.tally.pays(TRIAL):
            return False
        self.unused.expire(now)
        if len(self.unused) >= MOST_UNUSED or directory in self.unused:
            return False
        self.unused.issue(directory)
        return True

    def on_entered(self, directory: Inode) -> bool:
        """A program asks for one name in ``directory``, or for all. True for the first time after it was
        listed."""
        return self.unused.use(directory)

    def on_reply(self, directory: Inode, useful: bool) -> None:
        """The listing is here; not ``useful`` if it failed."""
        self.unused.on_reply(directory, useful)
