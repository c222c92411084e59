"""One live SFTP session of the pool, and the transport under it.

Owned by ``remote.pool.pool``; ``remote.files.pooled_file`` and ``remote.client`` send on its session
and account for the bytes they have outstanding.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

import trio

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.config import PoolConfig
from sftpfs.errors import Failure, MountError
from sftpfs.remote.requests import time_trust as times
from sftpfs.remote.requests.setattr_request import try_setting
from sftpfs.remote.requests.stat_request import refused, try_lstat
from sftpfs.remote.slots import on_filled
from sftpfs.server_clock import ServerClock
from sftpfs.server_traits import ServerTraits
from sftpfs.sftp.link_rate import Link
from sftpfs.sftp.session import Session
from sftpfs.sftp.traced_session import TracedSession
from sftpfs.sftp.traced_session import log as trace
from sftpfs.transport.api import Transport
from sftpfs.types import Attributes, OpenFlags

HANDLES_TRIED = 2
"""Handles asked for and closed as the first session of a mount begins; later ones learn from what is
asked of them, so that nothing but that can go wrong with them."""

PROCESS = b"/proc/self/task"
"""The kernel of a Linux server makes such a directory when somebody first looks at it. It belongs to the user
that the process runs as; files in it do not if the process keeps its memory to itself, as sftp-server does.
No request of SFTP reports the time or the login, and others would see a name that we made to learn it."""

REASON_PATIENCE = 1.0
"""Seconds that a program whose stream ended gets to end too, and so to report its status and last words."""


FAR_BYTES = 4 << 20
"""Written bytes outstanding on one connection: two of sshd's windows of 2 MiB keep it busy. What is beyond
waits for whichever connection has room first, and does not have to travel before a new stripe can be
compared."""

NEAR_BYTES = 1 << 20
"""The same nearby, where a window is empty before it is known to be: what is under way is copied
from process to process, and more would not be in the processor's cache any more when it is
(512 MiB written on loopback took 0.85 of the time, 0.87 of the processors')."""

NEAR = 0.001
"""Seconds of round trip below which ``NEAR_BYTES`` cannot hold up more than 1 GB/s."""


def silent_since(session: Session) -> float:
    """When the silence began in which ``session`` was lost. One that owed nothing may have been idle for any
    time: requests wait for ``bwlimit``, too."""
    since = session.silent_since
    return clock.awake() if since is None else since


class Role(Enum):
    """What a connection of the pool is for."""

    METADATA = "metadata"
    BULK = "bulk"


class HandleOwner(Protocol):
    """What is needed of an open file."""

    flags: OpenFlags
    used: bool
    """A request was made since this was last cleared."""

    def can_evict(self, connection: Connection) -> bool:
        """It has a handle on ``connection``, and can be found again by its path."""

    def evict(self, connection: Connection) -> None:
        """Close its handles on ``connection``."""


class Connection:
    """A session, its transport, and what is under way on it.

    ``further`` tells a channel that was opened beside the first one of its transport.

    INVARIANT: ``outstanding`` is the sum of the bytes of reads and writes sent and not answered,
    without reads sent a second time.
    """

    __slots__ = (
        "_heard_at",
        "_heard_bytes",
        "ended",
        "files",
        "further",
        "handles_let_go",
        "opened_at",
        "outstanding",
        "refuge",
        "role",
        "session",
        "stalled",
        "transport",
    )

    def __init__(self, session: Session, transport: Transport, role: Role) -> None:
        self.session = session
        self.transport = transport
        self.role = role
        self.further = False
        self.outstanding = 0
        self.stalled = False
        """It lives, and has been silent for longer than its requests take; set by ``remote.pool.hedging``."""
        self.refuge = 0
        """Operations that began again here after another connection failed them; they are not sent on."""
        self.files: OrderedDict[HandleOwner, None] = OrderedDict()
        """Open files with a handle here, in the order ``remote.handles.handle_limit`` looks at them."""
        self.handles_let_go = 0
        """Files whose handle was closed because handles ran out (``remote.handles.handle_limit``)."""
        self._heard_bytes = 0
        self._heard_at = 0.0
        self.opened_at = trio.current_time()
        self.ended = trio.Event()

    @property
    def live(self) -> bool:
        """True while requests may be sent."""
        return self.session.closed_error is None

    @property
    def full(self) -> bool:
        """True where further writes would only queue."""
        if self.session.link.up.full:
            return True
        near = self.session.statistics.minimum_latency < NEAR
        return self.outstanding >= (NEAR_BYTES if near else FAR_BYTES)

    def quiet(self, now: float, since: float) -> float:
        """Seconds until ``now`` for which it was not heard, counted from ``since`` at most.

        Any byte counts: a large reply takes its time on a slow link. To be asked often, as
        bytes are known to have come no better than since the last time.
        """
        received = self.session.statistics.bytes_received
        if received != self._heard_bytes:
            self._heard_bytes = received
            self._heard_at = now
        return now - max(self._heard_at, since)

    def statistics(self) -> dict[str, Any]:
        """Counters of the session, with the role, the age in seconds and the bytes outstanding."""
        counted = self.session.statistics
        return {
            "requests": dict(counted.requests),
            "waits": counted.waits,
            "bytes_sent": counted.bytes_sent,
            "bytes_received": counted.bytes_received,
            "minimum_latency": counted.minimum_latency,
            "generation": self.session.generation,
            "kind": self.role.value,
            "outstanding": self.outstanding,
            "unanswered": self.session.outstanding,
            "stalled": self.stalled,
            "handles_let_go": self.handles_let_go,
            "age": trio.current_time() - self.opened_at,
        }


class ServerHandle:
    """A handle of the server, and the connection it belongs to; it dies with it."""

    __slots__ = ("connection", "identifier")

    def __init__(self, connection: Connection, identifier: bytes) -> None:
        self.connection = connection
        self.identifier = identifier

    @property
    def session(self) -> Session:
        """The session the handle belongs to."""
        return self.connection.session


async def open_connection(
    transport: Transport,
    role: Role,
    generation: int,
    config: PoolConfig,
    link: Link | None = None,
    traits: ServerTraits | None = None,
) -> Connection:
    """Open a channel on ``transport`` and start SFTP on it.

    Raises MountError; the transport is left open then, the channel is not.
    """
    stream = await transport.open_channel()
    session = (TracedSession if trace.isEnabledFor(logging.DEBUG) else Session)(
        stream,
        timeout=min(config.timeout, transport.silence),
        generation=generation,
        max_read=config.max_read,
        max_write=config.max_write,
        link=link,
        traits=traits,
        software=transport.server,
    )
    patience = math.inf if transport.may_be_asking else None
    try:
        await session.start(patience)
    except MountError as failure:
        raise await _with_reason(failure, transport) from None
    except BaseException:
        session.close("the session could not be started")
        raise
    if generation == 1 and session.traits.known.numbers_handles_as_openssh:
        _try_handles(session, HANDLES_TRIED)
    if generation == 1 and session.traits.doubtful("answers_lstat"):
        try_lstat(session)  # of OpenSSH's ``look_at_process`` asks as much
    if generation == 1 and not session.traits.doubtful("sets_by_handle"):
        try_setting(session)
    return Connection(session, transport, role)


def begin_anew(session: Session) -> None:
    """Ends ``session`` if it began with a server that was assumed to keep the order, and does not."""
    if session.order is None and not session.traits.known.carries_out_in_order:
        session.close("the server does not carry out requests in order: the next session keeps them apart")


def _try_handles(session: Session, times: int) -> None:
    """Makes the server give a handle, and the same again: then the next one can be predicted
    (``sftp.handle_prediction``).

    Nobody waits for it. A server that will not list its root shows it in other requests anyway.
    """

    def given(slot: Slot[bytes]) -> None:
        if slot.error is None:
            session.start_close(slot.result())
            if times > 1:
                _try_handles(session, times - 1)

    on_filled(session.start_opendir(b"/"), given)


def look_at_process(
    session: Session, server_clock: ServerClock, is_process: Callable[[Attributes], None]
) -> None:
    """Asks for a directory that appeared with the session's process, at a time of the server's clock;
    ``is_process`` gets it.

    Nobody waits for it, and a server without one costs nothing: then the clock is learned when a name is
    made.
    """
    sent = clock.now()

    def looked(slot: Slot[Attributes]) -> None:
        if refused(slot):
            try_lstat(session)
        if slot.error is not None:
            return
        is_process(slot.result())
        mtime = slot.result().mtime
        times.of_now(session.traits, server_clock, mtime)
        if mtime:
            server_clock.started(mtime, sent, clock.now())

    on_filled(session.start_lstat(PROCESS), looked)


async def _with_reason(failure: MountError, transport: Transport) -> MountError:
    """``failure``, or what the transport says of it. Its program knows why the stream ended, unless the
    server itself said that."""
    if failure.failure in (Failure.TIMED_OUT, Failure.PROTOCOL):
        return failure
    with trio.move_on_after(REASON_PATIENCE):
        await transport.closed.wait()
    return MountError(transport.failure or failure.failure, transport.reason) if transport.reason else failure
