"""The commands' side of a control socket. Blocking, for processes that do nothing else.

What a mount sends is data of its owner's: texts are shown through ``logs.printable``.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType

from sftpfs.control import protocol
from sftpfs.control.location import Found, find, socket_paths
from sftpfs.control.protocol import ControlError, Values
from sftpfs.errors import Failure, MountError
from sftpfs.mountpoint import MountedAt

CONNECT_LIMIT = 5.0
"""Seconds for a mount to take a connection: it answers between two requests of the kernel's."""

SILENCE_LIMIT = 60.0
"""Seconds between two lines of an answer: whatever takes longer tells its progress every second."""


class RequestFailedError(MountError):
    """The mount says that it could not do it; ``errno`` is 0 where it gave none."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(Failure.COMMAND, text)
        self.errno = number


class Client:
    """One connection to one mount, good for one request. Use with ``with``."""

    def __init__(self, connection: socket.socket, mount: MountedAt, silence: float = SILENCE_LIMIT) -> None:
        self.mount = mount
        self.pid, _ = _peer(connection)
        """The mount's process."""
        self._connection = connection
        self._silence = silence

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
        """Every progress of ``name``, at last its result. Raises MountError."""
        try:
            self._connection.sendall(protocol.request_line(name, arguments))
            yield from self._replies()
        except ControlError as error:
            raise MountError(Failure.COMMAND, f"the mount on {self.mount.path} sent {error}") from None
        except TimeoutError:
            raise MountError(
                Failure.COMMAND,
                f"the mount on {self.mount.path} says nothing for {self._silence:g} s; see its log",
            ) from None
        except OSError as error:
            raise MountError(
                Failure.COMMAND, f"the mount on {self.mount.path} ended meanwhile ({error.strerror})"
            ) from None

    def _replies(self) -> Iterator[Values]:
        lines = protocol.Lines(protocol.MAX_REPLY)
        self._connection.settimeout(self._silence)
        while data := self._connection.recv(1 << 16):
            for line in lines.feed(data):
                kind, values = protocol.parse_reply(line)
                if kind == "failed":
                    raise RequestFailedError(values["text"], values["errno"])
                yield values
                if kind == "done":
                    return
        raise ConnectionResetError(0, "without an answer")


def connect(mount: MountedAt, silence: float = SILENCE_LIMIT) -> Client:
    """A connection to ``mount``, which may say nothing for ``silence`` seconds at most.

    Raises MountError where nobody answers for it.
    """
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
            return Client(connection, mount, silence)
        connection.close()
    raise MountError(Failure.MOUNTPOINT, _why_not(mount, refused))


def connect_to(path: str) -> tuple[Client, Found]:
    """A connection to the mount that ``path`` is in. Raises MountError."""
    found = find(path)
    return connect(found.mount), found


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user who listen (SO_PEERCRED, unix(7))."""
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(pid), int(uid)


def _why_not(mount: MountedAt, refused: bool) -> str:
    if os.geteuid() not in (0, mount.user_id):
        return f"the mount on {mount.path} belongs to user {mount.user_id}: only its owner may look into it"
    if refused:
        return f"the mount on {mount.path} does not answer; where it is gone: fusermount3 -u {mount.path}"
    return (
        f"no sftpfs is mounted at {mount.path}: that is {mount.source} of type {mount.type}, "
        "and no control socket is there for it"
    )
