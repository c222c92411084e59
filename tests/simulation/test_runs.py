"""The simulator itself: a run is its seed, and one that fails is shrunk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def simulate(*arguments: str, limit: float = 100.0) -> str:
    """What ``python -m tests.simulation`` prints; a process of its own, for it puts other clocks into
    ``time``."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    ).stdout


@pytest.mark.parametrize("theme", ["listings", "resets", "sharing"])
def test_a_run_is_its_seed(theme: str) -> None:
    """Twice the same, request by request, to the last virtual millisecond."""
    first, second = (
        simulate("--seed", "5", "--theme", theme, "--steps", "40", "--verbose") for _ in range(2)
    )
    lines = first.splitlines()
    assert len(lines) > 60
    assert lines[:-1] == second.splitlines()[:-1]
