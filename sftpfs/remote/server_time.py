"""The server's clock, at the earliest: what an mtime of a file that we change can be.

Learned from the times the server gave to files as we wrote them. One object a mount
(``remote.open_files``). While this machine sleeps it stands still, and is the earlier for it.
"""

from __future__ import annotations

from collections import deque

from sftpfs import clock

COARSE = 0.1
"""Seconds by which a file's mtime may be before the write: kernels take the time of the last tick."""

APART = 2.0
"""Seconds by which the clocks are taken to differ until one was learned."""

REMEMBERED = 8
"""Times remembered. The lowest counts: somebody may have set the time of a file just as we had written it,
and file systems behind one server may have clocks of their own."""


class ServerTime:
    """See the module."""

    __slots__ = ("_offsets",)

    def __init__(self) -> None:
        self._offsets: deque[float] = deque(maxlen=REMEMBERED)

    @property
    def learned(self) -> bool:
        """The server told a time of its own."""
        return bool(self._offsets)

    def learn(self, mtime: int) -> None:
        """A file was just told to have ``mtime`` (whole seconds) from a write of ours."""
        self._offsets.append(mtime - clock.awake())

    def at_least(self) -> float:
        """The server's clock now, seconds since 1970, or earlier."""
        if not self._offsets:
            return clock.wall() - APART
        return clock.awake() + min(self._offsets) - COARSE
