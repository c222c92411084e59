"""The table of SECURITY names tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECURITY = (ROOT / "sftpfs" / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(test_\w+…?|tests/[\w/]+\.py)`", SECURITY)))


@cache
def functions() -> set[str]:
    """Every test there is."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text())
        found |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return found


def test_each_threat_has_a_guard_a_test_and_sshs_answer() -> None:
    rows = [line for line in SECURITY.splitlines() if line.startswith("|")]
    threats = [row for row in rows if not row.startswith(("| threat", "|---"))]
    assert len(threats) >= 10
    for row in threats:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 4 and all(cells), row
        assert re.match("`test_|`tests/|the same", cells[2]), row


@pytest.mark.parametrize("name", NAMED)
def test_a_test_named_is_there(name: str) -> None:
    """A name that ends in an ellipsis is the beginning of one."""
    start = name.removesuffix("…")
    if name.endswith(".py"):
        assert (ROOT / name).exists()
        return
    assert any(found == start or (start != name and found.startswith(start)) for found in functions())
