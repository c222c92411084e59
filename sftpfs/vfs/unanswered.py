"""Names the server did not answer for in time, kept for the moment in which the kernel asks again.

Of a name it knows the kernel believes no error of a lookup: it forgets the name and looks it up
once more, in the same system call, which would take the deadline twice.
"""

from __future__ import annotations

from sftpfs import clock
from sftpfs.errors import SessionLostError

SOON = 0.25
"""Seconds within which the same question again is the kernel's second one: it comes at once."""

SECOND_PATIENCE = 0.75
"""Seconds the second question is given: enough where the connection is just back."""


class Unanswered:
    """See the module. One object a mount."""

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
        """What the same question was told a moment ago, if it was; the next one begins anew."""
        until, failure = self._failures.pop((directory, name), (0.0, None))
        return failure if clock.now() <= until else None
