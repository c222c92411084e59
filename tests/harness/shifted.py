"""A server's clock that is apart from this machine's: the times in its packets moved."""

from __future__ import annotations

import struct

from tests.harness.sftp_frames import Packet

ATTRS, NAME, EXTENDED = 105, 104, 200
SIZE, IDS, MODE, TIMES = 1, 2, 4, 8
BEFORE_TIMES = ((SIZE, 8), (IDS, 8), (MODE, 4))
"""Flags of attributes, and the bytes of each before the times (draft-ietf-secsh-filexfer-02 §5)."""

SETTING = {"SETSTAT", "FSETSTAT", "lsetstat@openssh.com"}


def reply(packet: Packet, seconds: int) -> Packet:
    """``packet`` of the server as one whose clock is ``seconds`` ahead would send it."""
    raw = bytearray(packet.raw)
    if packet.kind == ATTRS:
        _move(raw, 9, seconds)
    elif packet.kind == NAME:
        (count,) = struct.unpack_from(">I", raw, 9)
        position = 13
        for _ in range(count):
            position = _move(raw, _after_string(raw, _after_string(raw, position)), seconds)
    return packet._replace(raw=bytes(raw))


def request(packet: Packet, seconds: int) -> Packet:
    """``packet`` of the client as it has to reach the real server."""
    if packet.name not in SETTING:
        return packet
    raw = bytearray(packet.raw)
    position = _after_string(raw, 9)
    _move(raw, _after_string(raw, position) if packet.kind == EXTENDED else position, -seconds)
    return packet._replace(raw=bytes(raw))


def _after_string(raw: bytearray, position: int) -> int:
    (length,) = struct.unpack_from(">I", raw, position)
    return position + 4 + int(length)


def _move(raw: bytearray, position: int, seconds: int) -> int:
    """Move the times of the attributes at ``position``; where they end (none here has extended ones)."""
    (flags,) = struct.unpack_from(">I", raw, position)
    position += 4 + sum(length for flag, length in BEFORE_TIMES if flags & flag)
    if not flags & TIMES:
        return position
    times = struct.unpack_from(">II", raw, position)
    struct.pack_into(">II", raw, position, *(max(0, time + seconds) for time in times))
    return position + 8
