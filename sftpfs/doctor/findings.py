"""What an examination found, for a person."""

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
    """``text`` says what was found; ``advice`` what it means for the mount and which options to set."""

    verdict: Verdict
    text: str
    advice: str = ""

    def lines(self) -> list[str]:
        """As it is printed."""
        blank = " " * INDENT
        label = self.verdict.value.ljust(INDENT)
        lines = textwrap.wrap(
            self.text, WIDTH, initial_indent=label, subsequent_indent=blank, break_long_words=False
        )
        deeper = blank + "  "
        if self.advice:
            lines += textwrap.wrap(
                self.advice,
                WIDTH,
                initial_indent=blank + "→ ",
                subsequent_indent=deeper,
                break_long_words=False,
            )
        return lines


def good(text: str, advice: str = "") -> Finding:
    """All is well."""
    return Finding(Verdict.GOOD, text, advice)


def note(text: str, advice: str = "") -> Finding:
    """A mount works, with a limit."""
    return Finding(Verdict.NOTE, text, advice)


def bad(text: str, advice: str = "") -> Finding:
    """No mount is possible."""
    return Finding(Verdict.BAD, text, advice)
