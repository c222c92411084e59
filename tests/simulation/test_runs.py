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
    return finish(*arguments, limit=limit).stdout


def finish(*arguments: str, limit: float) -> subprocess.CompletedProcess[str]:
    """The same, with its status."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )


@pytest.mark.parametrize("theme", ["listings", "resets", "sharing", "bulk"])
def test_a_run_is_its_seed(theme: str) -> None:
    """Twice the same, request by request, to the last virtual millisecond."""
    first, second = (
        simulate("--seed", "5", "--theme", theme, "--steps", "40", "--verbose") for _ in range(2)
    )
    lines = first.splitlines()
    assert len(lines) > 60
    assert lines[:-1] == second.splitlines()[:-1]


@pytest.mark.limit(300)
def test_what_was_found_once_is_not_found_again() -> None:
    """The corpus."""
    ended = finish("--corpus", limit=280.0)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def seeds_of_this_commit() -> int:
    """The first of the seeds that belong to the commit checked out: new ones with each commit, and the same
    for whoever runs it again. 0 where there is no git."""
    told = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    return int(told.stdout[:7] or "0", 16)


@pytest.mark.limit(300)
def test_a_minute_of_seeds_of_this_commit() -> None:
    """What is found is printed as the steps that lead to it, with its seed."""
    first = str(seeds_of_this_commit())
    ended = finish("--minutes", "1", "--shrink", "--from", first, limit=280.0)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.long
@pytest.mark.limit(4500)
def test_an_hour_of_new_seeds() -> None:
    """The same for an hour; it goes on after a finding."""
    ended = finish("--minutes", "60", "--keep-going", "--shrink", limit=4400.0)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
