"""SEMANTICS.md and the tests say the same: every mark has a test, every quotation is verbatim."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

from tests.semantics.elsewhere import ELSEWHERE
from tests.semantics.statements import quoted

REPOSITORY = Path(__file__).resolve().parents[2]

MARK = re.compile(r"`([A-Z][0-9]+)` ")
"""A mark before a sentence; one in parentheses refers to it."""


def document() -> str:
    """SEMANTICS.md with every run of white space made one space."""
    return " ".join((REPOSITORY / "sftpfs" / "SEMANTICS.md").read_text().split())


def marks(text: str) -> list[str]:
    """The marks that stand before a sentence."""
    return [match[1] for match in MARK.finditer(text.replace("A mark such as `F3` stands", ""))]


def quotations() -> dict[str, str]:
    """Everything quoted, by mark."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"tests.semantics.{path.stem}")
    assert not quoted.keys() & ELSEWHERE.keys()
    return {**quoted, **{mark: sentence for mark, (sentence, *_) in ELSEWHERE.items()}}


def test_every_marked_statement_has_one_test() -> None:
    found = marks(document())
    assert len(found) == len(set(found)), "a mark is used twice"
    assert set(found) == quotations().keys()


def test_every_quotation_is_verbatim() -> None:
    text = document()
    for mark, sentence in quotations().items():
        assert f"`{mark}` {sentence}" in text, f"{mark} reads otherwise"


def test_every_test_named_elsewhere_exists() -> None:
    functions: dict[str, set[str]] = {}
    for mark, (_, *tests) in ELSEWHERE.items():
        assert tests, mark
        for where in tests:
            path, _, name = where.partition("::")
            if path not in functions:
                tree = ast.parse((REPOSITORY / path).read_text())
                functions[path] = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert name in functions[path], f"{mark}: {where}"
