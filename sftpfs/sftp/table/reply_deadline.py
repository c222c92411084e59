"""How long the server has owed its next answer, and so when a session is given up.

Pure; time is a parameter. Used by ``sftp.table.request_table`` only. Servers answer one session's requests in
order, so every reply restarts the clock: it runs from when the oldest request was sent or became the oldest.
A reply that is on its way here restarts it, too, even over a slow link.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sftpfs.sftp.table.request import Request

SIGN_OF_LIFE = 4096
"""Bytes of a reply that show it to be on its way: for less in a whole deadline nobody waits."""


class ReplyDeadline:
    """See the module.

    INVARIANT: ``_oldest`` is the request the clock last ran for, and since when.
    """

    __slots__ = ("_held", "_oldest", "timeout")

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        """Seconds without an answer after which the session is given up."""
        self._oldest: tuple[int, float] = (-1, 0.0)
        self._held = 0  # bytes there of a reply as the clock last began anew for it

    def owed_since(self, requests: Mapping[int, Request[Any]], last_reply: float) -> float | None:
        """Since when the first of ``requests``, in the order sent, is owed; None where there is none."""
        if not requests:
            return None
        identifier, request = next(iter(requests.items()))
        if identifier != self._oldest[0]:
            self._oldest = (identifier, max(request.sent, last_reply))
        return self._oldest[1]

    def seconds_left(self, requests: Mapping[int, Request[Any]], last_reply: float, now: float) -> float:
        """Seconds until the first of ``requests`` has waited too long."""
        since = self.owed_since(requests, last_reply)
        return self.timeout if since is None else since + self.timeout - now

    def reply_arriving(self, held: int, now: float) -> None:
        """``held`` bytes are here of a reply that is not complete."""
        if held - self._held >= SIGN_OF_LIFE:
            self._oldest = (self._oldest[0], now)
            self._held = held
        elif held < self._held:
            self._held = held
