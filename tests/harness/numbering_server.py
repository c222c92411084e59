"""An sftp-server that numbers its handles otherwise than OpenSSH's.

    python -m tests.harness.numbering_server MODE      in place of sftp-server, on stdin and stdout

A real sftp-server does the work, one request after the other; its handles get other names:
``lowest`` the lowest number that is free, as four bytes, which is OpenSSH's own as long as there is one at
a time; ``counter`` a new number each time; ``text`` that number in digits.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

from tests.harness import sftp_wire as wire
from tests.harness.sftp_frames import Framer, Packet

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
BY_HANDLE = {"CLOSE", "READ", "WRITE", "FSTAT", "FSETSTAT", "READDIR"}
NO_HANDLE = b"\xff\xff\xff\xff"


def packets(descriptor: int) -> Iterator[Packet]:
    """Every packet that comes."""
    framer = Framer()
    while data := os.read(descriptor, 1 << 18):
        yield from framer.feed(data)


def send(descriptor: int, raw: bytes) -> None:
    """All of it."""
    while raw:
        raw = raw[os.write(descriptor, raw) :]


class Numbering:
    """Our names of the server's handles."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.given = 0
        self.handles: dict[bytes, bytes] = {}

    def name(self, handle: bytes) -> bytes:
        """A name for a new handle."""
        if self.mode == "lowest":
            numbers = (number.to_bytes(4, "big") for number in range(1 << 16))
            name = next(number for number in numbers if number not in self.handles)
        else:
            name = str(self.given).encode() if self.mode == "text" else self.given.to_bytes(4, "big")
            self.given += 1
        self.handles[name] = handle
        return name

    def request(self, packet: Packet) -> bytes:
        """``packet`` with the server's handle in place of ours."""
        if packet.name not in BY_HANDLE:
            return packet.raw
        asked = wire.asked(packet.raw)
        name = asked.fields.string()
        handle = self.handles.get(name, NO_HANDLE)
        if packet.name == "CLOSE":
            self.handles.pop(name, None)
        return wire.packet(asked.kind, asked.identifier, wire.string(handle) + asked.fields.rest)

    def reply(self, packet: Packet) -> bytes:
        """``packet`` with our name in place of the server's handle."""
        if packet.name != "HANDLE":
            return packet.raw
        return wire.handle(packet.identifier, self.name(wire.asked(packet.raw).fields.string()))


def main() -> None:
    """Stand between."""
    numbering = Numbering(sys.argv[1])
    server = subprocess.Popen([SFTP_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None and server.stdout is not None
    replies = packets(server.stdout.fileno())
    for request in packets(0):
        send(server.stdin.fileno(), numbering.request(request))
        send(1, numbering.reply(next(replies)))
    server.stdin.close()
    server.wait(10)


if __name__ == "__main__":
    main()
