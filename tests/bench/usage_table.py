"""The table of ``--cpu``: what each takes for a row, as a multiple of the reference's. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.results import Status, Summary
from tests.bench.table import REFERENCE, TITLE_WIDTH, Row, seconds

CELL = 15
COLUMNS = ("wall s", "cpu s", "switches", "calls")
"""Of each contestant. The last two are for one unit of the row: a read, a file, a MiB, a save."""


def header(contestants: Sequence[str]) -> str:
    """The two lines above the rows."""
    names = "".join(name.center(CELL * len(COLUMNS)) for name in contestants)
    columns = "".join(column.rjust(CELL) for column in COLUMNS) * len(contestants)
    return f"{''.ljust(TITLE_WIDTH)}{names}\n{''.ljust(TITLE_WIDTH)}{columns}"


def line(title: str, units: int, row: Row, contestants: Sequence[str]) -> str:
    """One row."""
    reference = row.get(REFERENCE)
    return title.ljust(TITLE_WIDTH) + "".join(_cells(row.get(one), reference, units) for one in contestants)


def _cells(summary: Summary | None, reference: Summary | None, units: int) -> str:
    if summary is None or summary.status is not Status.DONE:
        words = ["–" if summary is None else summary.status.value, *[""] * (len(COLUMNS) - 1)]
        return "".join(word.rjust(CELL) for word in words)
    figures = summary.figures
    known = reference is not None and reference.status is Status.DONE and reference is not summary
    wall = _multiple(summary.seconds, reference.seconds if known and reference else None)
    spent = _multiple(figures["cpu"], reference.figures["cpu"] if known and reference else None)
    calls = f"{figures['calls'] / units:.2f}" if "calls" in figures else "–"
    cells = [wall, spent, f"{figures['switches'] / units:.2f}", calls]
    return "".join(cell.rjust(CELL) for cell in cells)


def _multiple(value: float, of: float | None) -> str:
    return f"{seconds(value)} ({value / of:.2f}×)" if of else seconds(value)
