"""``PRUNEFS`` of /etc/updatedb.conf, so that updatedb of plocate and mlocate walks no mount of ours.

updatedb knows ``fuse.sshfs`` and some others by name, and takes an unknown type for a local disk: it would
list a whole server each night. Owns one word of that file; the rest of the file, its owner and its mode stay.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress

from sftpfs.errors import Failure, MountError

CONFIGURATION = "/etc/updatedb.conf"
TYPE = "fuse.sftpfs"

LINE = re.compile(rb'^([ \t]*PRUNEFS[ \t]*=[ \t]*")([^"\n]*)(")', re.MULTILINE)
"""The only form updatedb.conf(5) allows."""


def prune(path: str = CONFIGURATION) -> bool:
    """Adds our type to the list. Returns whether that changed anything. A missing list is not begun, because
    an empty one may be intended. Raises MountError."""
    return _change(path, _with_ours)


def walk(path: str = CONFIGURATION) -> bool:
    """Takes our type out of the list again. Returns whether that changed anything. Raises MountError."""
    return _change(path, _without_ours)


def _with_ours(types: bytes) -> bytes:
    ours = TYPE.encode()
    if ours in types.split():
        return types
    return types + (b" " if types and not types[-1:].isspace() else b"") + ours


def _without_ours(types: bytes) -> bytes:
    return re.sub(rb"(^|[ \t]+)" + re.escape(TYPE.encode()) + rb"(?=[ \t]|$)", b"", types)


def _change(path: str, change: Callable[[bytes], bytes]) -> bool:
    try:
        return _rewrite(path, change)
    except FileNotFoundError:
        return False
    except OSError as error:
        cure = "; run this as root" if os.geteuid() else ""
        raise MountError(Failure.CONFIGURATION, f"cannot change {path}: {error.strerror}{cure}") from None


def _rewrite(path: str, change: Callable[[bytes], bytes]) -> bool:
    """Puts a changed copy in the file's place, so that nobody ever reads half of it. A link is followed, and
    stays."""
    path = os.path.realpath(path)
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            return False
        before = file.read()
    found_line = LINE.search(before)
    if found_line is None:
        return False
    start, end = found_line.span(2)
    after = before[:start] + change(before[start:end]) + before[end:]
    if after == before:
        return False
    fd, new = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".updatedb.conf.")
    try:
        with open(fd, "wb") as file:
            os.fchown(fd, found.st_uid, found.st_gid)
            os.fchmod(fd, stat.S_IMODE(found.st_mode))
            file.write(after)
            file.flush()
            os.fsync(fd)
        os.rename(new, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(new)
        raise
    return True
