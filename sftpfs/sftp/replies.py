"""SFTP v3 reply bodies into values; everything in them is hostile until checked.

Owns the decoders of STATUS, HANDLE, DATA, NAME and ATTRS payloads
(draft-ietf-secsh-filexfer-02 §5, §7). Pure functions of bytes: ProtocolError for
what cannot be a v3 reply (the session must end), OSError for a well-formed reply
that is of no use (only the request fails). Nothing returned refers to the
payload's memory. Used by this package only.
"""

from __future__ import annotations

import errno
import stat
import struct
from collections.abc import Callable
from struct import Struct

from sftpfs.errors import ProtocolError, Status, error
from sftpfs.sftp.packets import ATTR_ACMODTIME, ATTR_EXTENDED, ATTR_PERMISSIONS, ATTR_SIZE, ATTR_UIDGID
from sftpfs.types import LONGEST_NAME, UNKNOWN_ID, Attributes, DirectoryEntry

HANDLE_LIMIT = 256
"""Longest handle a server may give, in bytes (§6.2)."""

NAME_LIMIT = LONGEST_NAME
"""Longest entry name the kernel takes from a FUSE filesystem; a longer one would fail the whole listing."""

TARGET_LIMIT = 4095
"""Longest path or symlink target Linux can be told (PATH_MAX without its NUL)."""

_MESSAGE_LIMIT = 200
"""Bytes kept of a server's error text: enough for one line."""
_HALF = 98
"""Of a longer text these many bytes are kept from its beginning and its end, because what happened may stand
behind two long paths."""

_COMMON_FLAGS = ATTR_SIZE | ATTR_UIDGID | ATTR_PERMISSIONS | ATTR_ACMODTIME
_NO_ID = 0xFFFFFFFF
"""(uid_t)-1, which is nobody's."""
_MAX_SIZE = (1 << 63) - 1
_MAX_LINKS = 0xFFFFFFFF
"""The kernel keeps link counts in 32 bits."""
_TYPES = frozenset(
    {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK}
)
_MINIMUM_ENTRY = 12
"""Two empty strings and the flags of an ATTRS."""
_MINIMUM_PAIR = 8

_COMMON = Struct(">IQIIIII")
_COMMON_SIZE = _COMMON.size
_LISTED = Struct(">IQ12sII")
"""As ``_COMMON``, with owner, group and mode in one."""
_U32 = Struct(">I")
_U32_PAIR = Struct(">II")
_U64 = Struct(">Q")

_unpack_common = _COMMON.unpack_from
_unpack_listed = _LISTED.unpack_from
_unpack_u32 = _U32.unpack_from
_new_tuple = tuple.__new__

_Bytes = bytes | memoryview

_LineHead = tuple[bytes, int, int, int, int]
"""What stands before the size in lines that are alike, and the mode, uid, gid and link count that
it was found to agree with."""


def read_string(data: _Bytes, position: int) -> tuple[bytes, int]:
    """The string field at ``position`` and where the next field begins."""
    if position + 4 > len(data):
        raise ProtocolError("a truncated string")
    (length,) = _unpack_u32(data, position)
    end = position + 4 + length
    if end > len(data):
        raise ProtocolError("a string longer than its packet")
    return bytes(data[position + 4 : end]), end


def printable(text: bytes) -> str:
    """Text of the server's as one line that is safe on a terminal, shortened."""
    if len(text) > _MESSAGE_LIMIT:
        text = text[:_HALF] + b" .. " + text[-_HALF:]
    line = " ".join(text.decode(errors="replace").split())
    return line if line.isprintable() else "".join(c if c.isprintable() else "?" for c in line)


def decode_status(payload: memoryview) -> tuple[int, str]:
    """STATUS (§7): the code and the server's words, empty if it sends none; those of a success do not
    matter."""
    if len(payload) < 4:
        raise ProtocolError("a truncated STATUS")
    (code,) = _unpack_u32(payload, 0)
    if code == Status.OK or len(payload) < 8:
        return code, ""  # servers older than the draft send the code alone
    message, _ = read_string(payload, 4)
    return code, printable(message)


def decode_handle(payload: memoryview) -> bytes:
    """HANDLE (§7)."""
    handle, _ = read_string(payload, 0)
    if len(handle) > HANDLE_LIMIT:
        raise ProtocolError(f"a handle of {len(handle)} bytes")
    return handle


def decode_data(payload: memoryview, asked: int) -> bytes:
    """DATA (§7): at least one byte and at most as many as were asked for."""
    if len(payload) < 4:
        raise ProtocolError("a truncated DATA")
    (length,) = _unpack_u32(payload, 0)
    if length > asked:
        raise ProtocolError(f"DATA of {length} bytes where {asked} were asked for")
    if not length:
        raise error(errno.EIO, "the server answered a READ with no bytes, which is neither data nor the end")
    if length + 4 > len(payload):
        raise ProtocolError("DATA longer than its packet")
    return bytes(payload[4 : 4 + length])


def decode_attributes(payload: memoryview) -> Attributes:
    """ATTRS of one file (§5).

    Raises OSError(EIO) if the server reported no file type, no size of a regular file, or a size that no file
    can have: nothing is invented.
    """
    shared: dict[int, int] = {}
    attributes, _ = _attributes(payload, 0, shared.setdefault)
    if attributes is None:
        raise error(errno.EIO, "the server did not report the type or size of the file")
    return attributes


def _attributes(
    data: _Bytes, position: int, share: Callable[[int, int], int]
) -> tuple[Attributes | None, int]:
    """The ATTRS at ``position`` (None where it tells too little) and where it ends.

    ``share`` is ``setdefault`` of a dict: files of one listing have most of their numbers in common, and each
    is an object of 32 bytes."""
    end = position + _COMMON_SIZE
    if len(data) >= end:
        flags, size, uid, gid, mode, atime, mtime = _unpack_common(data, position)
        if flags == _COMMON_FLAGS and mode & 0o170000 in _TYPES and size <= _MAX_SIZE:
            if uid == _NO_ID:
                uid = UNKNOWN_ID
            if gid == _NO_ID:
                gid = UNKNOWN_ID
            # The constructor of a NamedTuple costs twice as much.
            mode &= 0o177777
            fields = (
                share(mode, mode),
                size,
                share(uid, uid),
                share(gid, gid),
                share(atime, atime),
                share(mtime, mtime),
                UNKNOWN_ID,
            )
            return _new_tuple(Attributes, fields), end
    try:
        return _uncommon_attributes(data, position)
    except struct.error:
        raise ProtocolError("truncated attributes") from None


def _uncommon_attributes(data: _Bytes, position: int) -> tuple[Attributes | None, int]:
    """As ``_attributes``, for any flags; struct.error where truncated."""
    (flags,) = _unpack_u32(data, position)
    position += 4
    size: int | None = None
    uid = gid = UNKNOWN_ID
    mode = atime = mtime = 0
    if flags & ATTR_SIZE:
        (size,) = _U64.unpack_from(data, position)
        position += 8
    if flags & ATTR_UIDGID:
        uid, gid = (UNKNOWN_ID if i == _NO_ID else i for i in _U32_PAIR.unpack_from(data, position))
        position += 8
    if flags & ATTR_PERMISSIONS:
        (mode,) = _unpack_u32(data, position)
        position += 4
    if flags & ATTR_ACMODTIME:
        atime, mtime = _U32_PAIR.unpack_from(data, position)
        position += 8
    if flags & ATTR_EXTENDED:
        position = _skip_pairs(data, position)
    kind = stat.S_IFMT(mode)
    if kind not in _TYPES or (size is None and kind == stat.S_IFREG) or (size or 0) > _MAX_SIZE:
        return None, position
    return Attributes(mode & 0o177777, size or 0, uid, gid, atime, mtime), position


def _skip_pairs(data: _Bytes, position: int) -> int:
    """Where the extended pairs of an ATTRS end; they mean nothing to us."""
    (count,) = _unpack_u32(data, position)
    position += 4
    if count > (len(data) - position) // _MINIMUM_PAIR:
        raise ProtocolError(f"{count} extended attributes in a packet too short for them")
    for _ in range(2 * count):
        _, position = read_string(data, position)
    return position


def _name_count(data: _Bytes) -> int:
    if len(data) < 4:
        raise ProtocolError("a truncated NAME")
    count: int = _unpack_u32(data, 0)[0]
    if count > (len(data) - 4) // _MINIMUM_ENTRY:
        raise ProtocolError(f"{count} names in a packet too short for them")
    return count


def decode_listing(payload: memoryview) -> tuple[list[DirectoryEntry] | None, int]:
    """NAME as the answer to READDIR (§7), and how many names were dropped because no file can have them.

    ``.`` and ``..`` are left out. None for no names at all: the end, as OpenSSH's
    client takes it, else such a server's listing would never end.
    """
    data = bytes(payload)
    count = _name_count(data)
    last_common = len(data) - _COMMON_SIZE
    entries: list[DirectoryEntry] = []
    numbers: dict[int, int] = {}
    share = numbers.setdefault
    line_heads: dict[bytes, _LineHead] = {}
    dropped = 0
    position = 4
    try:
        for _ in range(count):
            begin = position + 4
            position = begin + _unpack_u32(data, position)[0]
            name = data[begin:position]
            begin = position + 4
            position = begin + _unpack_u32(data, position)[0]
            longname = data[begin:position]
            attributes: Attributes | None = None
            if position <= last_common:
                flags, size, owner_and_mode, atime, mtime = _unpack_listed(data, position)
                known = line_heads.get(owner_and_mode)
                if known is not None and flags == _COMMON_FLAGS and size <= _MAX_SIZE:
                    head, mode, uid, gid, nlink = known
                    if longname.startswith(head + b"%8d " % size):
                        fields = (mode, size, uid, gid, share(atime, atime), share(mtime, mtime), nlink)
                        attributes = _new_tuple(Attributes, fields)
                        position += _COMMON_SIZE
            if attributes is None:
                attributes, position = _listed_attributes(data, position, longname, share, line_heads)
            if not name or b"/" in name or b"\0" in name or len(name) > NAME_LIMIT:
                dropped += 1
            elif name != b"." and name != b"..":
                entries.append(_new_tuple(DirectoryEntry, (name, attributes)))
    except struct.error:
        raise ProtocolError("a truncated NAME") from None
    return (entries if count else None), dropped


def _listed_attributes(
    data: bytes,
    position: int,
    longname: bytes,
    share: Callable[[int, int], int],
    line_heads: dict[bytes, _LineHead],
) -> tuple[Attributes | None, int]:
    """As ``_attributes``, with the link count of the line ``longname``. If the line is laid out as OpenSSH's,
    what stands before its size becomes the line head of this owner, group and mode: the next line with it
    need not be looked at further."""
    attributes, end = _attributes(data, position, share)
    if attributes is None:
        return None, end
    nlink = link_count(longname, attributes)
    if nlink == UNKNOWN_ID:
        return attributes, end
    mode, size, uid, gid, atime, mtime, _ = attributes
    attributes = Attributes(mode, size, uid, gid, atime, mtime, nlink)
    if _unpack_u32(data, position)[0] == _COMMON_FLAGS:
        before = longname[: len(longname) - len(longname.split(None, 5)[5])]
        head = before.removesuffix(b"%8d " % size)
        if head != before and head.endswith(b" "):
            line_heads[data[position + 12 : position + 24]] = (head, mode, uid, gid, nlink)
    return attributes, end


def link_count(longname: bytes, attributes: Attributes) -> int:
    """The link count in a listing line like ``ls -l``'s, otherwise UNKNOWN_ID.

    v3 leaves the line to the server. So the line is believed only if it has OpenSSH's form and agrees with
    the attributes in mode, size and numeric owner and group.
    """
    fields = longname.split(None, 5)
    if len(fields) < 6:
        return UNKNOWN_ID
    mode, links, user, group, size, _ = fields
    if not (links.isdigit() and size.isdigit() and len(links) < 11 and len(size) < 20):
        return UNKNOWN_ID
    if int(size) != attributes.size or mode != stat.filemode(attributes.mode).encode():
        return UNKNOWN_ID
    if user.isdigit() and user != b"%d" % attributes.uid:
        return UNKNOWN_ID
    if group.isdigit() and group != b"%d" % attributes.gid:
        return UNKNOWN_ID
    count = int(links)
    return count if 0 < count <= _MAX_LINKS else UNKNOWN_ID


def decode_owner_lines(payload: memoryview) -> list[tuple[bytes, bytes, Attributes]]:
    """NAME as the answer to READDIR (§7), for the user and group names in lines like ``ls -l``'s.

    Only lines that are believed as in ``link_count``, with their attributes.
    """
    data = bytes(payload)
    count = _name_count(data)
    owners: list[tuple[bytes, bytes, Attributes]] = []
    shared: dict[int, int] = {}
    share = shared.setdefault
    position = 4
    try:
        for _ in range(count):
            _, position = read_string(data, position)
            longname, position = read_string(data, position)
            attributes, position = _attributes(data, position, share)
            if attributes is not None and link_count(longname, attributes) != UNKNOWN_ID:
                user, group = longname.split(None, 4)[2:4]
                owners.append((user, group, attributes))
    except struct.error:
        raise ProtocolError("a truncated NAME") from None
    return owners


def decode_path(payload: memoryview) -> bytes:
    """NAME as the answer to READLINK or REALPATH (§6.10, §6.11): one name, the rest of it is dummy.

    Raises OSError(EIO) for an empty path or one with a NUL, ENAMETOOLONG for one
    longer than Linux takes.
    """
    if _name_count(payload) != 1:
        raise ProtocolError("not one name where a single path was asked for")
    path, _ = read_string(payload, 4)
    if not path or b"\0" in path:
        raise error(errno.EIO, "the server sent a path that cannot be")
    if len(path) > TARGET_LIMIT:
        raise error(errno.ENAMETOOLONG)
    return path
