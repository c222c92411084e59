"""Inputs of a fuzzed parser that once failed, or reach a branch that chance seldom does: tried first.

A corpus is a directory ``corpus/PARSER`` beside the parser's tests, a file an input, named for what is wrong
with it. What a fuzz test finds is put there, and stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hypothesis import example

Test = Callable[..., None]
Calls = Callable[[bytes], Iterable[tuple[Any, ...]]]


def alone(content: bytes) -> Iterable[tuple[Any, ...]]:
    """The input is the test's one argument."""
    yield (content,)


def tried_first(beside: str, parser: str, calls: Calls = alone) -> Callable[[Test], Test]:
    """Runs the test below, one of ``given``, for each input of the corpus of ``parser`` before any other.

    ``beside`` is the test's ``__file__``; ``calls`` gives the arguments, once or more, for an input.
    """
    inputs = sorted((Path(beside).parent / "corpus" / parser).iterdir())
    assert inputs, f"the corpus of {parser} is empty"

    def decorate(test: Test) -> Test:
        for path in reversed(inputs):
            for arguments in calls(path.read_bytes()):
                test = example(*arguments).via(f"corpus/{parser}/{path.name}")(test)
        return test

    return decorate
