"""What was measured, summarised. Pure: no clock, no files."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Status(Enum):
    """How one step ended."""

    DONE = "done"
    FAILED = "failed"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of one workload by one contestant.

    ``seconds`` is the limit where that was reached. ``memory`` is the most all processes of
    the mount held at a time, ``fetched`` what the server sent them: bytes, None where unknown.
    """

    status: Status
    seconds: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""
    memory: int | None = None
    fetched: int | None = None

    def as_json(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "status": self.status.value,
            "seconds": round(self.seconds, 4),
            "figures": {name: round(value, 4) for name, value in self.figures.items()},
            "problem": self.problem,
            "memory": self.memory,
            "fetched": self.fetched,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        """The inverse of ``as_json``."""
        return cls(
            Status(data["status"]),
            data["seconds"],
            data["figures"],
            data["problem"],
            data["memory"],
            data["fetched"],
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """All runs of one workload by one contestant.

    One failed run fails them all, one that reached the limit stands for all: a median of
    the fortunate ones would flatter.
    """

    status: Status
    seconds: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""
    memory: int | None = None
    fetched: int | None = None


def summarise(outcomes: Sequence[Outcome]) -> Summary | None:
    """Medians of ``outcomes``; None of none."""
    if not outcomes:
        return None
    for status in (Status.FAILED, Status.LIMIT):
        worst = [outcome for outcome in outcomes if outcome.status is status]
        if worst:
            return Summary(status, worst[0].seconds, problem=worst[0].problem, memory=_most(outcomes))
    seconds = [outcome.seconds for outcome in outcomes]
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.figures)
    fetched = [outcome.fetched for outcome in outcomes if outcome.fetched is not None]
    return Summary(
        Status.DONE,
        statistics.median(seconds),
        min(seconds),
        max(seconds),
        {name: statistics.median(o.figures[name] for o in outcomes if name in o.figures) for name in names},
        memory=_most(outcomes),
        fetched=int(statistics.median(fetched)) if fetched else None,
    )


def _most(outcomes: Iterable[Outcome]) -> int | None:
    return max((outcome.memory for outcome in outcomes if outcome.memory is not None), default=None)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that at least ``share`` (0–1] of them do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def ratio(reference: Summary | None, one: Summary | None) -> float | None:
    """How many times faster than the reference; None where either has no time.

    A reference that reached its limit gives a lower bound.
    """
    if reference is None or one is None or reference.status is Status.FAILED or one.status is not Status.DONE:
        return None
    return reference.seconds / one.seconds if one.seconds else None
