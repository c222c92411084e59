"""When the request of the kernel's that is worked on began: all it is made of has one deadline together.

Carried by the task (a context variable), for it is of no interest to anybody between ``fuse``, which begins
an operation, and ``remote``, which waits for the server. What nobody waits for is in no operation: a task
in the background ``end``s in itself what it inherited.
"""

from __future__ import annotations

from contextvars import ContextVar

from sftpfs import clock

_begun: ContextVar[float | None] = ContextVar("begun", default=None)


def begin() -> None:
    """This task works on a new request from now on."""
    _begun.set(clock.awake())


def end() -> None:
    """This task works on none."""
    _begun.set(None)


def begun() -> float:
    """When it began, by ``clock.awake``; now, where this is work in the background."""
    since = _begun.get()
    return clock.awake() if since is None else since
