"""What is printed."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.servers.judging import Outcome, Verdict

OURS = re.compile(r"/[^\s:']*/round\d+/")
"""Where a trial works."""

WIDTH = 300
"""Characters of what was seen."""


class Row(NamedTuple):
    """What came of one server."""

    name: str
    outcomes: dict[str, Outcome]

    def count(self, verdict: Verdict) -> int:
        """How many checks came out so."""
        return sum(outcome.verdict is verdict for outcome in self.outcomes.values())

    def bad(self) -> bool:
        """Whether there was a lie or a hang, or nothing at all."""
        return not self.outcomes or bool(self.count(Verdict.LIE) + self.count(Verdict.HANG))


def summary(row: Row) -> str:
    """One line of numbers."""
    if not row.outcomes:
        return f"{row.name:32} did not start"
    passes = row.count(Verdict.OK) + row.count(Verdict.EXCUSED)
    excused = row.count(Verdict.EXCUSED)
    refused, lies, hangs = map(row.count, (Verdict.REFUSED, Verdict.LIE, Verdict.HANG))
    begin = f"{row.name:32} {passes:4} of {len(row.outcomes)} ({excused} excused)"
    return f"{begin}, {refused:3} refused, {lies:3} LIES, {hangs:2} hangs"


def print_row(row: Row) -> None:
    """The numbers, then every check that did not pass with what was seen: lies first."""
    print(summary(row))
    whole = set(row.outcomes.values())
    if len(whole) == 1 and len(row.outcomes) > 1 and not row.count(Verdict.OK):
        print(f"    all: {' '.join(whole.pop().what.split())}\n", flush=True)
        return
    print(*details(row.outcomes), "", sep="\n", flush=True)


def details(outcomes: dict[str, Outcome]) -> list[str]:
    """Every check that did not pass, with what was seen: lies first."""
    lines = []
    for verdict in (Verdict.LIE, Verdict.HANG, Verdict.REFUSED, Verdict.EXCUSED):
        for check, outcome in outcomes.items():
            if outcome.verdict is verdict:
                what = OURS.sub("…/", " ".join(outcome.what.split()))
                lines.append(f"    {verdict.value:8} {check}: {what[:WIDTH]}")
    return lines


def print_table(rows: list[Row], contestant: str) -> None:
    """The numbers of all servers."""
    print(f"{contestant}:")
    for row in rows:
        print(summary(row))
