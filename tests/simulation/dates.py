"""Which time of change a file is to have by what programs here did last (SEMANTICS A6, A7)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from tests.simulation.nodes import Node

if TYPE_CHECKING:
    from tests.simulation.oracle import Oracle


class Dates:
    """One file's. Told of each setting of its times and each write, as it begins and as it has ended.

    What overlapped something else, or failed, leaves nothing known until the next that did not. Moments are
    ``History.moment``.
    """

    def __init__(self) -> None:
        self.value: int | None = None
        """The mtime that was set last, with nothing after it."""
        self.least: int | None = None
        """The server's second as the last write began, which ended with nothing beside it or after it."""
        self.since = 0
        """The moment from which on one of them holds."""
        self._under_way: dict[Hashable, int] = {}
        self._broken = False

    def disturbed(self) -> None:
        """Something else may have given it another time."""
        self.value = self.least = None
        for one in self._under_way:
            self._under_way[one] += 1

    def begins(self, what: Hashable) -> None:
        """``what`` is under way from now on."""
        self.disturbed()
        self._under_way[what] = len(self._under_way)

    def ended(
        self, what: Hashable, moment: int, *, value: int | None = None, least: int | None = None
    ) -> None:
        """``what`` was done, and the file has the mtime ``value``, or one not before ``least``."""
        if not self._under_way.pop(what) and not self._broken:
            self.value, self.least, self.since = value, least, moment

    def failed(self, what: Hashable) -> None:
        """``what`` failed, and may still be done."""
        del self._under_way[what]
        self._broken = True
        self.value = self.least = None

    def unlike(self, mtime: int, moment: int) -> str | None:
        """Why ``mtime`` cannot be what a question of ``moment`` finds at the server; None where it can."""
        if self.least is not None and self.since <= moment and mtime < self.least:
            return f"it was written at {self.least} or later, its mtime is {mtime} (A7)"
        return self.unlike_set(mtime, moment)

    def unlike_set(self, mtime: int, moment: int) -> str | None:
        """The same of what is shown here, where written it is by another clock."""
        if self.value is not None and self.since <= moment and mtime != self.value:
            return f"mtime {self.value} was set, {mtime} it is (A6)"
        return None


class Dating:
    """A call that sets times is under way, on one of ``nodes``."""

    def __init__(self, oracle: Oracle, nodes: set[Node]) -> None:
        self.oracle = oracle
        self.nodes = set(nodes)
        for node in nodes:
            oracle.track(node).dates.begins(self)

    def ended(self, nodes: set[Node], value: int | None) -> None:
        """It set ``value``, on one of ``nodes``; None: it failed."""
        for node in nodes - self.nodes:
            self.oracle.track(node).dates.begins(self)
        for node in nodes | self.nodes:
            dates = self.oracle.track(node).dates
            if value is not None and nodes == self.nodes == {node}:
                dates.ended(self, self.oracle.history.moment, value=value)
            else:
                dates.failed(self)
