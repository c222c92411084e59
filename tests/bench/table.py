"""The table, as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.bench.bars import BARS, MEMORY
from tests.bench.results import Status, Summary, ratio

REFERENCE = "sshfs"
OURS = "sftpfs"
TITLE_WIDTH = 34
CELL_WIDTH = 18

UNSEEN = {"asked", "switches"}
"""Figures that are for other tables."""

Row = Mapping[str, Summary | None]
"""One workload's summaries by contestant; None where it does not take part."""


def seconds(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def cell(summary: Summary | None, reference: Summary | None, is_reference: bool) -> str:
    """Seconds, and times faster than the reference."""
    if summary is None:
        return "–"
    if summary.status is Status.FAILED:
        return "failed"
    if summary.status is Status.LIMIT:
        return f"> {seconds(summary.seconds)}"
    text = seconds(summary.seconds)
    times = ratio(reference, summary)
    if is_reference or times is None:
        return text
    bound = "> " if reference is not None and reference.status is Status.LIMIT else ""
    return f"{text} ({bound}{times:.3g}×)" if times < 100 else f"{text} ({bound}{times:.0f}×)"


def verdict(name: str, ours: Summary | None) -> str:
    """The bar, and whether it is met."""
    bar = BARS.get(name)
    return "" if bar is None else f"{bar}: {'met' if bar.met(ours) else 'NOT MET'}"


def details(summary: Summary | None) -> str:
    """Our further figures."""
    if summary is None or summary.status is not Status.DONE:
        return summary.problem if summary else ""
    parts = [f"{name} {seconds(value)}" for name, value in summary.figures.items() if name not in UNSEEN]
    if summary.highest > summary.lowest:
        parts.append(f"{seconds(summary.lowest)}–{seconds(summary.highest)}")
    return "; ".join(parts)


def header(contestants: Sequence[str], with_bars: bool) -> str:
    """The line above the rows."""
    cells = [name.rjust(CELL_WIDTH) for name in contestants]
    return "".join(["".ljust(TITLE_WIDTH), *cells, "  bar" if with_bars else ""])


def line(name: str, title: str, row: Row, contestants: Sequence[str], with_bars: bool) -> str:
    """One row."""
    reference = row.get(REFERENCE)
    cells = [cell(row.get(one), reference, one == REFERENCE).rjust(CELL_WIDTH) for one in contestants]
    ours = row.get(OURS)
    ending = [verdict(name, ours) if with_bars else "", details(ours)]
    return "".join([title.ljust(TITLE_WIDTH), *cells, "  ", " | ".join(part for part in ending if part)])


def memory_line(rows: Sequence[Row], contestants: Sequence[str]) -> str:
    """The most memory each held in any step."""
    cells = []
    most: dict[str, int] = {}
    for one in contestants:
        held = [s.memory for row in rows if (s := row.get(one)) is not None and s.memory is not None]
        if held:
            most[one] = max(held)
        cells.append((f"{max(held) / 1e6:.0f} MB" if held else "–").rjust(CELL_WIDTH))
    ending = ""
    if OURS in most:
        ending = f"  ≤ {MEMORY / 1e6:.0f} MB: {'met' if most[OURS] <= MEMORY else 'NOT MET'}"
    return "".join(["memory, highest (PSS)".ljust(TITLE_WIDTH), *cells, ending])
