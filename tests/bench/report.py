"""The results file, and what is made of it: ``python -m tests.bench.report FILE… [--svg FILE]``.

Several files (one for each delay or contestant, say) make one report.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import table, usage_table
from tests.bench.bars import ROUND_TRIP
from tests.bench.results import Outcome, summarise


@dataclass(slots=True)
class Series:
    """Every outcome at one round trip (milliseconds), by workload and contestant."""

    round_trip: float
    contestants: list[str]
    full: bool
    units: dict[str, int] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, dict[str, list[Outcome]]] = field(default_factory=dict)

    def add(self, workload: str, title: str, contestant: str, outcome: Outcome) -> None:
        """One step."""
        self.titles[workload] = title
        self.outcomes.setdefault(workload, {}).setdefault(contestant, []).append(outcome)

    def join(self, other: Series) -> None:
        """Take over what ``other`` holds."""
        self.contestants += [name for name in other.contestants if name not in self.contestants]
        for workload, row in other.outcomes.items():
            for contestant, outcomes in row.items():
                for outcome in outcomes:
                    self.add(workload, other.titles[workload], contestant, outcome)

    @property
    def with_bars(self) -> bool:
        """Whether the bars are for this."""
        return self.full and self.round_trip == ROUND_TRIP

    def row(self, workload: str) -> table.Row:
        """Summaries by contestant."""
        return {name: summarise(outcomes) for name, outcomes in self.outcomes.get(workload, {}).items()}

    def line(self, workload: str) -> str:
        """The table's row."""
        title = self.titles[workload]
        return table.line(workload, title, self.row(workload), self.contestants, self.with_bars)

    def usage_line(self, workload: str) -> str:
        """The row of the table of ``--cpu``."""
        units = self.units.get(workload, 1)
        return usage_table.line(self.titles[workload], units, self.row(workload), self.contestants)

    def usage_header(self) -> str:
        """That table's head."""
        python = f"Python {platform.python_version()}, {os.path.realpath(sys.executable)}"
        return f"{python}\n{usage_table.header(self.contestants)}"

    def header(self) -> str:
        """The table's head."""
        return table.header(self.contestants, self.with_bars)

    def footer(self) -> str:
        """The table's last line."""
        return table.memory_line([self.row(workload) for workload in self.outcomes], self.contestants)

    def lines(self) -> list[str]:
        """The whole table."""
        return [self.header(), *map(self.line, self.outcomes), self.footer()]

    def as_json(self) -> dict[str, Any]:
        """For the results file."""
        outcomes = {
            workload: {name: [one.as_json() for one in found] for name, found in row.items()}
            for workload, row in self.outcomes.items()
        }
        return {
            "round_trip_ms": self.round_trip,
            "contestants": self.contestants,
            "full": self.full,
            "titles": self.titles,
            "outcomes": outcomes,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Series:
        """The inverse of ``as_json``."""
        series = cls(data["round_trip_ms"], data["contestants"], data["full"])
        for workload, row in data["outcomes"].items():
            for contestant, outcomes in row.items():
                for one in outcomes:
                    series.add(workload, data["titles"][workload], contestant, Outcome.from_json(one))
        return series


def _version(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "not installed"
    return ((done.stdout or done.stderr).splitlines() or ["?"])[0]


def machine() -> dict[str, Any]:
    """What a reader needs to judge the figures."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "ssh": _version("ssh", "-V"),
        "sshfs": _version("sshfs", "--version"),
        "rclone": _version("rclone", "version"),
    }


def save(path: Path, about: dict[str, Any], series: Sequence[Series]) -> None:
    """Write the results file, whole or not at all."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps({**about, "series": [one.as_json() for one in series]}, indent=1) + "\n")
    new.replace(path)


def load(paths: Sequence[Path]) -> list[Series]:
    """The series of all files, by round trip; those of one round trip and size become one."""
    found: dict[tuple[float, bool], Series] = {}
    for path in paths:
        for data in json.loads(path.read_text())["series"]:
            one = Series.from_json(data)
            found.setdefault((one.round_trip, one.full), Series(one.round_trip, [], one.full)).join(one)
    return [found[key] for key in sorted(found)]


def main() -> int:
    """Print the tables again, and draw them."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.report", description="Tables and picture of results."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="written by --json")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the picture")
    options = parser.parse_args()
    series = load(options.files)
    for one in series:
        print(f"\nround trip {one.round_trip:g} ms, seconds (times faster than {table.REFERENCE})")
        print(*one.lines(), sep="\n")
    if options.svg:
        from tests.bench.figure import draw

        draw(series, options.svg)
    return 0


if __name__ == "__main__":
    sys.exit(main())
