"""Histograms of how long things took: cheap to count into, and good enough for percentiles.

Pure. The buckets grow by the square root of two, so a percentile is right within a fifth.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

SHORTEST = 50e-6
"""Seconds. Everything below counts as the same: it is less than what one request costs here."""

BUCKETS = 42
"""Buckets with an upper end. The last ends at a minute: a request older than timeout= has failed."""

BOUNDS: tuple[float, ...] = tuple(SHORTEST * 2 ** (number / 2) for number in range(BUCKETS))
"""Upper ends of the buckets, seconds; one more bucket has none."""


class Histogram:
    """INVARIANT: ``seconds`` is the sum of everything counted, ``counts`` by bucket of ``BOUNDS``."""

    __slots__ = ("counts", "seconds")

    def __init__(self, counts: list[int] | None = None, seconds: float = 0.0) -> None:
        self.counts = [0] * (BUCKETS + 1) if counts is None else counts
        self.seconds = seconds

    @classmethod
    def of(cls, values: dict[str, Any]) -> Histogram:
        """The histogram that gave ``values``. Raises ValueError if they are not those of one."""
        counts, seconds = values["counts"], values["seconds"]
        if len(counts) != BUCKETS + 1:
            raise ValueError("a histogram of another version of sftpfs")
        return cls([int(count) for count in counts], float(seconds))

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {"counts": list(self.counts), "seconds": self.seconds}

    def count(self, seconds: float) -> None:
        """Counts one request that took ``seconds``."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def add(self, other: Histogram) -> None:
        """Count everything ``other`` counted."""
        self.counts = [mine + others for mine, others in zip(self.counts, other.counts, strict=True)]
        self.seconds += other.seconds

    def since(self, before: Histogram) -> Histogram:
        """What was counted after ``before``, an earlier copy of this histogram."""
        counts = [max(0, new - old) for new, old in zip(self.counts, before.counts, strict=True)]
        return Histogram(counts, max(0.0, self.seconds - before.seconds))

    @property
    def total(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    def percentile(self, share: float) -> float | None:
        """Seconds within which ``share`` (0 to 1) of all ended; None if nothing was counted."""
        wanted = share * self.total
        seen = 0
        for index, count in enumerate(self.counts):
            if count and seen + count >= wanted:
                low = BOUNDS[index - 1] if index else 0.0
                high = BOUNDS[index] if index < BUCKETS else BOUNDS[-1] * 2
                return low + (high - low) * (wanted - seen) / count
            seen += count
        return None
