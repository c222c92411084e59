"""Replies no server may send: each a function of the request and the true reply.

``CountingProxy.spoil`` has a real sftp-server's replies spoiled so, by name. Bytes are
what goes to the client in place of the reply; a function may also be told how often it
was called, for replies that go on and on.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.harness import sftp_wire as wire
from tests.harness.sftp_frames import Packet

Spoiler = Callable[[Packet, Packet, int], bytes]

HANDLE, DATA, NAME, ATTRS = 102, 103, 104, 105

FILE = wire.attrs(size=7, ids=(0, 0), mode=0o100644, times=(1, 1))
DIRECTORY = wire.attrs(size=7, ids=(0, 0), mode=0o040755, times=(1, 1))
LINK = wire.attrs(size=7, ids=(0, 0), mode=0o120777, times=(1, 1))

NAMES_A_REPLY = 2000
"""Of an endless listing: some 90 KB a reply."""


def _raw(make: Callable[[int], bytes]) -> Spoiler:
    """A reply made of the request's id alone."""
    return lambda _request, reply, _number: make(reply.identifier)


def _listed(*names: bytes, attributes: bytes = FILE) -> Spoiler:
    return _raw(lambda i: wire.packet(NAME, i, wire.names(*((name, b"", attributes) for name in names))))


def _target(target: bytes) -> Spoiler:
    return _raw(lambda i: wire.packet(NAME, i, wire.names((target, b"", wire.attrs()))))


def _endless(_request: Packet, reply: Packet, number: int) -> bytes:
    """Always more names, all of them new."""
    names = ((b"name %d of too many" % (number * NAMES_A_REPLY + i), b"", FILE) for i in range(NAMES_A_REPLY))
    return wire.packet(NAME, reply.identifier, wire.names(*names))


def _cut_data(keep: int) -> Spoiler:
    """DATA with ``keep`` bytes of what there is, without an end of the file."""

    def spoil(_request: Packet, reply: Packet, _number: int) -> bytes:
        return wire.data(reply.identifier, reply.raw[13 : 13 + keep]) if reply.kind == DATA else reply.raw

    return spoil


def _more_data(request: Packet, reply: Packet, _number: int) -> bytes:
    """DATA with one byte more than was asked for."""
    (asked,) = struct.unpack(">I", request.raw[-4:])
    return wire.data(reply.identifier, b"x" * (asked + 1))


SPOILED: dict[str, Spoiler] = {
    # packets
    "another id": lambda _request, reply, _number: wire.packet(
        reply.kind, reply.identifier + 1000, reply.raw[9:]
    ),
    "twice": lambda _request, reply, _number: reply.raw * 2,
    "not at all": lambda _request, reply, _number: b"",
    "unknown type": lambda _request, reply, _number: wire.packet(77, reply.identifier, reply.raw[9:]),
    "a request": _raw(lambda i: wire.packet(7, i, wire.string(b"/"))),
    "zero length": lambda _request, reply, _number: bytes(4) + reply.raw,
    "no room for an id": lambda _request, reply, _number: struct.pack(">IB", 1, 101) + reply.raw,
    "oversized": _raw(lambda i: struct.pack(">IBI", 1 << 20, 103, i) + bytes(1 << 20)),
    "longest length": lambda _request, reply, _number: b"\xff\xff\xff\xff" + reply.raw,
    "truncated": lambda _request, reply, _number: wire.packet(reply.kind, reply.identifier, reply.raw[9:-1]),
    "cut short": lambda _request, reply, _number: reply.raw[:-1],
    "noise": lambda _request, reply, _number: bytes(range(256)) * 64,
    # statuses
    "status OK": _raw(lambda i: wire.status(i, 0)),
    "status EOF": _raw(lambda i: wire.status(i, 1)),
    "unknown status": _raw(lambda i: wire.status(i, 4711, b"\x1b[2Jboo\n" * 100)),
    "failure": _raw(lambda i: wire.status(i, 4)),
    "permission denied": _raw(lambda i: wire.status(i, 3)),
    "connection lost": _raw(lambda i: wire.status(i, 7)),
    # attributes
    "size 2^63": _raw(lambda i: wire.packet(ATTRS, i, wire.attrs(size=1 << 63, ids=(0, 0), mode=0o100644))),
    "size 2^63-1": _raw(
        lambda i: wire.packet(ATTRS, i, wire.attrs(size=(1 << 63) - 1, ids=(0, 0), mode=0o100644))
    ),
    "no attributes": _raw(lambda i: wire.packet(ATTRS, i, wire.attrs())),
    "no such type": _raw(lambda i: wire.packet(ATTRS, i, wire.attrs(size=7, mode=0o170000))),
    "a directory": _raw(lambda i: wire.packet(ATTRS, i, DIRECTORY)),
    "a file": _raw(lambda i: wire.packet(ATTRS, i, FILE)),
    "a link": _raw(lambda i: wire.packet(ATTRS, i, LINK)),
    "2^32-1 pairs": _raw(lambda i: wire.packet(ATTRS, i, struct.pack(">II", 0x80000000, 0xFFFFFFFF))),
    # listings
    "2^32-1 names": _raw(lambda i: wire.packet(NAME, i, wire.names((b"f", b"", FILE), count=0xFFFFFFFF))),
    "names with a slash": _listed(b"../escaped", b"/escaped", b"a/escaped", b"f"),
    "names with NUL": _listed(b"escaped\0", b"\0", b"f"),
    "dots": _listed(b".", b"..", b"f", attributes=DIRECTORY),
    "an empty name": _listed(b"", b"f"),
    "a name of 5000 bytes": _listed(b"x" * 5000, b"f"),
    "a name of 1025 bytes": _listed(b"x" * 1025, b"f"),
    "a name twice": lambda _request, reply, _number: wire.packet(
        NAME, reply.identifier, wire.names((b"f", b"", FILE), (b"f", b"", DIRECTORY))
    ),
    "endless names": _endless,
    "endless repetition": _listed(b"f"),
    "endless nothing to show": _listed(b".", b".."),
    # links
    "an empty target": _target(b""),
    "a target with NUL": _target(b"f\0g"),
    "a target of 5000 bytes": _target(b"x/" * 2500),
    "a target out of the root": _target(b"../../../../../../etc/passwd"),
    "an absolute target": _target(b"/etc/passwd"),
    "a target that climbs": _target(b"d/../../../../etc/passwd"),
    "itself": _target(b"link"),
    "two targets": _raw(
        lambda i: wire.packet(NAME, i, wire.names((b"f", b"", b"\0\0\0\0"), (b"g", b"", FILE)))
    ),
    # handles and data
    "an empty handle": _raw(lambda i: wire.handle(i, b"")),
    "a handle of 257 bytes": _raw(lambda i: wire.handle(i, b"h" * 257)),
    "a handle longer than its packet": _raw(lambda i: wire.packet(HANDLE, i, b"\x7f\xff\xff\xffh")),
    "data longer than asked": _more_data,
    "data without bytes": _raw(lambda i: wire.data(i, b"")),
    "data longer than its packet": _raw(lambda i: wire.packet(DATA, i, struct.pack(">I", 4096) + b"short")),
    "data in small pieces": _cut_data(1000),
    # the greeting
    "version 2": lambda _request, _reply, _number: wire.version(2),
    "version 6": lambda _request, _reply, _number: wire.version(6),
    "text": lambda _request, reply, _number: b"Welcome to the server\n" + reply.raw,
    "truncated extensions": lambda _request, _reply, _number: wire.packet(2, 3, wire.string(b"name alone")),
}
"""By name. A fault says for which request's replies, and how often."""
