"""An sftp-server that differs from OpenSSH's in one respect, or a few.

    python -m tests.harness.altered_server RESPECTS [EXTENSIONS [ARGUMENT...]]   in place of sftp-server

A real sftp-server, started with the arguments, does the work, one request after the other. RESPECTS are names
of ``RESPECTS`` below, with commas; EXTENSIONS those still announced, with commas, ``all`` for every one. With
none, the default, nothing tells the server from any other.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator

from tests.harness import sftp_wire as wire
from tests.harness.sftp_frames import Framer, Packet

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
SETSTAT, FSETSTAT, STAT, LSTAT, RENAME, EXTENDED = 9, 10, 17, 7, 18, 200
NO_SUCH_FILE, FAILURE, OP_UNSUPPORTED = 2, 4, 8
ATTRS = 105


class Server:
    """The real one."""

    def __init__(self, arguments: list[str]) -> None:
        self._process = subprocess.Popen(
            [SFTP_SERVER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to = self._process.stdin
        self._replies = _packets(self._process.stdout.fileno())

    def ask(self, raw: bytes) -> Packet:
        """What it answers to a request."""
        _send(self._to.fileno(), raw)
        return next(self._replies)

    def kind_of(self, identifier: int, path: bytes) -> int | None:
        """The kind of what has a name, None where nothing has."""
        reply = self.ask(wire.packet(LSTAT, identifier, wire.string(path)))
        if reply.kind != ATTRS:
            return None
        mode = wire.asked(reply.raw).fields.attrs()["mode"]
        assert isinstance(mode, int)
        return stat.S_IFMT(mode)

    def close(self) -> None:
        """Let it end."""
        self._to.close()
        self._process.wait(10)


Respect = Callable[[Server, Packet], bytes]
"""The request that is carried out in place of the packet, or the reply to it."""


def _posix_rename(server: Server, packet: Packet) -> bytes:
    if packet.name != "RENAME":
        return packet.raw
    asked = wire.asked(packet.raw)
    body = wire.string(b"posix-rename@openssh.com") + asked.fields.rest
    return wire.packet(EXTENDED, asked.identifier, body)


def _no_rename_over_directories(server: Server, packet: Packet) -> bytes:
    """As Go's os.Rename has it."""
    if packet.name not in ("RENAME", "posix-rename@openssh.com"):
        return packet.raw
    asked = wire.asked(packet.raw)
    if packet.kind == EXTENDED:
        asked.fields.string()
    asked.fields.string()
    if server.kind_of(asked.identifier, asked.fields.string()) == stat.S_IFDIR:
        return wire.status(asked.identifier, FAILURE, b"rename /a /b: file exists")
    return packet.raw


RESPECTS: dict[str, Respect] = {
    "rename-replaces": _posix_rename,
    "no-rename-over-directories": _no_rename_over_directories,
}


def _greeting(packet: Packet, kept: list[str]) -> bytes:
    if kept == ["all"]:
        return packet.raw
    fields = wire.Fields(packet.raw[9:])
    announced = []
    while fields.rest:
        name, data = fields.string(), fields.string()
        if name.decode() in kept:
            announced.append((name, data))
    return wire.version(3, *announced)


def _packets(descriptor: int) -> Iterator[Packet]:
    framer = Framer()
    while data := os.read(descriptor, 1 << 18):
        yield from framer.feed(data)


def _send(descriptor: int, raw: bytes) -> None:
    while raw:
        raw = raw[os.write(descriptor, raw) :]


def _answer(server: Server, respects: list[Respect], packet: Packet) -> bytes:
    for respect in respects:
        (packet,) = Framer().feed(respect(server, packet))
        if packet.kind > 100 and packet.kind != EXTENDED:
            return packet.raw
    return server.ask(packet.raw).raw


def main() -> None:
    """Stand between."""
    respects = [RESPECTS[name] for name in sys.argv[1].split(",") if name]
    kept = sys.argv[2].split(",") if len(sys.argv) > 2 else []
    server = Server(sys.argv[3:])
    requests = _packets(0)
    _send(1, _greeting(server.ask(next(requests).raw), kept))
    for request in requests:
        _send(1, _answer(server, respects, request))
    server.close()


if __name__ == "__main__":
    main()
