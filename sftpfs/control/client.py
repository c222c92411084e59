"""The commands' side of a control socket. Blocking, for processes that do nothing else.

What a mount sends is its owner's data: each answer is checked against ``control.answer_shapes``, and texts
are shown through ``host.logs.printable``.
"""

from __future__ import annotations

import math
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType

from sftpfs import clock
from sftpfs.control import answer_shapes, protocol
from sftpfs.control.protocol import ControlError, Values
from sftpfs.control.socket_location import Found, directories, find, is_sftpfs, socket_paths
from sftpfs.errors import Failure, MountError
from sftpfs.host.mountpoint import MountedAt, all_mounts

CONNECT_LIMIT = 5.0
"""Seconds for a mount to take a connection: it does so between two requests of the kernel's."""

SOCKET_LIMIT = 5.0
"""Seconds until a mount that the kernel shows has its socket, on a busy machine. One that could make none is
waited for as long."""

SOCKET_STEP = 0.02
"""Seconds between two looks for it."""

SILENCE_LIMIT = 60.0
"""Seconds between two lines of an answer: whatever takes longer reports progress every second."""


OTHERS_FIRST_WORD = 5.0
"""Seconds between two lines of another user's mount while its end is waited for, also on a busy machine."""

OTHERS_LIMIT = 30.0
"""Seconds another user's mount is waited for to end, whatever it says of its progress: it may say it for
ever, and a machine that shuts down waits for root's umount."""


class OverdueError(MountError):
    """Another user's mount was waited for up to the limit."""


class RequestFailedError(MountError):
    """The mount says that it could not do it. ``errno`` is 0 if the mount gave none."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(Failure.COMMAND, text)
        self.errno = number


class Client:
    """One connection to one mount, good for one request. Use with ``with``."""

    def __init__(
        self,
        connection: socket.socket,
        mount: MountedAt,
        silence: float = SILENCE_LIMIT,
        end: float = math.inf,
    ) -> None:
        self.mount = mount
        self.pid, _ = _peer(connection)
        """The mount's process."""
        self._connection = connection
        self._silence = silence
        self._end = end

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, and with it a request under way. Idempotent."""
        self._connection.close()

    def ask(self, name: str, **arguments: object) -> Values:
        """The result of ``name``, progress left out. Raises MountError."""
        *_, last = self.stream(name, **arguments)
        return last

    def stream(self, name: str, **arguments: object) -> Iterator[Values]:
        """Yields every progress of ``name``, and last its result. Raises MountError."""
        try:
            self._connection.sendall(protocol.request_line(name, arguments))
            yield from self._replies(name)
        except ControlError as error:
            raise MountError(Failure.COMMAND, f"the mount on {self.mount.path} sent {error}") from None
        except TimeoutError:
            raise MountError(
                Failure.COMMAND,
                f"the mount on {self.mount.path} has said nothing for {self._silence:g} s; see its log",
            ) from None
        except OSError as error:
            raise MountError(
                Failure.COMMAND, f"the mount on {self.mount.path} ended meanwhile ({error.strerror})"
            ) from None

    def send(self, data: bytes) -> None:
        """Sends what comes behind a request that ``stream`` has sent, while another thread takes its answer;
        one sender at a time. Waits as long as the mount does not take it: ``stream`` ends if it says nothing.
        Raises OSError when the connection is over, or ``no_more`` was called."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._connection.send(left) :]
            except TimeoutError:
                pass

    def no_more(self) -> None:
        """Nothing more is sent; the answer goes on. Idempotent, from any thread."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def _replies(self, name: str) -> Iterator[Values]:
        lines = protocol.Lines(protocol.MAX_REPLY)
        while data := self._receive():
            for line in lines.feed(data):
                kind, values = protocol.parse_reply(line)
                if kind == "failed":
                    raise RequestFailedError(values["text"], values["errno"])
                answer_shapes.check(name, values)
                yield values
                if kind == "done":
                    return
        raise ConnectionResetError(0, "without an answer")

    def _receive(self) -> bytes:
        left = self._end - clock.awake()
        if left <= 0:
            raise self._overdue()
        self._connection.settimeout(min(self._silence, left))
        try:
            return self._connection.recv(1 << 16)
        except TimeoutError:
            if left < self._silence:
                raise self._overdue() from None
            raise

    def _overdue(self) -> OverdueError:
        who = f"process {self.pid} of user {self.mount.user_id}"
        return OverdueError(Failure.COMMAND, f"{who} has not ended; not waiting for it any longer")


def connect_for_end(mount: MountedAt) -> Client:
    """A connection by which the end of ``mount`` is waited for: of our own mount for as long as it takes.

    For another user's mount there is a limit. Raises MountError if nobody answers for it.
    """
    if mount.user_id == os.geteuid():
        return connect(mount)
    return connect(mount, OTHERS_FIRST_WORD, clock.awake() + OTHERS_LIMIT)


def connect(mount: MountedAt, silence: float = SILENCE_LIMIT, end: float = math.inf) -> Client:
    """A connection to ``mount``, which may say nothing for at most ``silence`` seconds, and nothing after
    ``end`` (monotonic).

    A mount that is just being made is waited for. Raises MountError if nobody answers for it.
    """
    limit = clock.awake() + SOCKET_LIMIT
    while True:
        connection, refused = _connected(mount)
        if connection is not None:
            return Client(connection, mount, silence, end)
        if refused or clock.awake() > limit or not _may_get_a_socket(mount):
            raise MountError(Failure.MOUNTPOINT, _why_not(mount, refused))
        time.sleep(SOCKET_STEP)


def _connected(mount: MountedAt) -> tuple[socket.socket | None, bool]:
    """A connection to the socket of ``mount``, and whether there is one that takes none."""
    refused = False
    for path in socket_paths(mount):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_LIMIT)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            refused = refused or not isinstance(error, FileNotFoundError)
            continue
        if _peer(connection)[1] == mount.user_id:
            return connection, False
        connection.close()
    return None, refused


def _may_get_a_socket(mount: MountedAt) -> bool:
    """Whether ``mount`` is one of ours, still there, and its socket one that we may use."""
    ours = is_sftpfs(mount) and os.geteuid() in (0, mount.user_id)
    return ours and any(one.device == mount.device for one in all_mounts())


def connect_to(path: str, silence: float = SILENCE_LIMIT) -> tuple[Client, Found]:
    """A connection to the mount that ``path`` is in; as ``connect``."""
    found = find(path)
    return connect(found.mount, silence), found


def _peer(connection: socket.socket) -> tuple[int, int]:
    """The process and user that listen (SO_PEERCRED, unix(7))."""
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(pid), int(uid)


def _why_not(mount: MountedAt, refused: bool) -> str:
    if os.geteuid() not in (0, mount.user_id):
        return f"the mount on {mount.path} belongs to user {mount.user_id}: only its owner may look into it"
    if refused:
        return (
            f"the mount on {mount.path} does not answer; if its process is gone, unmount it with: "
            f"fusermount3 -u {mount.path}"
        )
    if is_sftpfs(mount):
        places = " or ".join(directories(mount.user_id))
        return (
            f"the mount on {mount.path} has no control socket: no directory for it ({places}) is one that "
            f"user {mount.user_id} alone may enter, or the mount is just being made; see its log"
        )
    return (
        f"no sftpfs is mounted at {mount.path}: that is {mount.source} of type {mount.type}, "
        "and it has no control socket"
    )
