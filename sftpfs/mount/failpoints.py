"""Named moments at which a test may have a process fail or die: OPERATION_AFTER_STEP.

Each is where a crash leaves something half done. A test of what is found afterwards names the moment,
instead of sleeping or patching a library. Nothing is set but by tests: in a mount, ``reached`` looks into an
empty dictionary and goes on. None is on the way of a read or a write.
"""

from __future__ import annotations

from collections.abc import Callable

SALVAGE_AFTER_DATA = "salvage: the bytes are on the disk, and nothing says so"
RECORD_AFTER_WRITE = "salvage: the new record is written beside the old one"
REMOVE_AFTER_DATA = "salvage: the bytes are gone, and their record is there"

_actions: dict[str, Callable[[], None]] = {}


def reached(moment: str) -> None:
    """This is ``moment``: does what a test wants done then."""
    if _actions:
        action = _actions.get(moment)
        if action is not None:
            action()


def at(moment: str, action: Callable[[], None] | None) -> None:
    """Has ``action`` called whenever ``moment`` is reached in this process; None: nothing any more."""
    if action is None:
        _actions.pop(moment, None)
    else:
        _actions[moment] = action
