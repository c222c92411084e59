"""Walk-ahead: which directories a walker will list next.

Pure policy over the cached tree; ``vfs.ahead`` carries it out. A listing of a
directory whose parent was listed shortly before is a walk (find, ls -R, du, grep -r):
what it reaches next, in preorder, is listed in parallel. The window of listings made
ahead and not yet used doubles with every one that is used and closes when somebody
lists elsewhere.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from sftpfs.vfs.inodes import Inode

FIRST_WINDOW = 4
"""Directories listed ahead once a walk is recognised: little to lose if it ends here."""

LARGEST_WINDOW = 128
"""Directories: at 20 ms and 0.1 ms of server time a listing more would not be ready sooner."""

MOST_IN_FLIGHT = 32
"""Listings under way: they share the metadata connection with what somebody waits for."""

REMEMBERED = 512
"""Directories remembered as listed on demand: a walk's ancestors and their neighbours."""

TRIAL = 64
"""Listings wasted before it is asked whether walking ahead pays at all."""


class Tally:
    """What a policy cost and what it was good for, in its own unit."""

    __slots__ = ("issued", "used", "wasted")

    def __init__(self) -> None:
        self.issued = 0
        self.used = 0
        self.wasted = 0

    def pays(self, trial: int) -> bool:
        """False once more was wasted than used, beyond a trial."""
        return self.wasted < trial or self.wasted <= self.used


class WalkAhead:
    """Decides what to list ahead.

    INVARIANT: ``_unused`` holds exactly the directories listed ahead, or being so, that
    nobody has listed since; its size never exceeds ``LARGEST_WINDOW``.
    INVARIANT: ``_flying`` holds the numbers of what was planned and has not arrived.
    """

    __slots__ = ("_demanded", "_flying", "_here", "_unused", "tally", "window")

    def __init__(self) -> None:
        self.window = 0
        self._flying: set[int] = set()
        self.tally = Tally()
        self._demanded: dict[int, float] = {}
        self._unused: dict[int, Inode] = {}
        self._here: Inode | None = None

    @property
    def in_flight(self) -> int:
        """Listings planned and not yet arrived."""
        return len(self._flying)

    def demanded(self, directory: Inode, now: float) -> None:
        """Somebody lists ``directory`` (monotonic seconds)."""
        parent = directory.parent
        if self._unused.pop(directory.number, None) is not None:
            self.tally.used += 1
            self.window = min(max(self.window, FIRST_WINDOW) * 2, LARGEST_WINDOW)
        elif directory.number in self._demanded:
            pass  # read again: says nothing of where they go
        elif parent is not None and parent.number in self._demanded:
            self.window = max(self.window, FIRST_WINDOW)
        else:
            self.window = 0
        self._here = directory
        self._demanded.pop(directory.number, None)
        self._demanded[directory.number] = now
        while len(self._demanded) > REMEMBERED:
            del self._demanded[next(iter(self._demanded))]

    def plan(self, now: float) -> list[Inode]:
        """Directories to list now, the one needed first at the front; each is counted as issued."""
        if not self.window or self._here is None or not self.tally.pays(TRIAL):
            return []
        self._expire(now)
        room = min(self.window - len(self._unused), MOST_IN_FLIGHT - len(self._flying))
        if room <= 0:
            return []
        chosen = []
        for directory in self._preorder(self._here, now):
            chosen.append(directory)
            if len(chosen) >= room:
                break
        for directory in chosen:
            self._unused[directory.number] = directory
            self._flying.add(directory.number)
        self.tally.issued += len(chosen)
        return chosen

    def arrived(self, directory: Inode, useful: bool) -> None:
        """The listing ``plan`` asked for is here; not ``useful`` where it failed."""
        self._flying.discard(directory.number)
        if not useful and self._unused.pop(directory.number, None) is not None:
            self.tally.wasted += 1

    def _expire(self, now: float) -> None:
        """Forget listings whose lease ended before anybody used them."""
        for number, directory in list(self._unused.items()):
            state = directory.directory
            if number in self._flying or state is None:
                continue
            if not directory.linked or state.complete_until <= now:
                del self._unused[number]
                self.tally.wasted += 1

    def _preorder(self, here: Inode, now: float) -> Iterator[Inode]:
        """Unlisted directories in the order a walker standing at ``here`` reaches them."""
        node: Inode | None = here
        while node is not None and node.number in self._demanded:
            yield from self._below(node, now)
            node = node.parent

    def _below(self, node: Inode, now: float) -> Iterator[Inode]:
        state = node.directory
        if state is None:
            return
        for child in subdirectories(node):
            if not child.linked or child.number in self._demanded:
                continue
            listed = child.directory
            assert listed is not None
            if child.number in self._unused:
                if listed.complete_until > now:
                    yield from self._below(child, now)
            elif listed.complete_until <= now and listed.listing is None:
                yield child


def subdirectories(node: Inode) -> list[Inode]:
    """The directories in a listed directory, in listing order; remembered with the listing."""
    state = node.directory
    assert state is not None
    if state.subdirectories is None:
        state.subdirectories = [
            child for child in state.children.values() if stat.S_ISDIR(child.attributes.mode)
        ]
    return state.subdirectories
