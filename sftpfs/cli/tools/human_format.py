"""Sizes, times and progress as a person reads them."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

SECOND, MINUTE, HOUR, DAY = 1, 60, 3600, 86400


def size(count: float) -> str:
    """Bytes with three digits at least: ``812 B``, ``1.50 KiB``, ``12.3 MiB``."""
    unit = 0
    while count >= 1000 and unit < len(UNITS) - 1:
        count /= 1024
        unit += 1
    if unit == 0:
        return f"{count:.0f} B"
    return f"{count:.{2 if count < 9.995 else 1 if count < 99.95 else 0}f} {UNITS[unit]}"


def number(count: int) -> str:
    """``1,234,567``."""
    return f"{count:,}"


def plural(count: int, one: str, many: str = "") -> str:
    """``1 file``, ``2 files``."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """The two largest units: ``45 s``, ``2 min 5 s``, ``3 h 10 min``, ``2 d 4 h``."""
    whole = max(0, int(seconds))
    for unit, name, below, smaller in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "min"),
        (MINUTE, "min", SECOND, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // below
            return f"{whole // unit} {name}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def latency(seconds: float | None) -> str:
    """``0.31 ms``, ``24 ms``, ``1.20 s``."""
    if seconds is None:
        return "-"
    if seconds >= 0.9995:
        return f"{seconds:.2f} s"
    milliseconds = seconds * 1000
    return f"{milliseconds:.{2 if milliseconds < 1 else 1 if milliseconds < 10 else 0}f} ms"


def share(part: float, whole: float) -> str:
    """``93 %``; ``-`` of nothing."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def clock(at: float) -> str:
    """``2026-11-20 18:40:01``, local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def bar(part: float, width: int) -> str:
    """``[#####.....]`` for a part of 0 to 1."""
    filled = round(max(0.0, min(1.0, part)) * width)
    return f"[{'#' * filled}{'.' * (width - filled)}]"


class ProgressLine:
    """One line on a terminal that is overwritten again and again; nothing without a terminal.

    It is never longer than the terminal is wide, because a line that wraps could not be overwritten.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self.terminal = self._stream.isatty()
        self._shown = ""

    def show(self, text: str) -> None:
        """Show ``text`` in place of what was shown."""
        if self.terminal:
            text = text[: (os.get_terminal_size(self._stream.fileno()).columns or 80) - 1]
        if self.terminal and text != self._shown:
            self._shown = text
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()

    def clear(self) -> None:
        """Leave the line empty."""
        if self._shown:
            self._shown = ""
            self._stream.write("\r\x1b[K")
            self._stream.flush()
