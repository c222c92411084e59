"""Predicts the server's next handle, so that requests that need it can go out with the request that makes it.

Owned by ``sftp.table.request_table``, which reports every request that makes or ends a handle, in the order
of sending. OpenSSH's sftp-server keeps handles in a table. It gives the place that was freed last, or if none
is free the one behind the last, and sends the place's number as four bytes (sftp-server.c: handle_new,
handle_unused, handle_to_string). It carries out a session's requests in order, so what has been sent
determines what it will give.

A prediction is never believed: the caller compares it with the handle that came. Predictions are made only
once this server was seen to reuse a freed place, and never again after it gave another handle than the
predicted one. A READ or FSTAT that was sent with a wrong handle fails or reports another file, and is thrown
away. Only READDIR changes something, namely the place where another listing goes on; see ``broken``.
"""

from __future__ import annotations

from collections import deque

HANDLE_BYTES = 4


class HandlePredictor:
    """The server's table of handles, as far as it can be known.

    INVARIANT: until ``broken``, ``_free`` (used from its end) and ``_count`` are the server's table once it
    has carried out everything that was sent before the first of ``_pending``.
    INVARIANT: ``_free_ahead`` and ``_count_ahead`` are the same after everything sent, if each of
    ``_pending`` succeeds. If a prediction is wrong, its request fails rather than that one of its places is
    in use: a request that fails leaves the server with more free places than predicted, among them all the
    predicted ones.
    """

    __slots__ = ("_count", "_count_ahead", "_free", "_free_ahead", "_pending", "_proven", "_used", "broken")

    def __init__(self) -> None:
        self.broken = False
        """The server gave another handle than it had to. What was sent with a prediction before may have hit
        anything, and a listing under way must be repeated."""
        self._proven = False
        """A freed place was given again."""
        self._free: list[int] = []
        self._count = 0
        self._free_ahead: list[int] = []
        self._count_ahead = 0
        self._used: set[int] = set()
        """Places whose handle came and was not closed."""
        self._pending: deque[int] = deque()
        """What was sent and is not yet counted in ``_free``: the ids of requests that make a handle, the
        first of them unanswered, and ``~place`` for each closed handle."""

    def predict(self) -> bytes | None:
        """The handle of the next OPEN or OPENDIR, if it is sent now and succeeds; None if it is not known."""
        if not self._proven or self.broken:
            return None
        place = self._free_ahead[-1] if self._free_ahead else self._count_ahead
        return place.to_bytes(HANDLE_BYTES, "big")

    def open_sent(self, identifier: int) -> None:
        """Request ``identifier``, which makes a handle, is being sent."""
        if not self.broken:
            self._pending.append(identifier)
            self._take_ahead()

    def close_sent(self, handle: bytes) -> None:
        """The CLOSE of ``handle`` is being sent: whatever its answer, the place is free then."""
        if self.broken:
            return
        place = int.from_bytes(handle, "big")
        if len(handle) != HANDLE_BYTES or place not in self._used:
            self.give_up()
            return
        self._used.discard(place)
        self._free_ahead.append(place)
        if self._pending:
            self._pending.append(~place)
        else:
            self._free.append(place)

    def answered(self, identifier: int, handle: bytes | None) -> None:
        """Request ``identifier`` made ``handle``, or failed and made none."""
        if self.broken:
            return
        pending = self._pending
        if not pending or pending.popleft() != identifier:
            self.give_up()
            return
        if handle is not None:
            again = bool(self._free)
            place = self._free.pop() if again else self._count
            self._count += not again
            if handle != place.to_bytes(HANDLE_BYTES, "big"):
                self.give_up()
                return
            self._proven = self._proven or again
            self._used.add(place)
        while pending and pending[0] < 0:
            self._free.append(~pending.popleft())
        if handle is None:
            self._look_ahead()

    def _take_ahead(self) -> None:
        if self._free_ahead:
            self._free_ahead.pop()
        else:
            self._count_ahead += 1

    def _look_ahead(self) -> None:
        """Computes anew what is predicted."""
        self._free_ahead = self._free.copy()
        self._count_ahead = self._count
        for each in self._pending:
            if each < 0:
                self._free_ahead.append(~each)
            else:
                self._take_ahead()

    def give_up(self) -> None:
        """This server numbers handles in another way."""
        self.broken = True
        self._free = []
        self._free_ahead = []
        self._used = set()
        self._pending = deque()
