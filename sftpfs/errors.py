"""Errors: the only table from SFTP status to errno, and the errors that a person reads.

Inside sftpfs an operation fails with a plain ``OSError``, whose ``errno`` is what the kernel is given.
``MountError`` is for people: it ends a command with one line. Every room may import this module; it imports
nothing of sftpfs.
"""

from __future__ import annotations

import errno
import os
import traceback
from enum import Enum, IntEnum
from typing import Self


class Status(IntEnum):
    """SSH_FXP_STATUS codes (draft-ietf-secsh-filexfer-02 §7)."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8


STATUS_TO_ERRNO: dict[int, int] = {
    Status.EOF: errno.EIO,  # if EOF is an answer (READ, READDIR), the caller handles it first
    Status.NO_SUCH_FILE: errno.ENOENT,  # OpenSSH says it for ENOTDIR and ELOOP too
    Status.PERMISSION_DENIED: errno.EACCES,
    Status.FAILURE: errno.EIO,  # one code for ENOSPC, EEXIST, ENOTEMPTY, EXDEV: remote/outcome looks
    Status.BAD_MESSAGE: errno.EINVAL,  # OpenSSH says it for ENAMETOOLONG and EINVAL
    Status.NO_CONNECTION: errno.EIO,
    Status.CONNECTION_LOST: errno.EIO,
    Status.OP_UNSUPPORTED: errno.EOPNOTSUPP,
}


LATER_STATUS_TO_ERRNO: dict[int, int] = {
    10: errno.ENOENT,  # NO_SUCH_PATH
    11: errno.EEXIST,  # FILE_ALREADY_EXISTS
    12: errno.EROFS,  # WRITE_PROTECT
    14: errno.ENOSPC,  # NO_SPACE_ON_FILESYSTEM
    15: errno.EDQUOT,  # QUOTA_EXCEEDED
    18: errno.ENOTEMPTY,  # DIR_NOT_EMPTY
    19: errno.ENOTDIR,  # NOT_A_DIRECTORY
    20: errno.EINVAL,  # INVALID_FILENAME
    21: errno.ELOOP,  # LINK_LOOP
    24: errno.EISDIR,  # FILE_IS_A_DIRECTORY
}
"""Codes of later versions (draft-ietf-secsh-filexfer-13 §9.1), which some servers send in version 3."""

MESSAGE_TO_ERRNO: dict[str, int] = {
    "no space left on device": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "read-only file system": errno.EROFS,
    "invalid cross-device link": errno.EXDEV,
    "file exists": errno.EEXIST,
    "directory not empty": errno.ENOTEMPTY,
    "is a directory": errno.EISDIR,
    "not a directory": errno.ENOTDIR,
    "file name too long": errno.ENAMETOOLONG,
    "too many levels of symbolic links": errno.ELOOP,
    "too many links": errno.EMLINK,
    "file too large": errno.EFBIG,
    "text file busy": errno.ETXTBSY,
    "device or resource busy": errno.EBUSY,
}
"""Words of servers other than OpenSSH beside FAILURE: strerror(3) of what happened. Servers written in Go put
them behind ``open /a/b: ``."""


class StatusError(OSError):
    """The server answered a request with a status other than OK.

    ``status`` is the SFTP code, ``errno`` the tables' translation of it. ``explicit`` is set if the server
    said more than version 3 has words for, so that there is nothing left to look for.
    """

    def __init__(self, status: int, message: str = "") -> None:
        reported = LATER_STATUS_TO_ERRNO.get(status)
        if reported is None and status == Status.FAILURE:
            reported = MESSAGE_TO_ERRNO.get(message.rpartition(": ")[2].strip().rstrip(".").lower())
        number = STATUS_TO_ERRNO.get(status, errno.EIO) if reported is None else reported
        super().__init__(number, message or os.strerror(number))
        self.status = status
        self.explicit = reported is not None


class SessionLostError(OSError):
    """The SFTP session of a request is gone. Whether the request was carried out is unknown."""

    def __init__(self, reason: str, number: int = errno.EIO) -> None:
        super().__init__(number, reason)

    @classmethod
    def of(cls, lost: OSError) -> Self:
        """What became of a request as ``lost`` tells it: the same reason and errno."""
        return cls(lost.strerror or "", lost.errno or errno.EIO)


class IncompleteWriteError(OSError):
    """A write that failed, in part or as a whole."""

    def __init__(self, failure: OSError, missing: list[tuple[int, int]]) -> None:
        super().__init__(failure.errno, failure.strerror)
        self.missing = missing
        """Ranges (offset, end) that the server is not known to have, in the order in which they failed."""


class StalledError(SessionLostError):
    """The session of a request lives but is silent. Requests that only look are sent elsewhere."""


class DisturbedListingError(SessionLostError):
    """A listing under way may lack names, because of what happened to the directory or the handle
    meanwhile."""


class UnexplainedError(SessionLostError):
    """The server refused a request, and the session was lost before the reason could be seen. It was not
    done."""


class UnsentError(SessionLostError):
    """There was no session to send the request on. It was not done."""


class ProtocolError(Exception):
    """The server sent what SFTP v3 does not allow; the session cannot go on."""


def error(number: int, detail: str = "") -> OSError:
    """The ``OSError`` for ``number``, its message from the system unless ``detail`` is given."""
    return OSError(number, detail or os.strerror(number))


def fresh(failure: OSError) -> OSError:
    """A copy of ``failure``, for one of several that wait for the same. If several tasks raised a shared one,
    their tracebacks would mix."""
    if isinstance(failure, SessionLostError):
        return SessionLostError.of(failure)
    return OSError(failure.errno, failure.strerror)


def said(error: BaseException) -> str:
    """``error`` in the system's words, without its number, for people."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


MOST_PLACES = 12
"""How many places are named that an unforeseen error came from: the innermost ones."""


def traced(error: BaseException) -> str:
    """An unforeseen error and where it came from, for the person who looks for the fault."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(traced(inner) for inner in error.exceptions)
    places = [
        f"{os.path.basename(place.filename)}:{place.lineno} {place.name}"
        for place in traceback.extract_tb(error.__traceback__)[-MOST_PLACES:]
    ]
    return f"{type(error).__name__}: {error} (in {', '.join(reversed(places))})"


class Failure(Enum):
    """Why a mount could not be made, or a command could not be done. Each has its own exit status and
    words."""

    USAGE = 1
    NAME_NOT_FOUND = 2
    REFUSED = 3
    TIMED_OUT = 4
    UNREACHABLE = 5
    HOST_KEY_UNKNOWN = 6
    HOST_KEY_CHANGED = 7
    AUTHENTICATION = 8
    NO_SFTP = 9
    REMOTE_DIRECTORY = 10
    MOUNTPOINT = 11
    FUSE = 12
    PROTOCOL = 13
    INTERRUPTED = 14
    CONFIGURATION = 15
    TRANSPORT = 16
    COMMAND = 17


class MountError(Exception):
    """A failure a person has to read: what failed, on what, and what to do, in one line."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
