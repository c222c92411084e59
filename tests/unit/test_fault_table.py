"""The table of faults in SEMANTICS names tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SEMANTICS = (ROOT / "sftpfs" / "SEMANTICS.md").read_text()
NAMED = sorted(set(re.findall(r"^\|.*\| `(test_\w+)` \|$", SEMANTICS, re.M)))


@cache
def functions() -> set[str]:
    """Every function of the tests with real parts."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        if "unit" not in path.parts:
            tree = ast.parse(path.read_text())
            found |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return found


def test_there_is_a_table() -> None:
    assert len(NAMED) >= 20


@pytest.mark.parametrize("name", NAMED)
def test_a_fault_named_in_semantics_is_tested(name: str) -> None:
    assert name in functions()
