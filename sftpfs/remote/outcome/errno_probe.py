"""Looks at the server for ``remote.outcome.errno_rules``: after a failure, one batch of requests, then the
errno.

Every function returns the ``OSError`` to raise, and never raises. If the looking fails as well, the first
error stands. If its session is lost, the result is UnexplainedError, after which the operation is made anew.
Costs one dependent wait on the error path, and a few more only if a directory has to be listed.
"""

from __future__ import annotations

import errno
import posixpath
import stat
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, Status, StatusError, UnexplainedError, error
from sftpfs.remote.outcome import errno_rules
from sftpfs.remote.outcome.errno_rules import DirectorySeen, RenameSeen
from sftpfs.remote.paths import name_of, parent_of, valid_name
from sftpfs.remote.slots import handle_or_close, retry_after_misprediction, value_or_none
from sftpfs.sftp import extensions
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, Attributes, FilesystemStatistics, OpenFlags

P = ParamSpec("P")

_Explanation = Callable[Concatenate[Session, StatusError, P], Coroutine[Any, Any, OSError]]

LONGEST_LINK_CHAIN = 40
"""Links Linux follows before it says ELOOP (path_resolution(7))."""

READDIRS_TO_JUDGE = 4
"""READDIR replies looked at to see whether a directory is empty; ``.`` and ``..`` may come alone."""


def code(failed: StatusError) -> int:
    """The status. One that v3 does not have (some servers use those of later versions) counts as FAILURE."""
    return failed.status if failed.status <= Status.OP_UNSUPPORTED else Status.FAILURE


def _unseen(failed: StatusError, problem: OSError) -> OSError:
    """The error to raise if the looking failed with ``problem``; after a lost session it may be tried
    again."""
    if isinstance(problem, SessionLostError):
        return UnexplainedError(str(problem.strerror), problem.errno or errno.EIO)
    return failed


def _explanation(look: _Explanation[P]) -> _Explanation[P]:
    """``look``, where the server did not say the errno itself, and what to raise where it fails."""

    @wraps(look)
    async def explained(
        session: Session, failed: StatusError, /, *arguments: P.args, **named: P.kwargs
    ) -> OSError:
        if failed.explicit:
            return failed
        try:
            return await look(session, failed, *arguments, **named)
        except OSError as problem:
            return _unseen(failed, problem)

    return explained


class _DirectoryProbe:
    """The requests about one directory, sent at once."""

    def __init__(self, session: Session, directory: bytes) -> None:
        self._parent = session.start_lstat(directory)
        self._statistics: Slot[FilesystemStatistics] | None = None
        if session.capabilities.has(extensions.STATVFS):
            self._statistics = session.start_statvfs(directory)

    async def wait(self) -> DirectorySeen:
        parent = await value_or_none(self._parent)
        if self._statistics is None:
            return DirectorySeen(parent)
        statistics = await value_or_none(self._statistics)
        return DirectorySeen(parent, statistics)


async def is_empty(session: Session, path: bytes) -> bool | None:
    """Whether a directory is empty; None if it cannot be listed."""
    return await retry_after_misprediction(session, partial(_is_empty, session, path))


async def _is_empty(session: Session, path: bytes) -> bool | None:
    try:
        handle = await handle_or_close(session, session.start_opendir(path))
    except StatusError:
        return None
    try:
        for _ in range(READDIRS_TO_JUDGE):
            entries = await session.start_readdir(handle).wait()
            if entries is None:
                return True
            if any(valid_name(entry.name) for entry in entries):
                return False
    except StatusError:
        pass
    finally:
        session.start_close(handle)
    return None


async def see_rename(session: Session, old: bytes, new: bytes) -> RenameSeen:
    """Both names and both directories in one batch; a third wait if ``new`` is a directory."""
    old_slot, new_slot = session.start_lstat(old), session.start_lstat(new)
    old_look, new_look = _DirectoryProbe(session, parent_of(old)), _DirectoryProbe(session, parent_of(new))
    seen_old, seen_new = await value_or_none(old_slot), await value_or_none(new_slot)
    empty = None
    if errno_rules.is_directory(seen_old) and errno_rules.is_directory(seen_new):
        empty = await is_empty(session, new)
    return RenameSeen(seen_old, seen_new, empty, await old_look.wait(), await new_look.wait())


@_explanation
async def creation(session: Session, failed: StatusError, path: bytes, there: Slot[Attributes]) -> OSError:
    """mkdir and symlink; ``there`` is the LSTAT that went with the request."""
    seen = await value_or_none(there)
    taken = seen is not None and code(failed) == Status.FAILURE
    place = DirectorySeen() if taken else await _DirectoryProbe(session, parent_of(path)).wait()
    return error(_creating(session, errno_rules.creation(code(failed), seen, place, name_of(path)), place))


@_explanation
async def opening(
    session: Session, failed: StatusError, path: bytes, flags: OpenFlags, there: Slot[Attributes]
) -> OSError:
    """OPEN; ``there`` is the LSTAT that went with it."""
    seen = await value_or_none(there)
    create, write = OpenFlags.CREATE in flags, OpenFlags.WRITE in flags
    plain = not create and code(failed) in (Status.NO_SUCH_FILE, Status.PERMISSION_DENIED)
    place = DirectorySeen() if plain else await _DirectoryProbe(session, parent_of(path)).wait()
    exclusive = OpenFlags.EXCLUSIVE in flags
    number = errno_rules.opening(code(failed), exclusive, create, write, seen, place, name_of(path))
    return error(_creating(session, number, place) if create else number)


def _creating(session: Session, number: int, place: DirectorySeen) -> int:
    """The error for a name that could not be made. It is not ENOENT if its directory exists, as some servers
    say of names they do not take. (OpenSSH's says it of a directory that was made just now.)"""
    known = session.traits.of_openssh
    return (
        errno.EINVAL
        if number == errno.ENOENT and not known and errno_rules.is_directory(place.parent)
        else number
    )


@_explanation
async def removal(session: Session, failed: StatusError, path: bytes) -> OSError:
    """REMOVE."""
    if code(failed) == Status.NO_SUCH_FILE:
        return failed
    there = session.start_lstat(path)
    place = await _DirectoryProbe(session, parent_of(path)).wait()
    seen = await value_or_none(there)
    return error(errno_rules.removal(code(failed), seen, place, name_of(path)))


@_explanation
async def directory_removal(session: Session, failed: StatusError, path: bytes) -> OSError:
    """RMDIR."""
    there = session.start_lstat(path)
    place = await _DirectoryProbe(session, parent_of(path)).wait()
    seen = await value_or_none(there)
    empty = await is_empty(session, path) if errno_rules.is_directory(seen) else None
    return error(errno_rules.directory_removal(code(failed), seen, empty, place, name_of(path)))


@_explanation
async def renaming(session: Session, failed: StatusError, old: bytes, new: bytes, replace: bool) -> OSError:
    """RENAME and posix-rename."""
    seen = await see_rename(session, old, new)
    return error(errno_rules.renaming(code(failed), seen, replace, name_of(new)))


@_explanation
async def linking(session: Session, failed: StatusError, existing: bytes, path: bytes) -> OSError:
    """hardlink@openssh.com."""
    seen = await see_rename(session, existing, path)
    return error(errno_rules.linking(code(failed), seen, name_of(path)))


@_explanation
async def changing(
    session: Session, failed: StatusError, path: bytes, change: AttributeChange, there: Slot[Attributes]
) -> OSError:
    """SETSTAT and lsetstat; ``there`` is the LSTAT that went with it."""
    seen = await value_or_none(there)
    place = DirectorySeen()
    if code(failed) == Status.FAILURE:
        place = await _DirectoryProbe(session, parent_of(path)).wait()
    return error(errno_rules.changing(code(failed), change, seen, place))


@_explanation
async def following(session: Session, failed: StatusError, path: bytes) -> OSError:
    """STAT, which follows links: tells a loop from a link to nothing."""
    if code(failed) != Status.NO_SUCH_FILE:
        return failed
    seen: set[bytes] = set()
    while path not in seen and len(seen) < LONGEST_LINK_CHAIN:
        seen.add(path)
        target = await session.start_readlink(path).wait()
        path = posixpath.normpath(posixpath.join(parent_of(path), target))
    return error(errno.ELOOP)


@_explanation
async def listing(session: Session, failed: StatusError, path: bytes) -> OSError:
    """OPENDIR and READDIR: tells what is not a directory."""
    if code(failed) not in (Status.NO_SUCH_FILE, Status.FAILURE):
        return failed
    there = await value_or_none(session.start_lstat(path))
    wrong = there is not None and stat.S_IFMT(there.mode) not in (stat.S_IFDIR, stat.S_IFLNK)
    return error(errno.ENOTDIR) if wrong else failed
