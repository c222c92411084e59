"""The picture: grouped bars on a logarithmic scale, a panel for each round trip. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.bars import BARS
from tests.bench.report import Series
from tests.bench.results import Status, Summary
from tests.bench.table import seconds

COLOURS = {
    "sftpfs": "#0b6e4f",
    "sshfs": "#c8553d",
    "sshfs-tuned": "#e9a178",
    "rclone": "#6c757d",
    "ssh-cat": "#3a6ea5",
    "tar-ssh": "#6fa8dc",
    "rsync": "#8e7cc3",
    "scp": "#c27ba0",
}
PANEL_WIDTH, ROW_HEIGHT = 9.0, 0.17
"""Inches: of a panel, and of one bar."""
GROUP = 0.82
"""Share of a workload's space that bars fill."""


def draw(everything: Sequence[Series], path: Path) -> None:
    """Write ``path``; what it ends in (.svg, .png) is its format."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "sftpfs"
    matplotlib.rcParams["font.size"] = 9
    from matplotlib import pyplot

    bars = max(sum(len(series.row(name)) + 1 for name in series.outcomes) for series in everything)
    size = (PANEL_WIDTH * len(everything), max(3.0, ROW_HEIGHT * bars + 1.2))
    figure, panels = pyplot.subplots(1, len(everything), figsize=size, squeeze=False)
    for panel, series in zip(panels[0], everything, strict=True):
        _panel(panel, series)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _panel(panel: Any, series: Series) -> None:
    """One round trip: the first workload on top, contestants in order within each."""
    position, places, titles = 0.0, [], []
    for workload in series.outcomes:
        row = [(name, one) for name, one in series.row(workload).items() if one is not None]
        row.sort(key=lambda pair: series.contestants.index(pair[0]))
        height = len(row) + 1.0
        if series.with_bars and workload in BARS:
            panel.plot(
                [BARS[workload].seconds] * 2,
                [position - 0.6, position + len(row) - 0.4],
                "k:",
                lw=1,
                zorder=3,
            )
        for number, (name, one) in enumerate(row):
            _bar(panel, position + number, name, one)
        places.append(position + (len(row) - 1) / 2)
        titles.append(series.titles[workload])
        position += height
    panel.set_yticks(places, titles)
    panel.set_ylim(position - 0.4, -1.0)
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter("{x:g}")
    panel.margins(x=0.12)
    panel.grid(axis="x", which="major", alpha=0.3)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    link = f"round trip {series.round_trip:g} ms" if series.round_trip else "loopback"
    panel.set_title(f"{link}: seconds, logarithmic, less is better")
    _legend(panel, series)


def _bar(panel: Any, place: float, name: str, one: Summary) -> None:
    """A bar with its seconds; hatched where the limit was reached, a word where it failed."""
    if one.status is Status.FAILED:
        panel.text(
            0.005, place, f"{name}: failed", va="center", fontsize=6, transform=panel.get_yaxis_transform()
        )
        return
    over = one.status is Status.LIMIT
    panel.barh(
        place, one.seconds, height=GROUP, color=COLOURS[name], hatch="//" if over else None, edgecolor="white"
    )
    text = f" {'> ' if over else ''}{seconds(one.seconds)}"
    panel.text(one.seconds, place, text, va="center", fontsize=7)


def _legend(panel: Any, series: Series) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=COLOURS[name], label=name) for name in series.contestants]
    if series.with_bars:
        handles.append(Line2D([], [], color="k", ls=":", lw=1, label="bar for sftpfs"))
    panel.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.4, -0.03), ncols=5, fontsize=8, frameon=False
    )
