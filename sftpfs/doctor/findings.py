"""The results of an examination, for a person."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import Enum

WIDTH = 79
INDENT = 6


class Verdict(Enum):
    """How a finding bears on a mount."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """``text`` says what was found, ``advice`` what it means for the mount and which options to set."""

    verdict: Verdict
    text: str
    advice: str = ""

    def lines(self) -> list[str]:
        """As it is printed."""
        blank = " " * INDENT
        label = self.verdict.value.ljust(INDENT)
        lines = _wrapped(self.text, label, blank)
        if self.advice:
            lines += _wrapped(self.advice, blank + "→ ", blank + "  ")
        return lines


def _wrapped(text: str, first: str, further: str) -> list[str]:
    """Lines of whole words, so that a path or a command can be copied from the screen."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )


def good(text: str, advice: str = "") -> Finding:
    """All is well."""
    return Finding(Verdict.GOOD, text, advice)


def note(text: str, advice: str = "") -> Finding:
    """A mount works, but with a limit."""
    return Finding(Verdict.NOTE, text, advice)


def bad(text: str, advice: str = "") -> Finding:
    """No mount is possible."""
    return Finding(Verdict.BAD, text, advice)
