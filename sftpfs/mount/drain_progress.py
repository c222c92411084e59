"""What a person sees at the end of a mount that still has to write: how much there was, how much is left.

Owns the words and how often they come. On a terminal it writes over one line; elsewhere it logs a line now
and then.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress

import trio

MIB = 1 << 20

PATIENCE = 0.5
"""Seconds that an end may take before anything is printed."""

TERMINAL_INTERVAL = 0.2
"""Seconds between two writings of the line: smooth to the eye."""

LOG_INTERVAL = 10.0
"""Seconds between two lines of log."""

CLEAR = "\r\x1b[K"
"""To the first column, and the line away (ECMA-48 EL)."""

log = logging.getLogger(__name__)


def line(total: int, left: int, host: str) -> str:
    """``writing 12.0 MiB to host, 3.5 MiB left``."""
    return f"writing {_mib(total)} to {host}, {_mib(left)} left"


def _mib(size: int) -> str:
    return f"{size / MIB:.1f} MiB" if size >= MIB // 10 else f"{-(-size // 1024)} KiB"


async def report(left: Callable[[], int], host: str, terminal: bool) -> None:
    """Reports how the bytes that ``left`` counts become fewer, until cancelled."""
    total = left()
    await trio.sleep(PATIENCE)
    try:
        while True:
            text = line(max(total, left()), left(), host)
            if terminal:
                _show(CLEAR + text)
                await trio.sleep(TERMINAL_INTERVAL)
            else:
                log.info("%s", text)
                await trio.sleep(LOG_INTERVAL)
    finally:
        if terminal:
            _show(CLEAR)


def _show(text: str) -> None:
    with suppress(OSError):  # nobody looks any more
        sys.stderr.write(text)
        sys.stderr.flush()
