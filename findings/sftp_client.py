"""The few SFTP v3 requests the findings need, one at a time, over a command's standard streams.

draft-ietf-secsh-filexfer-02. For valid input to real servers; no part of sftpfs.
"""

from __future__ import annotations

import struct
import subprocess


class Client:
    """A session with the server that ``argv`` runs or leads to."""

    def __init__(self, argv: list[str]) -> None:
        self.peer = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.number = 0
        self.send(b"\x01" + struct.pack(">I", 3))
        self.receive()

    def send(self, body: bytes) -> None:
        self.peer.stdin.write(struct.pack(">I", len(body)) + body)
        self.peer.stdin.flush()

    def receive(self) -> tuple[int, bytes]:
        (size,) = struct.unpack(">I", self.peer.stdout.read(4))
        body = self.peer.stdout.read(size)
        return body[0], body[5:]

    def ask(self, kind: int, *fields: str | bytes) -> tuple[int, bytes]:
        """The reply's type and what follows its id; str fields are SSH strings, bytes go as they are."""
        self.number += 1
        packed = [
            f if isinstance(f, bytes) else struct.pack(">I", len(f)) + f.encode("latin1") for f in fields
        ]
        self.send(bytes([kind]) + struct.pack(">I", self.number) + b"".join(packed))
        return self.receive()

    def open(self, name: str, flags: int) -> str | int:
        """The handle, or the status."""
        kind, body = self.ask(3, name, struct.pack(">II", flags, 0))
        return body[4:].decode("latin1") if kind == 102 else status(kind, body)


def status(kind: int, body: bytes) -> int | str:
    """The code of a STATUS, else which type of reply it is."""
    return struct.unpack(">I", body[:4])[0] if kind == 101 else f"type {kind}"
