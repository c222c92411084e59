"""Enter-ahead: a directory that a program looks up is mostly entered next.

Pure policy; ``vfs.ahead`` carries it out. A small directory that is looked up by name is
listed while the program makes up its mind: what it opens, makes or changes there is then
known, or known to be missing, without a wait of its own.
"""

from __future__ import annotations

from sftpfs.vfs.inodes import Inode
from sftpfs.vfs.walk_ahead import Tally

DISTANT = 0.002
"""Seconds of round trip below which a listing takes the server as long as it can save."""

LARGEST = 4096
"""Size in bytes of a directory that is listed unasked: a block, about 150 names on ext4, which
come with the first READDIRs sent together."""

MOST_UNUSED = 32
"""Directories listed and not entered: what a program only looked at."""

TRIAL = 32
"""Listings wasted before it is asked whether this pays at all."""


class EnterAhead:
    """Decides which directories to list as they are looked up.

    INVARIANT: ``_unused`` holds exactly the directories listed, or being so, that nobody entered.
    """

    __slots__ = ("_flying", "_unused", "tally")

    def __init__(self) -> None:
        self.tally = Tally()
        self._unused: dict[int, Inode] = {}
        self._flying: set[int] = set()

    def looked_up(self, directory: Inode, round_trip: float, now: float) -> bool:
        """A program looks up ``directory``, never listed so far: list it? Counted as issued where so."""
        if round_trip < DISTANT or directory.attributes.size > LARGEST or not self.tally.pays(TRIAL):
            return False
        self._expire(now)
        if len(self._unused) >= MOST_UNUSED or directory.number in self._unused:
            return False
        self._unused[directory.number] = directory
        self._flying.add(directory.number)
        self.tally.issued += 1
        return True

    def entered(self, directory: Inode) -> bool:
        """A name in ``directory``, or all, are asked for; True for the first time after it was listed."""
        if self._unused.pop(directory.number, None) is None:
            return False
        self.tally.used += 1
        return True

    def arrived(self, directory: Inode, useful: bool) -> None:
        """The listing is here; not ``useful`` where it failed."""
        self._flying.discard(directory.number)
        if not useful:
            self._waste(directory.number)

    def _expire(self, now: float) -> None:
        for number, directory in list(self._unused.items()):
            state = directory.directory
            if number not in self._flying and (state is None or state.complete_until <= now):
                self._waste(number)

    def _waste(self, number: int) -> None:
        if self._unused.pop(number, None) is not None:
            self.tally.wasted += 1
