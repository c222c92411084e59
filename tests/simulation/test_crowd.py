"""An operation of the whole mount costs the same beside ten open files and beside 20,000, in steps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COUNTS = (10, 1_000, 20_000)


@pytest.mark.limit(400)
def test_what_an_operation_costs_does_not_grow_with_the_open_files() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.simulation.crowd", *map(str, COUNTS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    few, some, many = (json.loads(line) for line in ended.stdout.splitlines())
    assert few.keys() == some.keys() == many.keys() and all(few.values())
    for what, steps in few.items():
        assert max(some[what], many[what]) <= 1.25 * steps, what
