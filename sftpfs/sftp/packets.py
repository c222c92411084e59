"""SFTP v3 framing and requests: what goes over the wire, without any I/O.

Owns packet types, the encoders of every request, and ``Decoder``, which cuts a
byte stream into packets. Reply bodies are decoded in ``replies``. Follows
draft-ietf-secsh-filexfer-02; strings are bytes, integers big-endian.
Used by this package only.
"""

from __future__ import annotations

from struct import Struct

from sftpfs.errors import ProtocolError
from sftpfs.types import AttributeChange, OpenFlags

# Packet types (§3).
INIT = 1
VERSION = 2
OPEN = 3
CLOSE = 4
READ = 5
WRITE = 6
LSTAT = 7
FSTAT = 8
SETSTAT = 9
FSETSTAT = 10
OPENDIR = 11
READDIR = 12
REMOVE = 13
MKDIR = 14
RMDIR = 15
REALPATH = 16
STAT = 17
RENAME = 18
READLINK = 19
SYMLINK = 20
STATUS = 101
HANDLE = 102
DATA = 103
NAME = 104
ATTRS = 105
EXTENDED = 200
EXTENDED_REPLY = 201

PROTOCOL_VERSION = 3
NEARLY_THE_SAME = 2
"""A version whose requests and replies are those of 3, without READLINK and SYMLINK
(draft-ietf-secsh-filexfer-02 §10)."""

# Which fields an ATTRS carries (§5).
ATTR_SIZE = 0x1
ATTR_UIDGID = 0x2
ATTR_PERMISSIONS = 0x4
ATTR_ACMODTIME = 0x8
ATTR_EXTENDED = 0x80000000

PACKET_LIMIT = 257 * 1024
"""Longest packet taken, in bytes: OpenSSH's 256 KiB and 1 KiB for servers that count the header apart."""

LISTING_LIMIT = 128 << 20
"""Longest NAME taken, in bytes. Some servers (Erlang's, AWS's) send a directory in one packet, whatever its
size; this is one of a million names of usual length."""

BUFFER_SIZE = 768 * 1024
"""Receive buffer: an incomplete packet of the greatest length still leaves 510 KiB for one read."""

_COMPACT_BELOW = 256 * 1024
"""Room at the buffer's end below which the incomplete packet is moved to the front."""

_MAX_TIME = 0xFFFFFFFF
_LENGTH = Struct(">I")
_HEADER = Struct(">IBI")
_STRING_REQUEST = Struct(">IBII")
_READ_TAIL = Struct(">QI")
_WRITE_TAIL = Struct(">QI")
_U32 = Struct(">I")
_U32_PAIR = Struct(">II")
_U64 = Struct(">Q")

_pack_string_request = _STRING_REQUEST.pack


def encode_init() -> bytes:
    """INIT, the client's greeting (§4)."""
    return _HEADER.pack(5, INIT, PROTOCOL_VERSION)


def encode_string_request(kind: int, identifier: int, string: bytes) -> bytes:
    """A request whose only argument is a path or a handle (CLOSE, LSTAT, OPENDIR, REMOVE, ...)."""
    size = len(string)
    return _pack_string_request(9 + size, kind, identifier, size) + string


def encode_strings_request(kind: int, identifier: int, first: bytes, second: bytes) -> bytes:
    """A request of two paths (RENAME, SYMLINK)."""
    return encode_body(kind, identifier, encode_string(first) + encode_string(second))


def encode_body(kind: int, identifier: int, body: bytes) -> bytes:
    """A packet around an encoded ``body``."""
    return _HEADER.pack(5 + len(body), kind, identifier) + body


def encode_string(string: bytes) -> bytes:
    """A string field: length and bytes."""
    return _U32.pack(len(string)) + string


def encode_open(identifier: int, path: bytes, flags: OpenFlags, mode: int | None) -> bytes:
    """OPEN (§6.3). ``mode``: permission bits for a file it creates, None for the server's choice."""
    attributes = _U32.pack(0) if mode is None else _U32_PAIR.pack(ATTR_PERMISSIONS, mode)
    return encode_body(OPEN, identifier, encode_string(path) + _U32.pack(flags) + attributes)


def encode_read(identifier: int, handle: bytes, offset: int, length: int) -> bytes:
    """READ (§6.4)."""
    size = len(handle)
    head = _pack_string_request(21 + size, READ, identifier, size)
    return head + handle + _READ_TAIL.pack(offset, length)


def encode_write_header(identifier: int, handle: bytes, offset: int, length: int) -> bytes:
    """WRITE (§6.4) up to its data; ``length`` bytes of data must follow, so that they are not copied."""
    size = len(handle)
    head = _pack_string_request(21 + size + length, WRITE, identifier, size)
    return head + handle + _WRITE_TAIL.pack(offset, length)


def encode_mkdir(identifier: int, path: bytes, mode: int) -> bytes:
    """MKDIR (§6.6)."""
    return encode_body(MKDIR, identifier, encode_string(path) + _U32_PAIR.pack(ATTR_PERMISSIONS, mode))


def encode_setstat(kind: int, identifier: int, target: bytes, change: AttributeChange) -> bytes:
    """SETSTAT of a path or FSETSTAT of a handle (§6.9)."""
    return encode_body(kind, identifier, encode_string(target) + encode_change(change))


def encode_change(change: AttributeChange) -> bytes:
    """ATTRS for what is to change (§5).

    uid goes with gid and atime with mtime, so both or neither must be given. Times
    outside the 32 bits v3 has are set to the nearest it can hold, as Linux
    filesystems with short timestamps do.
    """
    flags = 0
    fields = b""
    if change.size is not None:
        flags |= ATTR_SIZE
        fields += _U64.pack(change.size)
    if change.uid is not None or change.gid is not None:
        assert change.uid is not None and change.gid is not None
        flags |= ATTR_UIDGID
        fields += _U32_PAIR.pack(change.uid, change.gid)
    if change.mode is not None:
        flags |= ATTR_PERMISSIONS
        fields += _U32.pack(change.mode)
    if change.atime is not None or change.mtime is not None:
        assert change.atime is not None and change.mtime is not None
        flags |= ATTR_ACMODTIME
        fields += _U32_PAIR.pack(_clamp_time(change.atime), _clamp_time(change.mtime))
    return _U32.pack(flags) + fields


def _clamp_time(seconds: int) -> int:
    return min(max(seconds, 0), _MAX_TIME)


def encode_extended(identifier: int, name: bytes, arguments: bytes) -> bytes:
    """EXTENDED (§8): ``arguments`` are the extension's own fields, encoded."""
    return encode_body(EXTENDED, identifier, encode_string(name) + arguments)


class Decoder:
    """Cuts received bytes into packets, in a buffer of its own that is used again and again.

    Read into ``space()``, tell ``received(count)``, then call ``next_packet`` until
    it returns None.

    INVARIANT: ``0 <= _start <= _end <= len(_buffer)``; unread bytes lie between. Once
    ``next_packet`` returned None they are less than one packet of at most PACKET_LIMIT, or of a NAME.
    INVARIANT: the buffer is longer than BUFFER_SIZE only while such a NAME is in it, and at most twice as
    long as what came of it.
    """

    __slots__ = ("_buffer", "_end", "_start", "_view")

    def __init__(self) -> None:
        self._buffer = bytearray(BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0

    def space(self) -> memoryview:
        """Where the next bytes are to be put; never empty once all packets were taken.

        Payloads handed out before become invalid.
        """
        start, end = self._start, self._end
        if start == end:
            self._start = self._end = end = 0
            if len(self._buffer) > BUFFER_SIZE:
                self._replace(BUFFER_SIZE)
        elif len(self._buffer) - end < _COMPACT_BELOW:
            end -= start
            if len(self._buffer) - end < _COMPACT_BELOW:
                self._replace(2 * len(self._buffer))
            else:
                self._view[:end] = self._view[start : self._end]
            self._start, self._end = 0, end
        return self._view[end:]

    def _replace(self, size: int) -> None:
        """Have a buffer of ``size`` bytes, with what is unread at its front."""
        unread = self._view[self._start : self._end]
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._view[: len(unread)] = unread

    def received(self, count: int) -> None:
        """``count`` bytes were put into ``space()``."""
        self._end += count

    @property
    def held(self) -> int:
        """Bytes of the packet that is not complete yet, once all others were taken."""
        return self._end - self._start

    def unread(self) -> bytes:
        """A copy of the bytes that no packet was cut from yet."""
        return bytes(self._view[self._start : self._end])

    def release(self) -> None:
        """Gives the buffer back; nothing is received any more. The garbage collector may be long in coming to
        a session that ended."""
        self._buffer = bytearray()
        self._view = memoryview(self._buffer)
        self._start = self._end = 0

    def next_packet(self) -> tuple[int, int, memoryview] | None:
        """The next packet as (type, id, payload), or None if it is not complete yet.

        The payload is a view into the buffer, valid until ``space`` is called. For VERSION the id is the
        version. Raises ProtocolError for a length that no packet may have, as soon as the length is there.
        """
        start = self._start
        available = self._end - start
        if available < 4:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, start)
        if length < 5:
            raise ProtocolError(f"a packet of {length} bytes, too short for a type and an id")
        if length > PACKET_LIMIT and not (
            length <= LISTING_LIMIT and (available < 5 or self._buffer[start + 4] == NAME)
        ):
            raise ProtocolError(f"a packet of {length} bytes, more than the {PACKET_LIMIT} allowed")
        if available < length + 4:
            return None
        _, kind, identifier = _HEADER.unpack_from(self._buffer, start)
        end = start + 4 + length
        self._start = end
        return kind, identifier, self._view[start + 9 : end]
