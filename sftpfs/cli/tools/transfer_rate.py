"""Progress and speed of work over many files, as ``warm`` and ``cp`` show it."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from sftpfs.cli.tools.human_format import bar, duration, plural, size

BAR_WIDTH = 20

RATE_SPAN = 5.0
"""Seconds over which the rate is taken: longer than a hiccup, shorter than a person remembers."""


class Amounts(Protocol):
    """What there is to do and what is done; grows while it is looked at."""

    files_found: int
    files_done: int
    bytes_found: int
    bytes_done: int

    @property
    def listed(self) -> bool:
        """What was found is all there is."""


class Rate:
    """Bytes a second over the last few seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def update(self, now: float, done: int) -> float:
        """The rate, if ``done`` bytes are done at ``now``."""
        self._seen.append((now, done))
        while now - self._seen[0][0] > RATE_SPAN and len(self._seen) > 2:
            self._seen.popleft()
        before, there = self._seen[0]
        return (done - there) / (now - before) if now > before else 0.0


def progress(work: Amounts, rate: float) -> str:
    """The progress: a bar, the rate, the time remaining."""
    done, found = work.bytes_done, work.bytes_found
    counts = f"{size(done)} of {size(found)}, {work.files_done:,} of {plural(work.files_found, 'file')}"
    if not work.listed:
        return f"listing, {counts} so far, {size(rate)}/s"
    part = done / found if found else 1.0
    remaining = f", {duration((found - done) / rate)} to go" if rate > 0 else ""
    return f"{bar(part, BAR_WIDTH)} {100 * part:3.0f} %  {size(rate)}/s{remaining}  {counts}"
