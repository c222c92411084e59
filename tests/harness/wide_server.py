"""An SFTP server of very many names, none of which exists: what a walk over millions of files costs.

    python -m tests.harness.wide_server DIRECTORIES FILES [A_REPLY [PADDING]]      listens, prints its port

Its root has DIRECTORIES directories of FILES files each, with PADDING bytes more in a name. Listings come
A_REPLY names at a time, 100 as OpenSSH's if not told. Takes as many connections as come; ends with its
standard input.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
from contextlib import suppress
from functools import lru_cache

from tests.harness import sftp_wire as wire

A_REPLY = 100
TIMES = 1_700_000_000


def attributes(path: bytes, files: int) -> bytes | None:
    """ATTRS of what stands at ``path``; None where nothing does."""
    parts = [part for part in path.split(b"/") if part]
    if len(parts) < 2:
        return wire.attrs(size=4096, ids=(1000, 1000), mode=0o040755, times=(TIMES, TIMES))
    number = parts[1].removeprefix(b"file-").removesuffix(b".txt").rstrip(b"x")
    if len(parts) == 2 and number.isdigit() and int(number) < files:
        return wire.attrs(
            size=int(number), ids=(1000, 1000), mode=0o100644, times=(TIMES, TIMES + int(number))
        )
    return None


@lru_cache(8)
def replies(directory: bool, names: int, files: int, a_reply: int = A_REPLY, padding: int = 0) -> list[bytes]:
    """The bodies of NAME for a whole directory, with ``names`` names."""
    pattern = b"dir-%07d" if directory else b"file-%07d" + b"x" * padding + b".txt"
    parent = b"/" if directory else b"/d/"
    entries = []
    for number in range(names):
        name = pattern % number
        told = attributes(parent + name, files)
        assert told is not None
        entries.append((name, b"", told))
    return [wire.names(*entries[start : start + a_reply]) for start in range(0, names, a_reply)]


class Session:
    """One connection."""

    def __init__(self, connection: socket.socket, directories: int, files: int, *listing: int) -> None:
        self.connection = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.directories = directories
        self.files = files
        self.listing = listing
        self.handles: dict[bytes, list[bytes]] = {}
        self.numbers = 0

    def run(self) -> None:
        """Answer until the client ends."""
        stream = self.connection.makefile("rwb", 1 << 18)
        with suppress(ConnectionError):
            while len(head := stream.read(5)) == 5:
                length, kind = struct.unpack(">IB", head)
                stream.write(self.answer(kind, stream.read(length - 1)))
                stream.flush()

    def answer(self, kind: int, body: bytes) -> bytes:
        """The reply to a request of ``kind``."""
        if kind == 1:
            return wire.version(3)
        (identifier,) = struct.unpack_from(">I", body)
        (length,) = struct.unpack_from(">I", body, 4)
        what = body[8 : 8 + length]
        if kind == 16:  # REALPATH
            path = b"/" if what in (b"", b".") else what
            return wire.packet(104, identifier, wire.names((path, path, wire.attrs())))
        if kind in (7, 17):  # LSTAT, STAT
            told = attributes(what, self.files)
            return wire.packet(105, identifier, told) if told is not None else wire.status(identifier, 2)
        if kind == 11:  # OPENDIR
            self.numbers += 1
            handle = b"%d" % self.numbers
            top = not what.strip(b"/.")
            names = self.directories if top else self.files
            self.handles[handle] = replies(top, names, self.files, *self.listing)[::-1]
            return wire.handle(identifier, handle)
        if kind == 12:  # READDIR
            left = self.handles.get(what)
            return (
                wire.packet(104, identifier, left.pop())
                if left
                else wire.status(identifier, 1 if left == [] else 4)
            )
        if kind == 4:  # CLOSE
            return wire.status(identifier, 0 if self.handles.pop(what, None) is not None else 4)
        return wire.status(identifier, 8)


def main() -> None:
    """See the module."""
    numbers = list(map(int, sys.argv[1:]))
    listening = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"port": listening.getsockname()[1]}), flush=True)

    def accept() -> None:
        while True:
            session = Session(listening.accept()[0], *numbers)
            threading.Thread(target=session.run, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
