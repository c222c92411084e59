"""How much one READ or WRITE carries, and signs that the server does not take as much.

Pure policy, owned by ``remote.pool.pool``. ``remote.transfers.read_request`` and
``remote.transfers.write_request`` ask it with every piece, and report the outcome. A server that announces no
limits gets 32 KiB unless the user asks for more. One that announces limits may refuse even so, answer short,
or end the session.
"""

from __future__ import annotations

SAFE = 32768
"""Bytes every server takes (draft-ietf-secsh-filexfer-02 §6.4)."""

LOSSES = 2
"""Sessions lost with unproven requests under way that make the size suspect for good: one may be chance."""

SHORTS = 3
"""Replies cut to the same size after which that counts as a limit of the server's."""


class RequestSizes:
    """One direction, READ or WRITE.

    INVARIANT: SAFE ≤ ``limit`` unless the user or the server asked for less; ``limit`` never grows
    but by ``set_limit``, and never beyond what was refused.
    """

    __slots__ = ("_bound", "_lost_in", "_short", "_shorts", "limit", "proven", "shrunk")

    def __init__(self) -> None:
        self.limit = SAFE
        """Bytes of the next request."""
        self.proven = 0
        """Bytes the server has taken at once: it takes them again, whatever else fails."""
        self.shrunk = 0
        """Times the limit was lowered."""
        self._bound = 1 << 62
        self._lost_in: set[int] = set()
        self._short = 0
        self._shorts = 0

    def set_limit(self, limit: int) -> None:
        """A session's limit, as the server reported it or the user set it."""
        self.limit = min(limit, self._bound)

    def unproven(self, size: int) -> bool:
        """Whether a request of ``size`` bytes may have failed for its size."""
        return size > SAFE and size > self.proven

    def accepted(self, size: int) -> None:
        """A request of ``size`` bytes succeeded."""
        if size > self.proven:
            self.proven = size

    def rejected(self) -> None:
        """What was refused at a doubtful size was taken in smaller pieces."""
        self._lower(SAFE)

    def session_lost(self, generation: int) -> None:
        """Session ``generation`` ended with a request of doubtful size under way."""
        self._lost_in.add(generation)
        if len(self._lost_in) >= LOSSES:
            self._lower(SAFE)

    def short_reply(self, size: int) -> None:
        """A READ was answered with ``size`` bytes, and the file went on behind them."""
        if size != self._short:
            self._short, self._shorts = size, 0
        self._shorts += 1
        if self._shorts >= SHORTS and size >= SAFE // 4:
            self._lower(size)

    def _lower(self, size: int) -> None:
        if size < self.limit:
            self.limit = self._bound = size
            self.shrunk += 1
