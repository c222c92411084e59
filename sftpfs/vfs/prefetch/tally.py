"""The cost and the use of a prefetch policy, and the directories it asked about that nobody has used yet.

Pure. Owned by the policies of this package, one ``UnusedDirectories`` each.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpfs.vfs.tree.inode import Directory, Inode


class Tally:
    """What a policy cost and what it achieved, in the policy's own unit."""

    __slots__ = ("issued", "used", "wasted")

    def __init__(self) -> None:
        self.issued = 0
        self.used = 0
        self.wasted = 0

    def pays(self, trial: int) -> bool:
        """False once more was wasted than used, after a trial."""
        return self.wasted < trial or self.wasted <= self.used


class UnusedDirectories:
    """The directories asked about ahead, or being asked about, that nobody has used.

    INVARIANT: what is in flight and unused does not count as wasted before its answer is here.
    """

    __slots__ = ("_directories", "_in_flight", "_valid_until", "tally")

    def __init__(self, valid_until: Callable[[Directory], float]) -> None:
        """``valid_until`` tells when what was learned of one is of no use any more (``clock.now``)."""
        self.tally = Tally()
        self._valid_until = valid_until
        self._directories: dict[int, Inode] = {}
        self._in_flight: set[int] = set()

    def __len__(self) -> int:
        return len(self._directories)

    def __contains__(self, directory: Inode) -> bool:
        return directory.number in self._directories

    def issue(self, directory: Inode) -> None:
        """It is asked."""
        self._directories[directory.number] = directory
        self._in_flight.add(directory.number)
        self.tally.issued += 1

    def use(self, directory: Inode) -> bool:
        """A program makes use of it; True for the first time after it was asked."""
        if self._directories.pop(directory.number, None) is None:
            return False
        self.tally.used += 1
        return True

    def on_reply(self, directory: Inode, useful: bool) -> None:
        """The answer is here; not ``useful`` if it failed, or has changed what is known."""
        self._in_flight.discard(directory.number)
        if not useful:
            self._waste(directory.number)

    def expire(self, now: float) -> None:
        """Counts those that are no longer of use as wasted."""
        for number, inode in list(self._directories.items()):
            state = inode.directory
            if number not in self._in_flight and (state is None or self._valid_until(state) <= now):
                self._waste(number)

    def _waste(self, number: int) -> None:
        if self._directories.pop(number, None) is not None:
            self.tally.wasted += 1
