"""Requests whose reply was lost and that must not be done twice: what the result tells.

Pure: from what is seen on the next session to a verdict, by one table. ``remote.lost_reply``
does the looking. What the table cannot rule out: a request that is still on its way through
the old session when we look, and another client doing to the name just what we asked for
within the outage.
"""

from __future__ import annotations

import errno
import stat
from enum import Enum, auto
from typing import NamedTuple

from sftpfs.remote.api import Changed
from sftpfs.types import MTIME_GRAIN, Attributes


class Verdict(Enum):
    """What to do about a request whose reply was lost."""

    DONE = auto()
    """It was carried out."""
    AGAIN = auto()
    """It was not, or the server will say why it cannot be: send it again."""
    TAKEN = auto()
    """The name has been somebody else's: EEXIST."""
    UNCLEAR = auto()
    """It cannot be told, and doing it twice could destroy: EIO."""


ERRNO = {Verdict.TAKEN: errno.EEXIST, Verdict.UNCLEAR: errno.EIO}


class Sight(Enum):
    """What is seen of one name."""

    ABSENT = auto()
    OURS = auto()
    """For a name we make: as our request leaves it. For one that was there: as it was known."""
    OTHER = auto()
    """Something else."""
    UNKNOWN = auto()
    """It is there, and nothing was known before to compare it with, or we have changed it ourselves since, or
    what was renamed looked like what it was to replace."""
    UNTOUCHED = auto()
    """For a rename's new name: what had it before, and not what was to be renamed."""


class Operation(Enum):
    """What cannot be sent twice. The name it makes or removes is the *subject*; a rename's
    subject is the old name, and the new one its *target*."""

    MKDIR = auto()
    SYMLINK = auto()
    LINK = auto()
    CREATE = auto()
    REMOVE = auto()
    RMDIR = auto()
    RENAME = auto()


class Row(NamedTuple):
    """One row: the sights it is for (None: any), the verdict, and why."""

    subject: Sight | None
    target: Sight | None
    verdict: Verdict
    why: str


_MADE = (
    Row(Sight.ABSENT, None, Verdict.AGAIN, "had it been made it would be there"),
    Row(Sight.OURS, None, Verdict.DONE, "just what we asked for, and we asked because the name was free"),
    Row(Sight.OTHER, None, Verdict.TAKEN, "the server would have said that the name is taken"),
)

TABLE: dict[Operation, tuple[Row, ...]] = {
    Operation.MKDIR: _MADE,
    Operation.SYMLINK: _MADE,
    Operation.LINK: _MADE,
    Operation.CREATE: _MADE,
    Operation.REMOVE: (
        Row(Sight.ABSENT, None, Verdict.DONE, "it is gone, which is all that was asked for"),
        Row(Sight.OURS, None, Verdict.AGAIN, "the very file is still there"),
        Row(Sight.UNKNOWN, None, Verdict.AGAIN, "had it been removed it would be gone"),
        Row(Sight.OTHER, None, Verdict.UNCLEAR, "ours may be gone, and this one made since by another"),
    ),
    Operation.RMDIR: (
        Row(Sight.ABSENT, None, Verdict.DONE, "it is gone, which is all that was asked for"),
        Row(None, None, Verdict.AGAIN, "the server removes nothing but an empty directory"),
    ),
    Operation.RENAME: (
        Row(Sight.OURS, None, Verdict.AGAIN, "the very file still has its old name"),
        Row(None, Sight.UNTOUCHED, Verdict.AGAIN, "had it been renamed the new name would be another's"),
        Row(Sight.ABSENT, Sight.OURS, Verdict.DONE, "it has the new name and no more the old one"),
        Row(Sight.ABSENT, Sight.UNKNOWN, Verdict.DONE, "the old name is gone and the new one is there"),
        Row(Sight.ABSENT, Sight.ABSENT, Verdict.AGAIN, "the server will say that there is none"),
        Row(Sight.ABSENT, Sight.OTHER, Verdict.UNCLEAR, "removed by another, or renamed and then replaced"),
        Row(Sight.OTHER, Sight.OURS, Verdict.DONE, "renamed; another took the old name, as logs are rotated"),
        Row(Sight.OTHER, Sight.ABSENT, Verdict.AGAIN, "had it been renamed the new name would be there"),
        Row(Sight.UNKNOWN, Sight.ABSENT, Verdict.AGAIN, "had it been renamed the new name would be there"),
        Row(Sight.OTHER, Sight.OTHER, Verdict.UNCLEAR, "again could put another's file over ours"),
        Row(Sight.UNKNOWN, Sight.UNKNOWN, Verdict.UNCLEAR, "again could put another's file over ours"),
    ),
}
"""The first row that fits is the one. A rename's sights are either both compared with what was renamed, or
neither is, or the old name's alone where we changed what has the new one; what has the new name is compared
with what had it before, too."""


def verdict(operation: Operation, subject: Sight, target: Sight | None = None) -> Verdict:
    """What the table says."""
    for row in TABLE[operation]:
        if row.subject in (None, subject) and row.target in (None, target):
            return row.verdict
    return Verdict.UNCLEAR


def known_sight(seen: Attributes | None, known: Attributes | None) -> Sight:
    """A name that was there before, or that a rename gives to what was."""
    if seen is None:
        return Sight.ABSENT
    if known is None:
        return Sight.UNKNOWN
    if seen.kind != known.kind:
        return Sight.OTHER
    if stat.S_ISDIR(seen.mode):
        return Sight.OURS  # its size and times change with what is in it
    return Sight.OURS if (seen.size, seen.mtime) == (known.size, known.mtime) else Sight.OTHER


def target_sight(
    seen: Attributes | None, known: Attributes | None, over: Attributes | Changed | None
) -> Sight:
    """The new name of a rename of what was ``known``, which led to ``over`` before."""
    sight = known_sight(seen, known)
    if over is Changed.BY_US:
        alike = seen is not None and known is not None and seen.kind == known.kind
        return Sight.UNKNOWN if alike and sight is Sight.OTHER else sight  # ours, changed by that name
    if sight is Sight.ABSENT or over is None or stat.S_ISDIR(over.mode):
        return sight
    if known_sight(seen, over) is not Sight.OURS:
        return sight
    return Sight.UNKNOWN if sight is Sight.OURS else Sight.UNTOUCHED  # the two looked alike


def directory_sight(seen: Attributes | None, empty: bool | None, asked: float) -> Sight:
    """A directory we asked for when the server's clock showed ``asked`` at least."""
    if seen is None:
        return Sight.ABSENT
    made = stat.S_ISDIR(seen.mode) and bool(empty) and _since(seen, asked)
    return Sight.OURS if made else Sight.OTHER


def file_sight(seen: Attributes | None, mode: int, asked: float) -> Sight:
    """A file we asked for with ``mode`` (less the umask of the server), ``asked`` as for a directory."""
    if seen is None:
        return Sight.ABSENT
    made = stat.S_ISREG(seen.mode) and not seen.size and not stat.S_IMODE(seen.mode) & ~mode
    return Sight.OURS if made and _since(seen, asked) else Sight.OTHER


def symlink_sight(seen: Attributes | None, leads_to: bytes | None, target: bytes) -> Sight:
    """A link we asked to lead to ``target``."""
    if seen is None:
        return Sight.ABSENT
    return Sight.OURS if stat.S_ISLNK(seen.mode) and leads_to == target else Sight.OTHER


def link_sight(seen: Attributes | None, existing: Attributes | None) -> Sight:
    """A further name for ``existing``: all that SFTP tells of both is the same."""
    if seen is None:
        return Sight.ABSENT
    if existing is None:
        return Sight.OTHER
    same = seen._replace(atime=existing.atime, nlink=existing.nlink) == existing
    return Sight.OURS if same else Sight.OTHER


def _since(seen: Attributes, asked: float) -> bool:
    return seen.mtime + MTIME_GRAIN > asked
