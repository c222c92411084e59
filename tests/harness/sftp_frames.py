"""SFTP packet framing and kinds, enough to watch a conversation (draft-ietf-secsh-filexfer-02 §3, §4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

NAMES = {
    1: "INIT", 2: "VERSION", 3: "OPEN", 4: "CLOSE", 5: "READ", 6: "WRITE", 7: "LSTAT", 8: "FSTAT",
    9: "SETSTAT", 10: "FSETSTAT", 11: "OPENDIR", 12: "READDIR", 13: "REMOVE", 14: "MKDIR", 15: "RMDIR",
    16: "REALPATH", 17: "STAT", 18: "RENAME", 19: "READLINK", 20: "SYMLINK",
    101: "STATUS", 102: "HANDLE", 103: "DATA", 104: "NAME", 105: "ATTRS",
    200: "EXTENDED", 201: "EXTENDED_REPLY",
}  # fmt: skip

PACKET_LIMIT = 1 << 20
"""More than any peer here sends: a larger length means the framing was lost."""


class Packet(NamedTuple):
    """One packet, as it travels (``raw``), with what its head says."""

    raw: bytes
    kind: int
    identifier: int
    """-1 for INIT and VERSION, which have none."""

    @property
    def name(self) -> str:
        """The request's name; an extended request's own name."""
        if self.kind == 200:
            (length,) = struct.unpack_from(">I", self.raw, 9)
            return self.raw[13 : 13 + length].decode(errors="replace")
        return NAMES.get(self.kind, str(self.kind))


class Framer:
    """Cuts a byte stream into packets."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Every packet complete with ``data``."""
        self._buffer += data
        while len(self._buffer) >= 4:
            (length,) = struct.unpack_from(">I", self._buffer)
            if not 1 <= length <= PACKET_LIMIT:
                raise ValueError(f"not a packet length: {length}")
            if len(self._buffer) < 4 + length:
                return
            raw = bytes(self._buffer[: 4 + length])
            del self._buffer[: 4 + length]
            kind = raw[4]
            identifier = -1 if kind in (1, 2) or length < 5 else struct.unpack_from(">I", raw, 5)[0]
            yield Packet(raw, kind, identifier)
