"""The other side of SFTP v3, for scripted peers: replies encoded, requests taken apart.

Written from draft-ietf-secsh-filexfer-02 and apart from the product's codec, so that
one checks the other.
"""

from __future__ import annotations

import struct
from typing import NamedTuple


def packet(kind: int, identifier: int, body: bytes = b"") -> bytes:
    """A framed packet."""
    return struct.pack(">IBI", len(body) + 5, kind, identifier) + body


def string(value: bytes) -> bytes:
    """A string field."""
    return struct.pack(">I", len(value)) + value


def version(number: int = 3, *extensions: tuple[bytes, bytes]) -> bytes:
    """VERSION."""
    return packet(2, number, b"".join(string(name) + string(data) for name, data in extensions))


def status(identifier: int, code: int, message: bytes = b"") -> bytes:
    """STATUS."""
    return packet(101, identifier, struct.pack(">I", code) + string(message) + string(b"en"))


def handle(identifier: int, value: bytes) -> bytes:
    """HANDLE."""
    return packet(102, identifier, string(value))


def data(identifier: int, value: bytes) -> bytes:
    """DATA."""
    return packet(103, identifier, string(value))


def attrs(
    *,
    size: int | None = None,
    ids: tuple[int, int] | None = None,
    mode: int | None = None,
    times: tuple[int, int] | None = None,
    pairs: list[tuple[bytes, bytes]] | None = None,
) -> bytes:
    """ATTRS, as they stand in a packet."""
    flags = 0
    fields = b""
    if size is not None:
        flags, fields = flags | 1, fields + struct.pack(">Q", size)
    if ids is not None:
        flags, fields = flags | 2, fields + struct.pack(">II", *ids)
    if mode is not None:
        flags, fields = flags | 4, fields + struct.pack(">I", mode)
    if times is not None:
        flags, fields = flags | 8, fields + struct.pack(">II", *times)
    if pairs is not None:
        flags |= 0x80000000
        fields += struct.pack(">I", len(pairs))
        fields += b"".join(string(name) + string(value) for name, value in pairs)
    return struct.pack(">I", flags) + fields


def names(*entries: tuple[bytes, bytes, bytes], count: int | None = None) -> bytes:
    """The body of NAME: (name, longname, encoded attributes) each; ``count`` to lie."""
    head = struct.pack(">I", len(entries) if count is None else count)
    return head + b"".join(string(name) + string(line) + attributes for name, line, attributes in entries)


class Fields:
    """Takes a packet's fields off its front, one after the other."""

    def __init__(self, raw: bytes) -> None:
        self.rest = raw

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes; they must be there."""
        assert len(self.rest) >= size
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def uint32(self) -> int:
        """32 bits."""
        return int.from_bytes(self.take(4), "big")

    def uint64(self) -> int:
        """64 bits."""
        return int.from_bytes(self.take(8), "big")

    def string(self) -> bytes:
        """A string."""
        return self.take(self.uint32())

    def attrs(self) -> dict[str, object]:
        """ATTRS as what ``attrs`` above was given."""
        flags = self.uint32()
        found: dict[str, object] = {}
        if flags & 1:
            found["size"] = self.uint64()
        if flags & 2:
            found["ids"] = (self.uint32(), self.uint32())
        if flags & 4:
            found["mode"] = self.uint32()
        if flags & 8:
            found["times"] = (self.uint32(), self.uint32())
        return found


class Asked(NamedTuple):
    """A request: its head, and its fields still to be taken."""

    kind: int
    identifier: int
    fields: Fields


def asked(raw: bytes) -> Asked:
    """One whole framed request taken apart; its length must be right."""
    fields = Fields(raw)
    assert fields.uint32() == len(raw) - 4
    return Asked(fields.byte(), fields.uint32(), fields)
