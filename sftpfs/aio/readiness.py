"""Descriptors that are read all the time: calls somebody whenever one of them has something to read.

trio registers a descriptor anew for each wait, and looks at all of them between any two steps of tasks. Of a
request of the kernel that goes to the server and back, these are four system calls of ten. Here the FUSE
device and the SFTP streams stay registered with an epoll of their own, which also holds trio's. While tasks
can run it is asked only every ``SKIPS``-th time.

This takes the place of ``get_events`` of trio's I/O manager, which is private to trio (``_core._io_epoll``).
Where trio is not as expected ``poller`` is None, and whoever asks waits by trio's public means.

What is called runs between the steps of tasks, in no task: it must not raise, wait, or ask for the current
task. It may reschedule tasks, start some, and cancel scopes, as everything that fills a ``Slot`` does.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any

try:
    from trio._core._io_epoll import EpollIOManager
    from trio._core._run import GLOBAL_RUN_CONTEXT
except ImportError:  # another release of trio, or not Linux
    _known = False
else:
    _known = {"_epoll", "_registered", "get_events"} <= set(dir(EpollIOManager))

PLAIN = "SFTPFS_PLAIN_TRIO"
"""Set in the environment: everybody waits by trio's public means. For tests, and to find whose a fault is."""

SKIPS = 8
"""Rounds of trio's loop that run tasks without a look at any descriptor: a request takes two or three."""

EVENTS = 16
"""Descriptors reported at once; the others are by the next look."""


class _Something(tuple[()]):
    """No event for trio, and yet not "the timeout has passed", which trio takes nothing for."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


_SOMETHING = _Something()


class Poller:
    """What waits for all descriptors of one run of trio.

    INVARIANT: ``_callbacks`` has exactly what is registered with ``_epoll`` beside trio's own.
    """

    __slots__ = ("_callbacks", "_epoll", "_manager", "_skipped", "_trios")

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._trios: select.epoll = manager._epoll
        self._epoll = select.epoll()
        self._epoll.register(self._trios.fileno(), select.EPOLLIN)
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._skipped = 0

    def add(self, fd: int, callback: Callable[[], object]) -> None:
        """Call ``callback`` whenever ``fd`` has something to read, again and again until it was read."""
        self._epoll.register(fd, select.EPOLLIN)
        self._callbacks[fd] = callback

    def remove(self, fd: int) -> None:
        """Call nobody any more for ``fd``, which is still open. Idempotent."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def get_events(self, timeout: float) -> Any:
        """As trio's own: waits ``timeout`` seconds at most; false only where nothing came within it."""
        if timeout <= 0 and self._skipped < SKIPS:
            self._skipped += 1
            return ()
        self._skipped = 0
        for_trio, events = False, self._epoll.poll(timeout, EVENTS)
        for fd, _ in events:
            callback = self._callbacks.get(fd)
            if callback is not None:
                callback()
            else:
                for_trio = True
        if for_trio:
            return self._trios.poll(0, max(1, len(self._manager._registered))) or _SOMETHING
        return _SOMETHING if events else ()


def poller() -> Poller | None:
    """That of this run of trio; None where trio's public means are to be used."""
    if not _known:
        return None
    manager = GLOBAL_RUN_CONTEXT.runner.io_manager
    found: Poller | None = getattr(type(manager), "poller", None)
    if found is None and type(manager) is EpollIOManager and PLAIN not in os.environ:
        found = Poller(manager)
        own = {"__slots__": (), "poller": found, "get_events": found.get_events}
        manager.__class__ = type("SharedIOManager", (EpollIOManager,), own)
    return found
