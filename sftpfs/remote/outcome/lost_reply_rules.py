"""Requests whose reply was lost and that must not be done twice: what the result shows.

Pure: from what is seen on the next session to a verdict, by one table. ``remote.outcome.lost_reply_probe``
does the looking. The table cannot rule out two cases: a request that is still on its way through the old
session when we look, and another client that did exactly what we asked for to the name during the outage.
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
    """It was not carried out, or the server will say why it cannot be: send it again."""
    TAKEN = auto()
    """The name has been somebody else's: EEXIST."""
    UNCLEAR = auto()
    """It cannot be told, and doing it twice could destroy something: EIO."""


class Again(Enum):
    """What a look says where the operation was not done."""

    NOT_DONE = "not done"


ERRNO = {Verdict.TAKEN: errno.EEXIST, Verdict.UNCLEAR: errno.EIO}


class Observed(Enum):
    """What is seen of one name."""

    ABSENT = auto()
    OURS = auto()
    """For a name we make: as our request leaves it. For one that was there: as it was known."""
    OTHER = auto()
    """Something else."""
    UNKNOWN = auto()
    """It is there, and cannot be compared: nothing was known before, or we have changed it ourselves since,
    or what was renamed looked like what it was to replace."""
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

    subject: Observed | None
    target: Observed | None
    verdict: Verdict
    why: str


_MADE = (
    Row(Observed.ABSENT, None, Verdict.AGAIN, "had it been made it would be there"),
    Row(Observed.OURS, None, Verdict.DONE, "just what we asked for, and we asked because the name was free"),
    Row(Observed.OTHER, None, Verdict.TAKEN, "the server would have said that the name is taken"),
)

TABLE: dict[Operation, tuple[Row, ...]] = {
    Operation.MKDIR: _MADE,
    Operation.SYMLINK: _MADE,
    Operation.LINK: _MADE,
    Operation.CREATE: _MADE,
    Operation.REMOVE: (
        Row(Observed.ABSENT, None, Verdict.DONE, "it is gone, which is all that was asked for"),
        Row(Observed.OURS, None, Verdict.AGAIN, "the very file is still there"),
        Row(Observed.UNKNOWN, None, Verdict.AGAIN, "had it been removed it would be gone"),
        Row(Observed.OTHER, None, Verdict.UNCLEAR, "ours may be gone, and this one made since by another"),
    ),
    Operation.RMDIR: (
        Row(Observed.ABSENT, None, Verdict.DONE, "it is gone, which is all that was asked for"),
        Row(None, None, Verdict.AGAIN, "the server removes nothing but an empty directory"),
    ),
    Operation.RENAME: (
        Row(Observed.OURS, None, Verdict.AGAIN, "the very file still has its old name"),
        Row(None, Observed.UNTOUCHED, Verdict.AGAIN, "had it been renamed the new name would be another's"),
        Row(Observed.ABSENT, Observed.OURS, Verdict.DONE, "it has the new name and no more the old one"),
        Row(Observed.ABSENT, Observed.UNKNOWN, Verdict.DONE, "the old name is gone and the new one is there"),
        Row(Observed.ABSENT, Observed.ABSENT, Verdict.AGAIN, "the server will say that there is none"),
        Row(
            Observed.ABSENT,
            Observed.OTHER,
            Verdict.UNCLEAR,
            "removed by another, or renamed and then replaced",
        ),
        Row(
            Observed.OTHER,
            Observed.OURS,
            Verdict.DONE,
            "renamed; another took the old name, as logs are rotated",
        ),
        Row(
            Observed.OTHER, Observed.ABSENT, Verdict.AGAIN, "had it been renamed the new name would be there"
        ),
        Row(
            Observed.UNKNOWN,
            Observed.ABSENT,
            Verdict.AGAIN,
            "had it been renamed the new name would be there",
        ),
        Row(Observed.OTHER, Observed.OTHER, Verdict.UNCLEAR, "again could put another's file over ours"),
        Row(Observed.UNKNOWN, Observed.UNKNOWN, Verdict.UNCLEAR, "again could put another's file over ours"),
    ),
}
"""The first row that fits counts. A rename's sights are compared with what was renamed: both, or neither, or
only the old name's if we changed what has the new one. What has the new name is also compared with what had
it before."""


def verdict(operation: Operation, subject: Observed, target: Observed | None = None) -> Verdict:
    """What the table says."""
    for row in TABLE[operation]:
        if row.subject in (None, subject) and row.target in (None, target):
            return row.verdict
    return Verdict.UNCLEAR


def known_sight(seen: Attributes | None, known: Attributes | None) -> Observed:
    """A name that was there before, or that a rename gives to what was."""
    if seen is None:
        return Observed.ABSENT
    if known is None:
        return Observed.UNKNOWN
    if seen.kind != known.kind:
        return Observed.OTHER
    if stat.S_ISDIR(seen.mode):
        return Observed.OURS  # its size and times change with what is in it
    return Observed.OURS if (seen.size, seen.mtime) == (known.size, known.mtime) else Observed.OTHER


def target_sight(
    seen: Attributes | None, known: Attributes | None, over: Attributes | Changed | None
) -> Observed:
    """The new name of a rename of what was ``known``, which led to ``over`` before."""
    sight = known_sight(seen, known)
    if over is Changed.BY_US:
        alike = seen is not None and known is not None and seen.kind == known.kind
        return Observed.UNKNOWN if alike and sight is Observed.OTHER else sight  # ours, changed by that name
    if sight is Observed.ABSENT or over is None or stat.S_ISDIR(over.mode):
        return sight
    if known_sight(seen, over) is not Observed.OURS:
        return sight
    return Observed.UNKNOWN if sight is Observed.OURS else Observed.UNTOUCHED  # the two looked alike


def directory_sight(seen: Attributes | None, empty: bool | None, asked: float) -> Observed:
    """A directory that we asked for when the server's clock showed at least ``asked``."""
    if seen is None:
        return Observed.ABSENT
    made = stat.S_ISDIR(seen.mode) and bool(empty) and _since(seen, asked)
    return Observed.OURS if made else Observed.OTHER


def file_sight(seen: Attributes | None, mode: int, asked: float) -> Observed:
    """A file we asked for with ``mode`` (less the umask of the server), ``asked`` as for a directory."""
    if seen is None:
        return Observed.ABSENT
    made = stat.S_ISREG(seen.mode) and not seen.size and not stat.S_IMODE(seen.mode) & ~mode
    return Observed.OURS if made and _since(seen, asked) else Observed.OTHER


def symlink_sight(seen: Attributes | None, leads_to: bytes | None, target: bytes) -> Observed:
    """A link we asked to lead to ``target``."""
    if seen is None:
        return Observed.ABSENT
    return Observed.OURS if stat.S_ISLNK(seen.mode) and leads_to == target else Observed.OTHER


def link_sight(seen: Attributes | None, existing: Attributes | None) -> Observed:
    """A further name for ``existing``: everything that SFTP reports of both is the same."""
    if seen is None:
        return Observed.ABSENT
    if existing is None:
        return Observed.OTHER
    same = seen._replace(atime=existing.atime, nlink=existing.nlink) == existing
    return Observed.OURS if same else Observed.OTHER


def _since(seen: Attributes, asked: float) -> bool:
    return seen.mtime + MTIME_GRAIN > asked
