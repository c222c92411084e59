"""The bars: what sftpfs is to reach at a round trip of 20 ms, full sizes, on a machine of two cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.bench.results import Status, Summary

ROUND_TRIP = 20.0
"""Milliseconds the bars are for."""
MEMORY = 250_000_000
"""Bytes all processes of a mount may hold at any time."""


@dataclass(frozen=True, slots=True)
class Bar:
    """At most ``seconds``, and further figures at most or at least."""

    seconds: float
    most: Mapping[str, float] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)

    def met(self, summary: Summary | None) -> bool:
        """True where every limit holds."""
        if summary is None or summary.status is not Status.DONE or summary.seconds > self.seconds:
            return False
        figures = summary.figures
        return all(figures.get(name, float("inf")) <= value for name, value in self.most.items()) and all(
            figures.get(name, 0.0) >= value for name, value in self.least.items()
        )

    def __str__(self) -> str:
        parts = [f"≤ {self.seconds:g}"]
        parts += [f"{name} ≤ {value:g}" for name, value in self.most.items()]
        parts += [f"{name} ≥ {value:g}" for name, value in self.least.items()]
        return ", ".join(parts)


FULL_SPEED = 0.8
"""Share of its speed alone that a stream keeps beside listings and still counts as at full speed."""

BARS = {
    "read": Bar(1.2),
    "write": Bar(0.9),
    "random": Bar(6.5, most={"fetched/asked": 2.0}),
    "find": Bar(0.4),
    "ls-lR": Bar(0.4),
    "du": Bar(0.4),
    "grep": Bar(1.5),
    "cp-out": Bar(1.7),
    "git-status": Bar(2.5),
    "import": Bar(3.0),
    "import-B": Bar(3.0),
    "untar": Bar(36.0),
    "cp-in": Bar(36.0),
    "rm": Bar(19.0),
    "saves": Bar(4.5),
    "sqlite": Bar(8.0),
    "ls-stream": Bar(0.065, least={"of alone": FULL_SPEED}),
}
"""By workload."""
