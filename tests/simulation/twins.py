"""Files that SFTP cannot tell apart: one replaced the other under a name, and both have had the same size and
time at some moment since. While a write of a program is under way, its file may have any size up to where
that write ends, and any later time."""

from __future__ import annotations

import stat
from collections.abc import Callable
from math import inf

from tests.simulation.nodes import Node, Version, everything


class Twins:
    """What may be taken for another file: the mount knows a file of several names, and one that is open, by
    size and time alone, which are told in whole seconds (SEMANTICS, Hard links and F12). Told of each
    replacement by another client."""

    def __init__(self, reach: Callable[[Node], int]) -> None:
        """``reach``: the size a file has with all that programs have begun to write to it."""
        self._reach = reach
        self._replaced: list[tuple[Node, Node, float]] = []

    def replaced(self, root: Node, directory: Node, name: bytes, opened: set[Node]) -> None:
        """``name`` leads to another file now; ``opened`` have been open here."""
        log = directory.logs[name]
        before = log[-2].node if len(log) > 1 else None
        after = log[-1].node
        if before is None or after is None or not (before.is_file and after.is_file):
            return
        kept = any(before in one.names.values() for one in everything(root))  # by another name
        found = [one for one, between, _ in self._replaced if between is before]  # replaced twice
        if kept or before in opened:
            found.append(before)
        self._replaced += [(one, after, log[-1].at) for one in found]

    def of(self, node: Node) -> set[Node]:
        """``node``, and what cannot be told from it."""
        found = {node}
        for before, after, at in self._replaced:
            if node in (before, after) and _alike(before, after, at, self._reach(before)):
                found |= {before, after}
        return found


def looked_alike(one: Node, other: Node) -> bool:
    """Whether SFTP may have told the same of both: their kind, and the size and time of what is no
    directory."""
    same = stat.S_IFMT(one.mode) == stat.S_IFMT(other.mode)
    if not same or one.is_dir:
        return same
    told = {(version.size, version.mtime) for version in one.versions}
    return any((version.size, version.mtime) in told for version in other.versions)


def _alike(one: Node, other: Node, since: float, reach: int) -> bool:
    """Whether both had the same size and time at one moment from ``since`` on, or ``other`` may have been
    what writes make of ``one``, which have it ``reach`` so far."""
    return any(
        begin < stop
        and start < end
        and (
            (mine.size, mine.mtime) == (its.size, its.mtime)
            or (mine.size <= its.size <= reach and mine.size < reach and mine.mtime <= its.mtime)
        )
        for mine, begin, end in _spans(one, since)
        for its, start, stop in _spans(other, since)
    )


def _spans(node: Node, since: float) -> list[tuple[Version, float, float]]:
    """The versions of ``node`` from ``since`` on, and from when to when each was."""
    ends = [version.at for version in node.versions[1:]] + [inf]
    return [
        (version, version.at, end) for version, end in zip(node.versions, ends, strict=True) if end > since
    ]
