"""The directory on the server that becomes the root of the mount.

Asks the server where it is and whether it is a directory; tells a person what is wrong. Used once, by the
composition root, before the kernel is involved.
"""

from __future__ import annotations

import errno
import stat
from typing import NamedTuple

from sftpfs.config import Endpoint, MountConfig
from sftpfs.errors import Failure, MountError, SessionLostError
from sftpfs.remote.api import Remote
from sftpfs.types import Attributes

UNSEEN = Attributes(mode=stat.S_IFDIR | 0o755, size=4096, uid=0, gid=0, atime=0, mtime=0)
"""Stands for the root until the server was asked (delay_connect, no_check_root)."""

REASONS = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "is not a directory",
    errno.EACCES: "cannot be entered: permission denied",
    errno.EPERM: "cannot be entered: permission denied",
    errno.ELOOP: "cannot be reached: too many symbolic links",
}


class Root(NamedTuple):
    """Path on the server, and what it is."""

    path: bytes
    attributes: Attributes


def home_relative(directory: bytes) -> bytes:
    """The path to ask for: SFTP resolves a relative one from the home directory, and knows no ``~``."""
    if directory in (b"", b"~", b"~/"):
        return b"."
    if directory.startswith(b"~/"):
        return directory[2:].lstrip(b"/") or b"."
    return directory


async def find_root(remote: Remote, config: MountConfig) -> Root:
    """The root of the mount. Raises MountError(REMOTE_DIRECTORY), and whatever a lost connection raises."""
    directory = home_relative(config.endpoint.directory)
    if config.delay_connect:
        return Root(directory, UNSEEN)
    try:
        path = await remote.realpath(directory)
        attributes = await remote.stat(path)
    except OSError as error:
        if not config.check_root and error.errno in REASONS:
            return Root(directory, UNSEEN)
        raise root_error(config, error) from None
    if not path.startswith((b"/", b"./")) and path != b".":
        raise MountError(
            Failure.PROTOCOL, f"{config.endpoint.host} calls its directory {path!r}, which is not a path"
        )
    if not stat.S_ISDIR(attributes.mode):
        if config.check_root:
            raise root_error(config, NotADirectoryError(errno.ENOTDIR, "Not a directory"))
        return Root(path, UNSEEN)
    return Root(path, attributes)


def root_error(config: MountConfig, error: OSError) -> MountError:
    """What a person reads when the server answers ``error`` about the root."""
    endpoint = config.endpoint
    where = place(endpoint)
    reason = REASONS.get(error.errno or 0)
    if reason is not None:
        directory = endpoint.directory.decode(errors="backslashreplace") or "."
        return MountError(Failure.REMOTE_DIRECTORY, f"remote directory {directory} {reason} on {where}")
    if error.errno == errno.ETIMEDOUT:
        return MountError(Failure.TIMED_OUT, f"{where} did not answer within {config.pool.timeout:g} s")
    if isinstance(error, SessionLostError):
        return MountError(Failure.TRANSPORT, f"the connection to {where} was lost: {error.strerror}")
    return MountError(Failure.REMOTE_DIRECTORY, f"{endpoint}: {error.strerror or error}")


def place(endpoint: Endpoint) -> str:
    """The server, for a message."""
    return endpoint.host or "the server"
