"""How a test quotes SEMANTICS.md: the mark of a sentence and its words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])

quoted: dict[str, str] = {}
"""Mark → the sentence as a test quotes it; filled as the test modules are imported."""


def states(mark: str, sentence: str) -> Callable[[F], F]:
    """The test proves the ``sentence`` that stands behind ``mark``, verbatim but for line breaks."""
    assert mark not in quoted, f"{mark} is quoted twice"
    quoted[mark] = sentence

    def unchanged(test: F) -> F:
        return test

    return unchanged
