"""A limit on every test, also for one stuck in the kernel.

A process waiting for a FUSE reply takes no signal but SIGKILL, so an alarm alone
frees nobody. At the limit a thread first kills the mounts the tests made, which
makes the kernel answer every pending request with an error, and then raises
TestTimeout in the main thread. Should the main thread hold the interpreter lock in
a page fault, faulthandler's own thread ends the run a little later.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

LAST_RESORT = 45.0
"""Seconds after the limit when the whole run is ended: the mounts were killed and nothing moved."""


class TestTimeout(Exception):
    """The test took longer than its limit."""

    __test__ = False


_emergencies: dict[int, Callable[[], None]] = {}


def on_timeout(key: int, action: Callable[[], None]) -> None:
    """Have ``action`` called when a test takes too long; ``key`` (a pid) names it for ``forget``."""
    _emergencies[key] = action


def forget(key: int) -> None:
    """Undo ``on_timeout``."""
    _emergencies.pop(key, None)


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise TestTimeout("the test took longer than its limit; its mounts were killed")


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Run the body for at most ``seconds``. Main thread only."""
    main = threading.get_ident()
    done = threading.Event()

    def watch() -> None:
        if done.wait(seconds):
            return
        faulthandler.dump_traceback()
        for action in list(_emergencies.values()):
            action()
        if not done.is_set():
            signal.pthread_kill(main, signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, _raise)
    faulthandler.dump_traceback_later(seconds + LAST_RESORT, exit=True)
    watcher = threading.Thread(target=watch, name=f"time-limit-{os.getpid()}", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join(LAST_RESORT)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
