"""Whether the times that a server reports prove anything: what was just made or written shows it.

Used wherever ``remote`` learns of such a time. Only servers of unknown make are judged. A server whose clock
is on another day, or that has no times, is taken for one whose files may change without a trace.
"""

from __future__ import annotations

import time

from sftpfs import clock
from sftpfs.server_clock import UNKNOWN, ServerClock
from sftpfs.server_traits import ServerTraits

TIMES = "mtime_shows_writes"


def of_now(traits: ServerTraits, server_clock: ServerClock, mtime: int) -> None:
    """Something that came to be just now has ``mtime``, seconds since 1970."""
    if traits.doubtful(TIMES) and abs(mtime - clock.wall()) > UNKNOWN:
        shown = time.strftime("%Y-%m-%d", time.gmtime(mtime))
        prove_nothing(traits, server_clock, f"what was just made there is dated {shown}")


def prove_nothing(traits: ServerTraits, server_clock: ServerClock, seen: str) -> None:
    """Files may change and keep their times: ``seen`` says so, for people."""
    traits.contradict(TIMES, seen)
    server_clock.proves_nothing = True
