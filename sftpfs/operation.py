"""When the kernel's request that is being worked on began: everything it is made of has one deadline
together.

The task carries the moment (in a context variable), because only two rooms need it: ``fuse``, which begins an
operation, and ``remote``, which waits for the server. Work that nobody waits for belongs to no operation: a
task in the background ``end``s the operation that it inherited. A listing in parts (``vfs.readdir``), which
may take long, begins one with each part.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sftpfs import clock

_begun: ContextVar[float | None] = ContextVar("begun", default=None)


def begin() -> None:
    """This task works on a new request from now on."""
    _begun.set(clock.awake())


def end() -> None:
    """This task works on none."""
    _begun.set(None)


@contextmanager
def anew() -> Iterator[None]:
    """Within the block this task works on something of its own, with ``begin`` at each step that brings it
    on; then on what it did before."""
    before = _begun.set(clock.awake())
    try:
        yield
    finally:
        _begun.reset(before)


def begun() -> float:
    """When it began, by ``clock.awake``; now, for work in the background."""
    since = _begun.get()
    return clock.awake() if since is None else since
