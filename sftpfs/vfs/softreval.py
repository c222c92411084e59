"""Answers from memory while the server is away, past the lease (NFS calls it softreval).

Owns when that is done, and the error that is repeated where there is no such answer. The caller decides what
may be shown: only what the server itself once reported, and nothing that it or we have contradicted since.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from sftpfs import clock
from sftpfs.errors import SessionLostError
from sftpfs.remote.api import Remote
from sftpfs.vfs.prefetch.background import BackgroundTasks

T = TypeVar("T")
K = TypeVar("K")

GLANCE = 0.25
"""Seconds between checks whether the server counts as away, while somebody waits for it who has another
answer."""


SOON = 0.25
"""Seconds within which the same question again is the kernel's second one, which comes at once."""

SECOND_PATIENCE = 0.75
"""Seconds that the second question gets: enough if the connection is just back."""


class SoftRevalidation:
    """See the module. One object a mount.

    INVARIANT: while anybody waits who has another answer, ``_watch`` runs (if ``background`` does).
    """

    __slots__ = ("_background", "_enabled", "_remote", "_waiting", "_watched", "served")

    def __init__(self, remote: Remote, enabled: bool, background: BackgroundTasks) -> None:
        self._remote = remote
        self._enabled = enabled
        self._background = background
        self._waiting: dict[trio.CancelScope, Callable[[], tuple[Any] | None]] = {}
        self._watched = False
        self.served = 0
        """Questions answered from memory past the lease."""

    async def ask(self, question: Callable[[], Awaitable[T]], known: Callable[[], tuple[K] | None]) -> T | K:
        """The answer to ``question``; if the server is away, what is ``known``, if anything is.

        ``question`` is cancelled when the server begins to count as away. A server that is there is waited
        for: it is asked once, so the deadline counts from then.
        """
        if not self._enabled or known() is None:
            return await question()
        failure: SessionLostError | None = None
        if not self._remote.away:
            with trio.CancelScope() as scope:
                self._waits(scope, known)
                try:
                    return await question()
                except SessionLostError as lost:
                    failure = lost
                finally:
                    del self._waiting[scope]
        answer = known()
        if answer is not None and self._remote.away:
            self.served += 1
            return answer[0]
        if failure is not None:
            raise failure
        return await question()

    def _waits(self, scope: trio.CancelScope, known: Callable[[], tuple[Any] | None]) -> None:
        self._waiting[scope] = known
        if not self._watched:
            self._watched = self._background.spawn(self._watch)

    async def _watch(self) -> None:
        """Ends the waiting of everybody who has another answer once the server is away."""
        try:
            while self._waiting:
                await trio.sleep(GLANCE)
                if self._waiting and self._remote.away:
                    for scope, known in self._waiting.items():
                        if known() is not None:
                            scope.cancel()
        finally:
            self._watched = False


class RecentLookupTimeouts:
    """Names that the server did not answer for in time, kept for the moment in which the kernel asks again.

    The kernel believes no error of a lookup for a name that it knows: it forgets the name and looks it up
    once more, in the same system call. That would take the deadline twice. One object a mount.
    """

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures: dict[tuple[int, bytes], tuple[float, SessionLostError]] = {}
        """By directory and name, in the order they came: until when, and what was told."""

    def add(self, directory: int, name: bytes, failure: SessionLostError) -> None:
        """The question for ``name`` in ``directory`` ended with ``failure`` just now."""
        now = clock.now()
        for key in [key for key, (until, _) in self._failures.items() if until < now]:
            del self._failures[key]
        self._failures[directory, name] = (now + SOON, failure)

    def take(self, directory: int, name: bytes) -> SessionLostError | None:
        """The answer to the same question a moment ago, if there was one. The next question begins anew."""
        until, failure = self._failures.pop((directory, name), (0.0, None))
        return failure if clock.now() <= until else None
