"""CPython's own tests: what differs from a local directory, SEMANTICS says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.__main__ import compare
from tests.conformance.cpython import MODULES, interpreter, run
from tests.conformance.explained import unquoted
from tests.conftest import MakeMount


def test_every_explanation_stands_in_semantics() -> None:
    assert unquoted() == []


@pytest.mark.long
@pytest.mark.limit(7200)
def test_cpython_finds_nothing_but_what_semantics_says(make_mount: MakeMount, tmp_path: Path) -> None:
    python = interpreter()
    local = run(python, tmp_path / "local", MODULES)
    lines, unexplained = compare(local, run(python, make_mount().path / "tests", MODULES))
    assert not unexplained, "\n".join(lines)
