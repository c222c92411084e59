"""Walk-ahead: which directories a walker will need next.

Pure policy over the cached tree; ``vfs.prefetch.prefetcher`` carries it out. A program that needs a directory
below or beside one needed before is walking: find, ls -R, du and grep -r list one directory after the other,
git status looks up names in one after the other. What the walk reaches next, in preorder, is listed in
parallel. The window of listings made ahead and not yet used doubles with every one that is used. It closes
when somebody lists elsewhere. A walk that leaves a directory without going down into it (``find -maxdepth``,
a pattern like ``*/*.c``) is not expected to go deeper than that, until it does.
"""

from __future__ import annotations

from collections.abc import Iterator

from sftpfs.vfs.prefetch.tally import Tally
from sftpfs.vfs.prefetch.traversal_order import Order, subdirectories
from sftpfs.vfs.tree.inode import Inode

FIRST_WINDOW = 4
"""Directories listed ahead once a walk is recognised: little to lose if it ends here."""

LARGEST_WINDOW = 128
"""Directories: at 20 ms and 0.1 ms of server time a listing more would not be ready sooner."""

MOST_UNUSED = 512
"""Listings made and not used: beyond the window only what the walk passed by."""

MOST_IN_FLIGHT = 32
"""Listings under way where a round trip is ``USUAL_ROUND_TRIP`` or less: they share the metadata
connection with what somebody waits for."""

USUAL_ROUND_TRIP = 0.02
"""Seconds: what is asked ahead in one of these, a server and we do get done in it. Over a longer one
as many more are under way as it is longer, up to ``LONGEST_ROUND_TRIP``."""

LONGEST_ROUND_TRIP = 0.16

MOST_EVER_IN_FLIGHT = 64
"""Listings under way over however long a round trip: on a slow link they are what a demand waits behind.
(160 ms, 10 Mbit/s, 80 names each: a chmod beside `find` 0.7 s with 256, 0.3 s with 32.)"""

FEW_NAMES = 32
"""How many names a directory is assumed to hold before one was listed ahead."""

MOST_VISITED = 1024
"""Directories looked at for one plan, of which most may be listed: bounds what planning itself costs."""

REMEMBERED = 512
"""Directories remembered as needed: a walk's ancestors and their neighbours."""

DEEPEST = 1 << 30
"""Deeper than any tree: the walk is expected to go everywhere."""

TRIAL = 64
"""Listings wasted before it is asked whether walking ahead pays at all."""


def most_in_flight(usual: int, round_trip: float) -> int:
    """Requests under way over ``round_trip`` seconds where ``usual`` are over a usual one."""
    return int(usual * min(max(round_trip, USUAL_ROUND_TRIP), LONGEST_ROUND_TRIP) / USUAL_ROUND_TRIP)


class TreeWalkPrefetch:
    """Decides what to list ahead.

    INVARIANT: ``_unused`` holds exactly the directories listed ahead, or being so, that
    nobody has listed since; its size never exceeds ``MOST_UNUSED``.
    INVARIANT: ``_in_flight`` holds the numbers of what was planned and has not arrived.
    """

    __slots__ = (
        "_deepest",
        "_demanded",
        "_here",
        "_in_flight",
        "_most_names",
        "_names_each",
        "_order",
        "_parents",
        "_unused",
        "_visited",
        "tally",
        "window",
    )

    def __init__(self, order: Order, most_names: int) -> None:
        """``order``: LISTING where programs choose their own and what lies behind may still
        come; NAME where what lies behind was passed by. ``most_names``: in all that is listed ahead."""
        self._order = order
        self._most_names = most_names
        self._names_each = float(FEW_NAMES)
        """How many names a directory listed ahead has, as those had that came last."""
        self.window = 0
        self._in_flight: set[int] = set()
        self.tally = Tally()
        self._demanded: dict[int, int] = {}
        self._parents: dict[int, int] = {}
        self._unused: dict[int, Inode] = {}
        self._here: Inode | None = None
        self._visited = 0
        self._deepest = DEEPEST
        """How many directories deep the walk is expected to go, at most."""

    @property
    def in_flight(self) -> int:
        """Listings planned and not yet arrived."""
        return len(self._in_flight)

    def on_listing(self, directory: Inode) -> None:
        """Somebody needs the names in ``directory``."""
        parent = directory.parent
        if self.on_reached(directory):
            self._widen()
        elif directory.number in self._demanded:
            pass  # read again: says nothing of where they go
        elif parent is not None and self._walked(parent):
            self._widen()  # a walk, and it outran us if it found nothing ready
        else:
            self.window = 0
            self._deepest = DEEPEST
        if self._order is Order.LISTING:
            self._learn_depth(directory)
        self._here = directory
        _remember(self._demanded, directory.number, 1)
        if parent is not None:
            _remember(self._parents, parent.number, self._parents.get(parent.number, 0) + 1)

    def on_reached(self, directory: Inode) -> bool:
        """Whether ``directory`` was listed ahead, and nobody has used it. It is used now, whatever the order
        of the walk."""
        if self._unused.pop(directory.number, None) is None:
            return False
        self.tally.used += 1
        return True

    def _learn_depth(self, directory: Inode) -> None:
        """Learns, from the step to ``directory``, whether the walk left out what was below its last place."""
        left = self._here
        if left is None or left is directory:
            return
        if directory.parent is not left and left.directory is not None and _branches(left, self._order):
            self._deepest = _depth(left)
        if _depth(directory) > self._deepest:
            self._deepest = DEEPEST

    def _walked(self, node: Inode) -> bool:
        """Whether ``node`` was needed, or a directory in it."""
        return node.number in self._demanded or (self._order is Order.NAME and node.number in self._parents)

    def _walks_on_in(self, node: Inode) -> bool:
        """Whether the walk will come to more directories in ``node``. A program that lists ``node`` itself
        will; one that looks up names will once several in it were needed."""
        if self._order is Order.LISTING:
            return node.number in self._demanded
        return self._parents.get(node.number, 0) > 1

    def _widen(self) -> None:
        self.window = min(self.window * 2, LARGEST_WINDOW) if self.window else FIRST_WINDOW

    def plan(self, now: float, round_trip: float = 0.0) -> list[Inode]:
        """Directories to list now, the one needed first at the front; each is counted as issued."""
        if not self.window or self._here is None or not self.tally.pays(TRIAL):
            return []
        self._expire(now)
        room = self._room(round_trip)
        chosen: list[Inode] = []
        for distance, directory in enumerate(self._preorder(self._here, now)):
            if distance >= self.window or len(chosen) >= room:
                break
            if directory.number not in self._unused:
                chosen.append(directory)
        return self._issue(chosen)

    def expect(self, directories: list[Inode], now: float, round_trip: float) -> list[Inode]:
        """Those of ``directories`` to list now, to which a reader of the files before them comes next and
        which are not listed. Each is counted as issued."""
        if not directories or not self.tally.pays(TRIAL):
            return []
        self._expire(now)
        room = self._room(round_trip)
        return self._issue([one for one in directories if one.number not in self._unused][: max(0, room)])

    def _room(self, round_trip: float) -> int:
        """How many more listings may be under way."""
        in_flight = min(most_in_flight(MOST_IN_FLIGHT, round_trip), MOST_EVER_IN_FLIGHT)
        return min(MOST_UNUSED - len(self._unused), in_flight - len(self._in_flight), self._room_for_names())

    def _room_for_names(self) -> int:
        """How many more listings there is room for: a new one must not push out what was listed ahead a
        moment before. One, however large, if nothing was listed ahead."""
        if not self._unused:
            return max(1, int(self._most_names / self._names_each))
        names = len(self._in_flight) * self._names_each + sum(
            len(one.directory.children)
            for number, one in self._unused.items()
            if one.directory is not None and number not in self._in_flight
        )
        return int((self._most_names - names) / self._names_each)

    def _issue(self, chosen: list[Inode]) -> list[Inode]:
        for directory in chosen:
            self._unused[directory.number] = directory
            self._in_flight.add(directory.number)
        self.tally.issued += len(chosen)
        return chosen

    def on_reply(self, directory: Inode, useful: bool) -> None:
        """The listing that ``plan`` asked for is here; not ``useful`` if it failed."""
        self._in_flight.discard(directory.number)
        if useful and directory.directory is not None:
            self._names_each += (max(1, len(directory.directory.children)) - self._names_each) / 8
        if not useful and self._unused.pop(directory.number, None) is not None:
            self.tally.wasted += 1

    def _expire(self, now: float) -> None:
        """Forget listings whose lease ended before anybody used them."""
        for number, directory in list(self._unused.items()):
            state = directory.directory
            if number in self._in_flight or state is None:
                continue
            if not directory.linked or state.complete_until <= now:
                del self._unused[number]
                self.tally.wasted += 1

    def _preorder(self, here: Inode, now: float) -> Iterator[Inode]:
        """Directories listed ahead or not listed, as a walker standing at ``here`` reaches them."""
        self._visited = 0
        depth = _depth(here)
        yield from self._below(here, depth, now)
        passed: list[tuple[Iterator[Inode], int]] = []
        node = here
        while node.parent is not None and self._walks_on_in(node.parent):
            beside = subdirectories(node.parent, self._order)
            position = beside.position(node)
            position = len(beside) if position is None else position
            yield from self._among(beside.after(position), depth, now)
            passed.append((beside.between(0, position), depth))
            node = node.parent
            depth -= 1
        if self._order is Order.LISTING:
            for behind, level in passed:
                yield from self._among(behind, level, now)

    def _below(self, node: Inode, depth: int, now: float) -> Iterator[Inode]:
        """Directories below ``node``, which is ``depth`` deep."""
        if node.directory is not None and depth < self._deepest:
            yield from self._among(subdirectories(node, self._order).after(), depth + 1, now)

    def _among(self, candidates: Iterator[Inode], depth: int, now: float) -> Iterator[Inode]:
        """``candidates``, all ``depth`` deep, each followed by what is below it."""
        for child in candidates:
            self._visited += 1
            if self._visited > MOST_VISITED:
                return
            if not child.linked or child.number in self._demanded:
                continue
            listed = child.directory
            assert listed is not None
            if child.number in self._unused:
                yield child
                if listed.complete_until > now:
                    yield from self._below(child, depth, now)
            elif listed.complete_until <= now and listed.listing is None:
                yield child


def _branches(node: Inode, order: Order) -> bool:
    """Whether there are directories in ``node``."""
    return next(subdirectories(node, order).after(), None) is not None


def _depth(node: Inode) -> int:
    """How many directories ``node`` is below the mount's own."""
    depth = 0
    while node.parent is not None:
        depth += 1
        node = node.parent
    return depth


def _remember(counts: dict[int, int], number: int, count: int) -> None:
    """Keep ``number`` with ``count`` as the youngest of at most ``REMEMBERED``."""
    counts.pop(number, None)
    counts[number] = count
    while len(counts) > REMEMBERED:
        del counts[next(iter(counts))]
