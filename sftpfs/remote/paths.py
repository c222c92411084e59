"""Checks of paths before they are sent, and of names the server sends. Pure.

A name the server cannot take is refused here, since SFTP v3 has no status for it.
"""

from __future__ import annotations

import errno

from sftpfs.errors import error
from sftpfs.types import LONGEST_NAME

PATH_MAX = 4095
"""Bytes of a path without the closing NUL on Linux; a longer one fails on the server."""


def check_path(path: bytes) -> None:
    """Raise ENAMETOOLONG or EINVAL for a path that no server can take.

    One that begins with a dot is from where the server starts us.
    """
    if len(path) > LONGEST_NAME and (len(path) > PATH_MAX or max(map(len, path.split(b"/"))) > LONGEST_NAME):
        raise error(errno.ENAMETOOLONG)
    if not (path.startswith((b"/", b"./")) or path == b".") or b"\0" in path:
        raise error(errno.EINVAL)


def check_link_target(target: bytes) -> None:
    """Raise ENOENT, ENAMETOOLONG or EINVAL for a target no symbolic link can have (symlink(2))."""
    if not target:
        raise error(errno.ENOENT)
    if len(target) > PATH_MAX:
        raise error(errno.ENAMETOOLONG)
    if b"\0" in target:
        raise error(errno.EINVAL)


def valid_name(name: bytes) -> bool:
    """True for a valid entry of a directory, ``.`` and ``..`` excepted."""
    return bool(name) and b"/" not in name and b"\0" not in name and name != b"." and name != b".."


def parent_of(path: bytes) -> bytes:
    """The directory ``path`` is in; the root's is the root."""
    if path == b".":
        return path
    return path.rstrip(b"/").rpartition(b"/")[0] or b"/"


def name_of(path: bytes) -> bytes:
    """The last component of ``path``."""
    return path.rstrip(b"/").rpartition(b"/")[2]
