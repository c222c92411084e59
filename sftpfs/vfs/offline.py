"""Answering from memory while the server is away, past the lease (NFS calls it softreval).

Owns when that is done. What may be shown is said by whoever asks: only what the server
itself told once, and nothing that it or we have contradicted since.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from sftpfs.errors import SessionLostError
from sftpfs.remote.api import Remote
from sftpfs.vfs.background import Background

T = TypeVar("T")
K = TypeVar("K")

GLANCE = 0.25
"""Seconds between looks at whether the server counts as away, while somebody waits for it who has another
answer."""


class Offline:
    """See the module. One object a mount.

    INVARIANT: while anybody waits who has another answer, ``_watch`` runs (if ``background`` does).
    """

    __slots__ = ("_background", "_enabled", "_remote", "_waiting", "_watched", "served")

    def __init__(self, remote: Remote, enabled: bool, background: Background) -> None:
        self._remote = remote
        self._enabled = enabled
        self._background = background
        self._waiting: dict[trio.CancelScope, Callable[[], tuple[Any] | None]] = {}
        self._watched = False
        self.served = 0
        """Questions answered from memory past the lease."""

    async def ask(self, question: Callable[[], Awaitable[T]], known: Callable[[], tuple[K] | None]) -> T | K:
        """The answer to ``question``; where the server is away, what is ``known``, if anything is.

        ``question`` is cancelled as the server begins to count as away. A server that is there is waited for:
        it is asked once, so that the deadline counts from then.
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
        """Let nobody wait who has another answer once the server is away."""
        try:
            while self._waiting:
                await trio.sleep(GLANCE)
                if self._waiting and self._remote.away:
                    for scope, known in self._waiting.items():
                        if known() is not None:
                            scope.cancel()
        finally:
            self._watched = False
