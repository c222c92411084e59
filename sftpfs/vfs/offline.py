"""Answering from memory while the server is away, past the lease (NFS calls it softreval).

Owns when that is done. What may be shown is said by whoever asks: only what the server
itself told once, and nothing that it or we have contradicted since.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from sftpfs.errors import SessionLostError
from sftpfs.remote.api import AWAY_AFTER, Remote

T = TypeVar("T")
K = TypeVar("K")

PATIENCE = AWAY_AFTER + 0.25
"""Seconds the server is waited for where there is another answer: until it must count as away."""


class Offline:
    """See the module. One object a mount."""

    __slots__ = ("_enabled", "_remote", "served")

    def __init__(self, remote: Remote, enabled: bool) -> None:
        self._remote = remote
        self._enabled = enabled
        self.served = 0
        """Questions answered from memory past the lease."""

    async def ask(self, question: Callable[[], Awaitable[T]], known: Callable[[], tuple[K] | None]) -> T | K:
        """The answer to ``question``; where the server is away, what is ``known``, if anything is.

        ``question`` may be cancelled and asked again. A server that is there is waited for.
        """
        if not self._enabled or known() is None:
            return await question()
        failure: SessionLostError | None = None
        if not self._remote.away:
            with trio.move_on_after(PATIENCE):
                try:
                    return await question()
                except SessionLostError as lost:
                    failure = lost
        answer = known()
        if answer is not None and self._remote.away:
            self.served += 1
            return answer[0]
        if failure is not None:
            raise failure
        return await question()
