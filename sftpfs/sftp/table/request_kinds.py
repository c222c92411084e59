"""The kinds of requests there are: what each is answered by, and how far it reaches.

One row a request; ``sftp.session`` sends them, ``sftp.table.request_table`` carries them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sftpfs.sftp import extensions, packets
from sftpfs.sftp.replies import decode_attributes, decode_handle, decode_owner_lines, decode_path
from sftpfs.sftp.table.request import Kind, Reach
from sftpfs.types import Buffer, DirectoryEntry

T = TypeVar("T")

OPEN = Kind("open", packets.OPEN, packets.HANDLE, decode_handle, reach=Reach.OPENS)
CLOSE: Kind[None] = Kind("close", packets.CLOSE, packets.STATUS, reach=Reach.APART)
READ: Kind[Buffer | None] = Kind("read", packets.READ, packets.DATA, ends=True, reach=Reach.HANDLE)
WRITE: Kind[None] = Kind("write", packets.WRITE, packets.STATUS)
LSTAT = Kind("lstat", packets.LSTAT, packets.ATTRS, decode_attributes, reach=Reach.PATH)
FSTAT = Kind("fstat", packets.FSTAT, packets.ATTRS, decode_attributes, reach=Reach.HANDLE)
STAT = Kind("stat", packets.STAT, packets.ATTRS, decode_attributes, reach=Reach.PATH)
SETSTAT: Kind[None] = Kind("setstat", packets.SETSTAT, packets.STATUS)
FSETSTAT: Kind[None] = Kind("fsetstat", packets.FSETSTAT, packets.STATUS)
OPENDIR = Kind("opendir", packets.OPENDIR, packets.HANDLE, decode_handle, reach=Reach.OPENS)
READDIR: Kind[list[DirectoryEntry] | None] = Kind(
    "readdir", packets.READDIR, packets.NAME, ends=True, reach=Reach.HANDLE
)
OWNER_LINES = Kind("readdir", packets.READDIR, packets.NAME, decode_owner_lines)
REMOVE: Kind[None] = Kind("remove", packets.REMOVE, packets.STATUS)
MKDIR: Kind[None] = Kind("mkdir", packets.MKDIR, packets.STATUS)
RMDIR: Kind[None] = Kind("rmdir", packets.RMDIR, packets.STATUS)
REALPATH = Kind("realpath", packets.REALPATH, packets.NAME, decode_path, reach=Reach.PATH)
RENAME: Kind[None] = Kind("rename", packets.RENAME, packets.STATUS)
READLINK = Kind("readlink", packets.READLINK, packets.NAME, decode_path, reach=Reach.PATH)
SYMLINK: Kind[None] = Kind("symlink", packets.SYMLINK, packets.STATUS)


def _extension_status(name: str, extension: str, reach: Reach = Reach.CHANGES) -> Kind[None]:
    """A kind of extended request answered by a status alone."""
    return Kind(name, packets.EXTENDED, packets.STATUS, extension=extension, reach=reach)


POSIX_RENAME = _extension_status("posix_rename", extensions.POSIX_RENAME)
HARDLINK = _extension_status("hardlink", extensions.HARDLINK)
FSYNC = _extension_status("fsync", extensions.FSYNC, Reach.APART)
LSETSTAT = _extension_status("lsetstat", extensions.LSETSTAT)
COPY_DATA = _extension_status("copy_data", extensions.COPY_DATA)


def _extension(
    name: str,
    extension: str,
    decode: Callable[[memoryview], T],
    reach: Reach,
    reply: int = packets.EXTENDED_REPLY,
) -> Kind[T]:
    """A kind of extended request answered by what ``decode`` makes of a packet of type ``reply``."""
    return Kind(name, packets.EXTENDED, reply, decode, extension=extension, reach=reach)


STATVFS = _extension("statvfs", extensions.STATVFS, extensions.decode_statvfs, Reach.PATH)
FSTATVFS = _extension("fstatvfs", extensions.FSTATVFS, extensions.decode_statvfs, Reach.HANDLE)
LIMITS = _extension("limits", extensions.LIMITS, extensions.decode_limits, Reach.APART)
EXPAND_PATH = _extension("expand_path", extensions.EXPAND_PATH, decode_path, Reach.PATH, packets.NAME)
HOME_DIRECTORY = _extension(
    "home_directory", extensions.HOME_DIRECTORY, decode_path, Reach.APART, packets.NAME
)
USERS_GROUPS = _extension(
    "users_groups_by_id", extensions.USERS_GROUPS_BY_ID, extensions.decode_names, Reach.APART
)
