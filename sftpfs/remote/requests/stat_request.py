"""Asks for attributes on a server that does not offer every way to ask: FSTAT, LSTAT or REALPATH.

Used by whatever in ``remote`` asks about an open file, and by ``doctor``. ``server_traits`` gets what is
learned.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable

from sftpfs.aio import Slot
from sftpfs.errors import Status, StatusError
from sftpfs.remote.slots import on_filled, pass_on, value_or_none
from sftpfs.sftp.session import Session
from sftpfs.types import UNKNOWN_ID, Attributes

REFUSED = frozenset({Status.PERMISSION_DENIED, Status.OP_UNSUPPORTED})
"""Errors that fstat(2) never gives."""


def start_stat_open(
    session: Session, handle: bytes, path: bytes, before: Callable[[], None] | None = None
) -> Slot[Attributes]:
    """FSTAT, or if the server does not answer that STAT of ``path``, which the open file has now.

    ``before`` is called as each is sent.
    """
    traits = session.traits
    if before is not None:
        before()
    if not traits.known.answers_fstat:
        return session.start_stat(path)
    asked = session.start_fstat(handle)
    if traits.held("answers_fstat"):
        return asked
    result: Slot[Attributes] = Slot()

    def answered(slot: Slot[Attributes]) -> None:
        failure = slot.error
        if failure is None:
            traits.seen(["answers_fstat"])
            result.set(slot.result())
        elif isinstance(failure, StatusError) and failure.status in (*REFUSED, Status.NO_SUCH_FILE):
            if before is not None:
                before()
            on_filled(session.start_stat(path), lambda seen: by_name(seen, failure))
        else:
            result.fail(failure)

    def by_name(seen: Slot[Attributes], failure: StatusError) -> None:
        if refused(asked) or seen.error is None:  # one that has the name is no missing file
            traits.contradict("answers_fstat", f"FSTAT is refused: {failure.strerror}")
            pass_on(seen, result)
        else:
            result.fail(failure)

    on_filled(asked, answered)
    return result


def start_following(session: Session, path: bytes) -> Slot[Attributes]:
    """STAT, and LSTAT of a link that leads nowhere or in a circle: it is shown as itself, to be removed."""
    result: Slot[Attributes] = Slot()

    def answered(slot: Slot[Attributes]) -> None:
        failure = slot.error
        if failure is None:
            result.set(slot.result())
        elif isinstance(failure, StatusError) and failure.errno != errno.EACCES:
            on_filled(session.start_lstat(path), lambda seen: itself(seen, failure))
        else:
            result.fail(failure)

    def itself(seen: Slot[Attributes], failure: StatusError) -> None:
        if seen.error is None and stat.S_ISLNK(seen.result().mode):
            result.set(seen.result())
        else:
            result.fail(failure if isinstance(seen.error, StatusError | None) else seen.error)

    on_filled(session.start_stat(path), answered)
    return result


async def of_directory(session: Session, path: bytes) -> Attributes:
    """STAT of a directory; if that is refused, what LSTAT reports, unless of a link. Raises StatusError."""
    asked = session.start_stat(path)
    try:
        return await asked.wait()
    except StatusError as failed:
        if not (refused(asked) and session.traits.known.answers_stat):
            raise
        seen = await value_or_none(session.start_lstat(path))
        if seen is None or not stat.S_ISDIR(seen.mode):
            raise
        session.traits.contradict("answers_stat", f"STAT is refused: {failed.strerror}")
        return seen


def as_a_link(target: bytes) -> Attributes:
    """The attributes of a link to ``target`` that is known to exist, although LSTAT reports what it leads to.
    Without a time."""
    return Attributes(stat.S_IFLNK | 0o777, len(target), UNKNOWN_ID, UNKNOWN_ID, 0, 0)


def try_lstat(session: Session) -> None:
    """Finds out whether LSTAT is answered at all: for the root, which nobody may be denied.

    Nobody waits for it.
    """

    def answered(slot: Slot[Attributes]) -> None:
        if refused(slot):
            session.traits.contradict("answers_lstat", "LSTAT of / is refused")

    on_filled(session.start_lstat(b"/"), answered)


def refused(slot: Slot[Attributes]) -> bool:
    """Whether the server would not look."""
    return isinstance(slot.error, StatusError) and slot.error.status in REFUSED


async def canonical_path(session: Session, path: bytes) -> bytes:
    """REALPATH; if the server does not answer it, ``path`` itself; a relative one then begins with a dot.

    Raises StatusError if there is nothing.
    """
    uncertain = path if path.startswith((b"/", b"./")) or path == b"." else b"./" + path
    if not session.traits.known.answers_realpath:
        return uncertain
    try:
        canonical = await session.start_realpath(path).wait()
        return canonical.rstrip(b"/") or b"/"  # MySecureShell adds a slash to a directory
    except StatusError as failed:
        if failed.status not in REFUSED:
            raise
        try:
            await session.start_stat(uncertain).wait()
        except StatusError:
            raise failed from None
        session.traits.contradict("answers_realpath", f"REALPATH is refused: {failed.strerror}")
        return uncertain
