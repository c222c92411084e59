"""What a session sends and counts: kinds of request, requests under way, statistics.

Plain values; ``sftp.table.request_table`` keeps them, ``sftp.session`` has the kinds of SFTP v3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Generic, TypeVar

from sftpfs.aio import Slot
from sftpfs.histogram import Histogram
from sftpfs.sftp import packets
from sftpfs.sftp.link_rate import LinkDirection
from sftpfs.types import OpenFlags

T = TypeVar("T")


class Reach(Enum):
    """What a request needs and changes. This decides whether it may be asked in another session."""

    PATH = auto()
    """Looks at a path: every session answers it alike."""
    HANDLE = auto()
    """Looks through a handle, which is this session's."""
    OPENS = auto()
    """Makes a handle; OPEN may change something on the way (``Request.changes``)."""
    CHANGES = auto()
    """Changes something that requests behind it are to see."""
    APART = auto()
    """Neither looks at files nor changes what a look shows."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind(Generic[T]):
    """What one kind of request expects."""

    name: str
    type: int
    """Packet type of the request."""
    expected: int
    """Packet type of a successful reply; STATUS where success is SSH_FX_OK."""
    decode: Callable[[memoryview], T] | None = None
    """The reply's payload to the result; None where the reply carries none, and for DATA and listings."""
    ends: bool = False
    """Whether the status EOF is an answer (None) rather than an error."""
    extension: str = ""
    """The extension it belongs to, if any."""
    reach: Reach = Reach.CHANGES


class Request(Slot[T]):
    """One request and the slot of its result."""

    __slots__ = ("detail", "direction", "kind", "queued", "sent")

    kind: Kind[T]
    detail: Any
    """READ, WRITE: the length. OPEN: the flags. Looks at a path: the request's own fields."""
    direction: LinkDirection | None
    """READ, WRITE: the way its content takes."""
    queued: int
    """Bytes that way under way as it was sent, its own included."""
    sent: float
    """When it was handed over for sending, by ``clock.awake``."""

    @property
    def changes(self) -> bool:
        """True if the requests sent after it may rely on what it did."""
        reach = self.kind.reach
        if self.kind.type == packets.OPEN:
            return bool(self.detail & (OpenFlags.CREATE | OpenFlags.TRUNCATE))
        return reach is Reach.CHANGES


class AbandonedRequest(Request[T]):
    """Stands in the table for a request that was answered in another way. Nobody waits for its reply."""

    __slots__ = ()


class SessionStatistics:
    """What went over one session. Read by anybody, written by the session."""

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "hostile_names",
        "last_latency",
        "latencies",
        "minimum_latency",
        "replies",
        "requests",
        "waits",
    )

    def __init__(self) -> None:
        self.requests: dict[str, int] = {}
        """Requests sent, by the kind's name."""
        self.replies = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.waits = 0
        """Requests sent while none was outstanding: for a single-threaded user, dependent round trips."""
        self.latencies: dict[str, Histogram] = {}
        """How long requests took, by the kind's name."""
        self.last_latency = 0.0
        """Seconds from the latest answered request to its reply."""
        self.minimum_latency = float("inf")
        """The least of all latencies: an estimate of the round trip."""
        self.hostile_names = 0
        """Names dropped from listings because no file can have them."""

    def add(self, other: SessionStatistics) -> None:
        """Adds what ``other`` counted, because that session has ended."""
        for kind, count in other.requests.items():
            self.requests[kind] = self.requests.get(kind, 0) + count
        for kind, histogram in other.latencies.items():
            self.latencies.setdefault(kind, Histogram()).add(histogram)
        self.replies += other.replies
        self.bytes_received += other.bytes_received
        self.bytes_sent += other.bytes_sent
        self.hostile_names += other.hostile_names
