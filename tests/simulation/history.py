"""What may be true: the disk's history, and how far back an answer may be from.

Pure questions about ``disk.Disk``; ``oracle`` asks them. A window begins ``lease`` seconds before the
question, or with the last change of ours that was acknowledged before it, whichever is later, and ends now.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from math import inf

from tests.simulation.disk import OTHER, Disk, NameChange, Node, Version

SOON = 0.01
"""Seconds after a change whose outcome nobody knows until the kernel is being told, who may have to wait for
its own lock of the directory."""

BACK = 3.0
"""Seconds after an outage within which the mount notices that it is over."""

Outcome = Node | int
"""What a path may lead to: a node, or the errno."""


class History:
    """See the module. ``floors`` holds, by (directory, name), changes of ours: when (by ``moment``) each was
    acknowledged, and its number.

    ``kernel_notified``: whether the kernel has been told of every name that it was to be told of.

    ``late``: seconds a lease began after its answer left the server.

    ``troubles`` are the times nothing got through: what was known before is shown for as long as they last.
    """

    def __init__(self, disk: Disk, lease: float, late: float = 0.0) -> None:
        self.disk = disk
        self.lease = lease
        self.late = late if lease else 0.0
        self.floors: dict[tuple[Node, bytes], list[tuple[int, int]]] = {}
        self._doubtful: list[tuple[float, Node, bytes, int]] = []
        self.kernel_notified: Callable[[], bool] = lambda: True
        self.moment = 0
        """Counts the beginnings and ends of calls."""
        self.ended: dict[int, int] = {}
        """By the number of a change of ours the moment its call ended: until then it may come after another
        call, although the server has made it."""
        self.troubles: list[tuple[float, float]] = []
        self.sleeps: list[tuple[float, float]] = []
        """When this machine was suspended: the kernel counts what it is awake, and goes on to believe what it
        was given before."""

    def low(self, start: float, lease: float | None = None) -> float:
        """The earliest moment from which an answer to a question asked at ``start`` may be."""
        lease = self.lease + self.late if lease is None else lease
        low = start - lease
        for begin, end in sorted([*self.troubles, *self.sleeps], reverse=True):
            if end + lease >= low and begin <= self.disk.now():
                low = min(low, begin - lease)
        return low

    def acknowledged(self, directory: Node, name: bytes, seq: int) -> None:
        """A program was told that its change number ``seq`` is done."""
        self.floors.setdefault((directory, name), []).append((self.moment, seq))

    def doubted(self, directory: Node, name: bytes, seq: int) -> None:
        """A program was told that its change failed, which was done all the same: what was before is believed
        no more, a moment later by the kernel."""
        self._doubtful.append((self.disk.now(), directory, name, seq))

    def begins(self) -> None:
        """A call begins."""
        now = self.disk.now()
        for doubtful in list(self._doubtful):
            if now > doubtful[0] + SOON and self.kernel_notified():
                self._doubtful.remove(doubtful)
                self.acknowledged(*doubtful[1:])
        self.moment += 1

    def values(
        self, directory: Node, name: bytes, low: float, asked: int, without: frozenset[int] = frozenset()
    ) -> set[Node | None]:
        """What ``name`` led to at any moment from ``low`` on, as a question of the moment ``asked`` may find
        it, the changes ``without`` apart."""
        floors = self.floors.get((directory, name))
        floor = 0
        if floors is not None:
            floor = max((seq for at, seq in floors if at <= asked), default=0)
        log = directory.logs.get(name, [])
        found: set[Node | None] = set()
        current: Node | None = None
        for change in log:
            if change.seq in without:
                continue
            under_way = change.by != OTHER and self.ended.get(change.seq, inf) > asked
            if change.seq <= floor or (change.at < low and not under_way):
                current = change.node
            else:
                found.add(change.node)
            if change.source is not None and change.at > low and change.node is not None:
                found |= self._before(change, low) - {None}
        found.add(current)
        return found

    def changed_by_others(self, directory: Node, name: bytes, low: float, before: float = inf) -> bool:
        """Whether another client changed what ``name`` leads to from ``low`` on, or the name we gave it from,
        by the change number ``before``."""
        return any(
            change.by == OTHER or (change.source and self.changed_by_others(*change.source, low, change.seq))
            for change in directory.logs.get(name, ())
            if low <= change.at and change.seq < before
        )

    def _before(self, change: NameChange, low: float) -> set[Node | None]:
        """What the name that ``change`` was made from was taken to lead to until then, from ``low`` on."""
        assert change.source is not None and change.node is not None
        directory, name = change.source
        found: set[Node | None] = set()
        current: Node | None = None
        for one in directory.logs.get(name, []):
            if one.seq >= change.seq:
                break
            if one.at < low:
                current = one.node
                continue
            found.add(one.node)
            if one.source is not None and one.node is not None:
                found |= self._before(one, low)
        kind = change.node.is_dir
        return {node for node in found | {current} if node is not None and node.is_dir == kind}

    def walk(
        self,
        bases: Iterable[Node],
        parts: list[bytes],
        low: float,
        asked: int,
        last: float | None = None,
        without: frozenset[int] = frozenset(),
    ) -> set[Outcome]:
        """Where ``parts`` may lead from any of ``bases``; the last name not before ``last``."""
        nodes: set[Outcome] = set(bases)
        for index, part in enumerate(parts):
            moment = last if last is not None and index == len(parts) - 1 else low
            following: set[Outcome] = set()
            for node in nodes:
                if isinstance(node, int):
                    following.add(node)
                elif not node.is_dir:
                    following.add(errno.ENOTDIR)
                else:
                    for value in self.values(node, part, moment, asked, without):
                        following.add(errno.ENOENT if value is None else value)
            nodes = following
        return nodes

    def versions(self, node: Node, low: float) -> list[Version]:
        """What ``node`` was at any moment from ``low`` on, the oldest first."""
        found = [version for version in node.versions if version.at >= low]
        before = [version for version in node.versions if version.at < low]
        return [*before[-1:], *found]
