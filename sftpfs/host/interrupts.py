"""Ctrl-C, SIGTERM and SIGHUP of a command that has something to clean up.

Owns the handlers of these signals while it is entered. At all other times Python's own are in force.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class Interrupts:
    """The first signal ends the work, as a KeyboardInterrupt. What cleans up is never interrupted.

    INVARIANT: an exception is raised only within ``allowed``, and there once. A signal that came outside ends
    the next ``allowed``, or the whole.
    """

    def __init__(self) -> None:
        self.came = False
        """One of the signals."""
        self._allowed = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupts:
        for number in heeded():
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # Further signals must not end us on the way out, when Python restores the first handlers
            signal.signal(number, signal.SIG_IGN if self.came else handler)  # type: ignore[arg-type]
        if self.came and error is None:
            raise KeyboardInterrupt

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """The work of the block may be interrupted. The caller cleans up what it made."""
        self._allowed = True
        try:
            if self.came:
                raise KeyboardInterrupt
            yield
        finally:
            self._allowed = False

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        if self._allowed:
            self._allowed = False
            raise KeyboardInterrupt


def heeded() -> list[signal.Signals]:
    """Those of the three signals that were not ignored when we were started (nohup)."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]


def default() -> None:
    """Restores the handlers of a process of its own, for a child that is another command."""
    for number in heeded():
        usual = signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)
