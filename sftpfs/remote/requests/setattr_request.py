"""Sets attributes on a server that may refuse a way to do it, or a part of what is set.

Owns the order in which it is tried: by handle, by path, and then each part of what was refused together by
itself. ``remote.handles.resize`` sets sizes. Used by ``remote.files.pooled_file`` and
``remote.operations.setattr_by_path``. ``server_traits`` gets what is learned.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from typing import NamedTuple

from sftpfs.aio import Slot
from sftpfs.errors import Status, StatusError, error
from sftpfs.remote.outcome import errno_rules
from sftpfs.remote.outcome.errno_rules import LEAST_SIZE_LIMIT, DirectorySeen
from sftpfs.remote.slots import Steps, carried_out, on_filled
from sftpfs.server_traits import ServerTraits
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, Attributes

NO_HANDLE = b"\xff\xff\xff\xff"
"""A handle that no server gives."""

SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
"""Mode bits that are refused to owners, too."""

SIZE_REFUSED = frozenset({Status.FAILURE, Status.BAD_MESSAGE})
"""What OpenSSH makes of EFBIG and EINVAL."""


def parts(change: AttributeChange) -> list[AttributeChange]:
    """What can be set apart: size, owner, mode, times, in this order."""
    found = []
    if change.size is not None:
        found.append(AttributeChange(size=change.size))
    if change.uid is not None:
        found.append(AttributeChange(uid=change.uid, gid=change.gid))
    if change.mode is not None:
        found.append(AttributeChange(mode=change.mode))
    if change.mtime is not None:
        found.append(AttributeChange(atime=change.atime, mtime=change.mtime))
    return found


def needed(change: AttributeChange) -> list[str]:
    """The traits of a server that makes ``change``; an owner may be refused by any."""
    asked = {"sets_sizes": change.size, "sets_modes": change.mode, "sets_times": change.mtime}
    return [trait for trait, value in asked.items() if value is not None]


def shows(change: AttributeChange, seen: Attributes) -> bool:
    """Whether a file of attributes ``seen`` has everything that ``change`` sets, except a size."""
    owner = change.uid in (None, seen.uid) and change.gid in (None, seen.gid)
    mode = change.mode is None or not (change.mode ^ seen.mode) & 0o7777
    return owner and mode and change.mtime in (None, seen.mtime) and change.atime in (None, seen.atime)


def may_set(traits: ServerTraits, change: AttributeChange) -> bool:
    """Whether it is of use to send ``change`` if nobody has asked for it here."""
    known = traits.known
    reached = known.sets_by_handle or known.sets_by_path
    return reached and all(getattr(known, trait) for trait in needed(change))


def surely_sets(traits: ServerTraits, change: AttributeChange) -> bool:
    """Whether ``change`` of a file that was made here may be answered before it is sent."""
    relied_on = ["sets_by_handle", *needed(change)]
    return all(map(traits.sure, relied_on))


class _Way(NamedTuple):
    """How attributes are set."""

    trait: str
    start: Callable[[AttributeChange], Slot[None]]


def set_open(session: Session, handle: bytes, path: bytes | None, change: AttributeChange) -> Slot[None]:
    """FSETSTAT, or if that is refused as such SETSTAT of ``path``, which the open file has now.

    One request if the server is known to carry it out.
    """
    known = session.traits.known
    ways = []
    if known.sets_by_handle:
        ways.append(_Way("sets_by_handle", lambda part: session.start_fsetstat(handle, part)))
    if path is not None and (known.sets_by_path or not ways):
        ways.append(_by_path(session, path))
    if not ways:
        slot: Slot[None] = Slot()
        slot.fail(StatusError(Status.OP_UNSUPPORTED))
        return slot
    return carried_out(_set(session.traits, ways, change))


def set_named(session: Session, path: bytes, change: AttributeChange) -> Slot[None]:
    """SETSTAT."""
    return carried_out(_set(session.traits, [_by_path(session, path)], change))


def _by_path(session: Session, path: bytes) -> _Way:
    return _Way("sets_by_path", lambda part: session.start_setstat(path, part))


def _set(traits: ServerTraits, ways: list[_Way], change: AttributeChange) -> Steps[None]:
    """Try ``ways`` one after the other. Raises the first refusal."""
    first: BaseException | None = None
    for way in ways:
        together = yield way.start(change)
        if together is None:
            _seen(traits, way, change, first)
            return
        first = first or together
        if not _for_want_of(traits, way, together):
            break
        apart = parts(change)
        refusals = []
        for part in apart if len(apart) > 1 else ():
            refused = yield way.start(part)
            if refused is None:
                _seen(traits, way, part, None)
            else:
                refusals.append((part, refused))
        if len(apart) > 1 and len(refusals) < len(apart):
            for part, refused in refusals:
                _unsupported(traits, part, refused)
            if refusals:
                raise refusals[0][1]
            return
    assert first is not None
    raise first


def _seen(traits: ServerTraits, way: _Way, change: AttributeChange, before: BaseException | None) -> None:
    """``change`` was made, after ``before`` where another way was refused."""
    traits.seen([way.trait, *(trait for trait in needed(change) if trait != "sets_sizes")])
    if before is not None:
        traits.contradict("sets_by_handle", f"FSETSTAT was refused ({before}), SETSTAT was carried out")


def _for_want_of(traits: ServerTraits, way: _Way, refused: BaseException) -> bool:
    """Whether the refusal may be because this way, or a part of the change, is not supported."""
    if not isinstance(refused, StatusError):
        return False
    return refused.status == Status.OP_UNSUPPORTED or traits.doubtful(way.trait)


def _unsupported(traits: ServerTraits, part: AttributeChange, refused: BaseException) -> None:
    if isinstance(refused, StatusError) and refused.status == Status.OP_UNSUPPORTED:
        for trait in needed(part):
            traits.contradict(trait, "it answered that it does not")


def refusal(
    traits: ServerTraits,
    change: AttributeChange,
    failed: BaseException,
    known: Attributes | None,
    *,
    grows: bool,
    ours: bool,
) -> BaseException:
    """The error of a ``change`` by handle that ``failed``, of a file of ``known`` attributes that it was to
    make longer (``grows``), or that was made by this handle (``ours``)."""
    if not isinstance(failed, StatusError) or failed.explicit:
        return failed
    if ours:
        _refused_to_owner(traits, change, failed)
    too_large = change.size is not None and change.size > LEAST_SIZE_LIMIT
    if grows and too_large and failed.status in SIZE_REFUSED:
        return error(errno.EFBIG)  # a hole takes no room
    if failed.status == Status.PERMISSION_DENIED:
        return error(errno_rules.changing(failed.status, change, known, DirectorySeen()))
    return failed


def _refused_to_owner(traits: ServerTraits, change: AttributeChange, failed: StatusError) -> None:
    """The file is this login's, so permission is not the reason: such a change is not sent unasked again, nor
    answered before it is sent."""
    special = change.mode is not None and change.mode & SPECIAL_BITS
    denied = failed.status in (Status.PERMISSION_DENIED, Status.OP_UNSUPPORTED)
    relied_on = needed(change)
    if denied and not special and len(relied_on) == 1 and relied_on != ["sets_sizes"]:
        traits.contradict(relied_on[0], "it refused to, for a file that was made here")


def try_setting(session: Session) -> None:
    """Finds out whether FSETSTAT is answered at all: for no handle it is a FAILURE; otherwise it is refused
    as such.

    Nobody waits for it. Changes that travel with writes are answered before they are sent, also the first
    one.
    """

    def answered(slot: Slot[None]) -> None:
        failure = slot.error
        if isinstance(failure, StatusError) and failure.status in (
            Status.PERMISSION_DENIED,
            Status.OP_UNSUPPORTED,
        ):
            session.traits.contradict("sets_by_handle", f"FSETSTAT is refused: {failure.strerror}")

    on_filled(session.start_fsetstat(NO_HANDLE, AttributeChange()), answered)
