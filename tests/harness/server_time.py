"""A server's clock that is known, for tests of what goes by it."""

from __future__ import annotations

import time

from sftpfs import clock
from sftpfs.server_clock import ServerClock


def known_clock(ahead: float = 0.0) -> ServerClock:
    """As after a name was made on a server whose clock is ``ahead`` seconds ahead of this machine's."""
    known, now = ServerClock(), clock.now()
    known.made(int(time.time() + ahead), now, now)
    return known
