"""SFTP v3 as a server sees it: codes, what OpenSSH offers, and the fields of a packet."""

from __future__ import annotations

import errno
import struct
from typing import Any

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, _, _, OP_UNSUPPORTED = range(9)

WORDS = (
    b"Success",
    b"End of file",
    b"No such file",
    b"Permission denied",
    b"Failure",
    b"Bad message",
    b"No connection",
    b"Connection lost",
    b"Operation unsupported",
)

CODES = {
    errno.ENOENT: NO_SUCH_FILE,
    errno.ENOTDIR: NO_SUCH_FILE,
    errno.EBADF: NO_SUCH_FILE,
    errno.ELOOP: NO_SUCH_FILE,
    errno.EPERM: PERMISSION_DENIED,
    errno.EACCES: PERMISSION_DENIED,
    errno.EFAULT: PERMISSION_DENIED,
    errno.ENAMETOOLONG: BAD_MESSAGE,
    errno.EINVAL: BAD_MESSAGE,
    errno.ENOSYS: OP_UNSUPPORTED,
}

MOST_READ = 256 * 1024 - 1024

EXTENSIONS = (
    (b"posix-rename@openssh.com", b"1"),
    (b"statvfs@openssh.com", b"2"),
    (b"fstatvfs@openssh.com", b"2"),
    (b"hardlink@openssh.com", b"1"),
    (b"fsync@openssh.com", b"1"),
    (b"lsetstat@openssh.com", b"1"),
    (b"limits@openssh.com", b"1"),
    (b"expand-path@openssh.com", b"1"),
    (b"copy-data", b"1"),
    (b"home-directory", b"1"),
    (b"users-groups-by-id@openssh.com", b"1"),
)

KINDS = {
    1: "init",
    3: "open",
    4: "close",
    5: "read",
    6: "write",
    7: "lstat",
    8: "fstat",
    9: "setstat",
    10: "fsetstat",
    11: "opendir",
    12: "readdir",
    13: "remove",
    14: "mkdir",
    15: "rmdir",
    16: "realpath",
    17: "stat",
    18: "rename",
    19: "readlink",
    20: "symlink",
    200: "extended",
}

U32 = struct.Struct(">I")
U64 = struct.Struct(">Q")


def string(value: bytes) -> bytes:
    return U32.pack(len(value)) + value


class Fields:
    """Reads the fields of a packet one after the other."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def u32(self) -> int:
        self._position += 4
        return U32.unpack_from(self._data, self._position - 4)[0]

    def u64(self) -> int:
        self._position += 8
        return U64.unpack_from(self._data, self._position - 8)[0]

    def string(self) -> bytes:
        size = self.u32()
        self._position += size
        return self._data[self._position - size : self._position]

    def attrs(self) -> dict[str, Any]:
        flags = self.u32()
        found: dict[str, Any] = {}
        if flags & 1:
            found["size"] = self.u64()
        if flags & 2:
            found["ids"] = (self.u32(), self.u32())
        if flags & 4:
            found["mode"] = self.u32()
        if flags & 8:
            found["times"] = (self.u32(), self.u32())
        return found
