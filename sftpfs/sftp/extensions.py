"""OpenSSH's extensions to SFTP v3: names, versions, and their own payloads.

Owns what OpenSSH's PROTOCOL file (§4, "SFTP protocol changes") adds and we speak. Pure
functions of bytes; errors as in ``replies``. ``remote`` knows the names and asks ``capabilities`` for them;
the payloads are for this package only.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from struct import Struct

from sftpfs.errors import ProtocolError, error
from sftpfs.sftp.packets import encode_string
from sftpfs.sftp.replies import read_string
from sftpfs.types import FilesystemStatistics, Limits

POSIX_RENAME = "posix-rename@openssh.com"
STATVFS = "statvfs@openssh.com"
FSTATVFS = "fstatvfs@openssh.com"
HARDLINK = "hardlink@openssh.com"
FSYNC = "fsync@openssh.com"
LSETSTAT = "lsetstat@openssh.com"
LIMITS = "limits@openssh.com"
EXPAND_PATH = "expand-path@openssh.com"
COPY_DATA = "copy-data"
HOME_DIRECTORY = "home-directory"
USERS_GROUPS_BY_ID = "users-groups-by-id@openssh.com"

VERSIONS: dict[str, bytes] = {
    POSIX_RENAME: b"1",
    STATVFS: b"2",
    FSTATVFS: b"2",
    HARDLINK: b"1",
    FSYNC: b"1",
    LSETSTAT: b"1",
    LIMITS: b"1",
    EXPAND_PATH: b"1",
    COPY_DATA: b"1",
    HOME_DIRECTORY: b"1",
    USERS_GROUPS_BY_ID: b"1",
}
"""The version of each extension that we speak; another version does not count."""

LARGEST_REQUEST = 261120
"""Most data in one READ or WRITE, in bytes: OpenSSH's packet of 256 KiB less 1 KiB for the rest of it."""

SMALLEST_REQUEST = 1024
"""Least data in one READ or WRITE: a server that claims less would cost a round trip for every few bytes."""

UNANNOUNCED_LARGEST_REQUEST = 65536
"""What ``max_read`` and ``max_write`` may ask of a server that announces no limits (sshfs's own maximum)."""

_REQUEST_OVERHEAD = 1024
_STATVFS_READ_ONLY = 0x1
_LARGEST_BLOCK = 1 << 31
"""The kernel keeps block sizes in 32 bits."""

_LIMITS = Struct(">QQQQ")
_STATVFS = Struct(">11Q")
_COPY_RANGE = Struct(">QQ")
_U64 = Struct(">Q")


def announced_extensions(payload: memoryview) -> dict[str, bytes]:
    """The extensions of a VERSION packet (§4 of the draft), with their versions."""
    announced = {}
    position = 0
    while position < len(payload):
        name, position = read_string(payload, position)
        version, position = read_string(payload, position)
        announced[name.decode("ascii", "replace")] = version
    return announced


def spoken_extensions(announced: Mapping[str, bytes]) -> frozenset[str]:
    """Those of ``announced`` that we speak, in the version we speak."""
    return frozenset(name for name, version in announced.items() if VERSIONS.get(name) == version)


def decode_limits(payload: memoryview) -> Limits:
    """limits@openssh.com as the server reports it; 0 stands for no limit."""
    if len(payload) < _LIMITS.size:
        raise ProtocolError("a truncated reply to limits@openssh.com")
    packet, read, write, handles = _LIMITS.unpack_from(payload)
    return Limits(read, write, packet, handles)


def effective_limits(server: Limits | None, max_read: int | None, max_write: int | None) -> Limits:
    """The limits in force: those that the server reported (None: none), made plausible, lowered to what the
    user asks.

    Without the extension the user's figures may also raise the 32 KiB that every server takes.
    """
    if server is None:
        default = Limits()
        read = _clamp(max_read or default.read_size, UNANNOUNCED_LARGEST_REQUEST)
        write = _clamp(max_write or default.write_size, UNANNOUNCED_LARGEST_REQUEST)
        return Limits(read, write, max(default.packet_size, write + _REQUEST_OVERHEAD))
    packet = server.packet_size or LARGEST_REQUEST + _REQUEST_OVERHEAD
    room = min(LARGEST_REQUEST, packet - _REQUEST_OVERHEAD)
    read = min(server.read_size or LARGEST_REQUEST, max_read or LARGEST_REQUEST)
    write = min(server.write_size or LARGEST_REQUEST, max_write or LARGEST_REQUEST, room)
    return Limits(_clamp(read, LARGEST_REQUEST), _clamp(write, LARGEST_REQUEST), packet, server.open_handles)


def _clamp(size: int, largest: int) -> int:
    return min(max(size, SMALLEST_REQUEST), largest)


def decode_statvfs(payload: memoryview) -> FilesystemStatistics:
    """The reply to statvfs@openssh.com and fstatvfs@openssh.com.

    Raises OSError(EIO) for block sizes that no filesystem has.
    """
    if len(payload) < _STATVFS.size:
        raise ProtocolError("a truncated reply to statvfs@openssh.com")
    bsize, frsize, blocks, bfree, bavail, files, ffree, favail, _, flags, namemax = _STATVFS.unpack_from(
        payload
    )
    if not (0 < bsize <= _LARGEST_BLOCK and 0 < frsize <= _LARGEST_BLOCK):
        raise error(errno.EIO, "the server reported impossible block sizes")
    read_only = bool(flags & _STATVFS_READ_ONLY)
    return FilesystemStatistics(
        bsize, frsize, blocks, bfree, bavail, files, ffree, favail, namemax, read_only
    )


def encode_copy_data(
    source: bytes, source_offset: int, length: int, destination: bytes, destination_offset: int
) -> bytes:
    """Arguments of copy-data; ``length`` 0 means up to the end of the source."""
    return (
        encode_string(source)
        + _COPY_RANGE.pack(source_offset, length)
        + encode_string(destination)
        + _U64.pack(destination_offset)
    )


def encode_ids(uids: Sequence[int], gids: Sequence[int]) -> bytes:
    """Arguments of users-groups-by-id@openssh.com."""
    users = Struct(f">{len(uids)}I").pack(*uids)
    groups = Struct(f">{len(gids)}I").pack(*gids)
    return encode_string(users) + encode_string(groups)


def decode_names(payload: memoryview) -> tuple[list[bytes], list[bytes]]:
    """The reply to users-groups-by-id@openssh.com: user and group names, empty if there is none."""
    users, position = read_string(payload, 0)
    groups, _ = read_string(payload, position)
    return _strings(users), _strings(groups)


def _strings(data: bytes) -> list[bytes]:
    strings = []
    position = 0
    while position < len(data):
        string, position = read_string(data, position)
        strings.append(string)
    return strings
