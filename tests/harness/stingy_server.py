"""An sftp-server that takes only small reads and writes, though it says it takes large ones.

    python -m tests.harness.stingy_server MODE      in place of sftp-server, on stdin and stdout

A real sftp-server does the work. What asks for more than 32 KiB is answered as MODE says:
``failure`` or ``message`` with that status, ``short`` (reads alone) with the first 32 KiB,
``close`` by the end of the session.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading

from tests.harness import sftp_wire as wire
from tests.harness.sftp_frames import Framer, Packet

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
MOST = 32768
STATUS = {"failure": 4, "message": 5}


class Stingy:
    """Both directions; answers of its own and the server's must not mix."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.server = subprocess.Popen([SFTP_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.answering = threading.Lock()

    def requests(self) -> None:
        """Pass requests on until the client ends."""
        assert self.server.stdin is not None
        framer = Framer()
        while data := os.read(0, 1 << 18):
            for packet in framer.feed(data):
                raw = packet.raw if self.size(packet) <= MOST else self.refuse(packet)
                if raw:
                    self.server.stdin.write(raw)
            self.server.stdin.flush()
        self.end()

    @staticmethod
    def size(packet: Packet) -> int:
        """Bytes a READ or WRITE is about."""
        if packet.name not in ("READ", "WRITE"):
            return 0
        fields = wire.asked(packet.raw).fields
        fields.string()
        fields.uint64()
        return fields.uint32()

    def refuse(self, packet: Packet) -> bytes:
        """What goes to the server instead, if anything."""
        if self.mode == "close":
            self.end()
        if self.mode == "short":
            return packet.raw[:-4] + struct.pack(">I", MOST) if packet.name == "READ" else packet.raw
        with self.answering:
            self.answer(wire.status(packet.identifier, STATUS[self.mode], b"too large"))
        return b""

    def replies(self) -> None:
        """Pass the server's answers on, whole."""
        assert self.server.stdout is not None
        framer = Framer()
        while data := os.read(self.server.stdout.fileno(), 1 << 18):
            for packet in framer.feed(data):
                with self.answering:
                    self.answer(packet.raw)

    @staticmethod
    def answer(raw: bytes) -> None:
        """All of one packet."""
        while raw:
            raw = raw[os.write(1, raw) :]

    def end(self) -> None:
        """End the session as a server does that was killed."""
        self.server.kill()
        os._exit(1)


def main() -> None:
    """Stand between."""
    stingy = Stingy(sys.argv[1])
    threading.Thread(target=stingy.replies, daemon=True).start()
    stingy.requests()


if __name__ == "__main__":
    main()
