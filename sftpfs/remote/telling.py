"""Asking what there is, on a server that leaves out a way to ask: FSTAT, LSTAT or REALPATH.

Used by whatever in ``remote`` asks about an open file, and by ``doctor``; what is learned is told to
``server_traits``.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable

from sftpfs.aio import Slot
from sftpfs.errors import Status, StatusError
from sftpfs.remote.waiting import pass_on, when_done
from sftpfs.sftp.session import Session
from sftpfs.types import UNKNOWN_ID, Attributes

REFUSED = frozenset({Status.PERMISSION_DENIED, Status.OP_UNSUPPORTED})
"""What fstat(2) never fails of."""


def start_telling(
    session: Session, handle: bytes, path: bytes, before: Callable[[], None] | None = None
) -> Slot[Attributes]:
    """FSTAT, or where the server does not answer that STAT of ``path``, which the open file has now.

    ``before`` is called as each is sent.
    """
    traits = session.traits
    if before is not None:
        before()
    if not traits.known.tells_by_handle:
        return session.start_stat(path)
    asked = session.start_fstat(handle)
    if traits.held("tells_by_handle"):
        return asked
    result: Slot[Attributes] = Slot()

    def answered(slot: Slot[Attributes]) -> None:
        failure = slot.error
        if failure is None:
            traits.seen(["tells_by_handle"])
            result.set(slot.result())
        elif isinstance(failure, StatusError) and failure.status in (*REFUSED, Status.NO_SUCH_FILE):
            if before is not None:
                before()
            when_done(session.start_stat(path), lambda seen: by_name(seen, failure))
        else:
            result.fail(failure)

    def by_name(seen: Slot[Attributes], failure: StatusError) -> None:
        if refused(asked) or seen.error is None:  # one that has the name is no missing file
            traits.contradict("tells_by_handle", f"FSTAT is refused: {failure.strerror}")
            pass_on(seen, result)
        else:
            result.fail(failure)

    when_done(asked, answered)
    return result


def start_following(session: Session, path: bytes) -> Slot[Attributes]:
    """STAT, and LSTAT of a link that leads nowhere or in a circle: it is shown as itself, to be removed."""
    result: Slot[Attributes] = Slot()

    def answered(slot: Slot[Attributes]) -> None:
        failure = slot.error
        if failure is None:
            result.set(slot.result())
        elif isinstance(failure, StatusError) and failure.errno != errno.EACCES:
            when_done(session.start_lstat(path), lambda seen: itself(seen, failure))
        else:
            result.fail(failure)

    def itself(seen: Slot[Attributes], failure: StatusError) -> None:
        if seen.error is None and stat.S_ISLNK(seen.result().mode):
            result.set(seen.result())
        else:
            result.fail(failure if isinstance(seen.error, StatusError | None) else seen.error)

    when_done(session.start_stat(path), answered)
    return result


def as_a_link(target: bytes) -> Attributes:
    """What a link to ``target`` is, that is known to be there: LSTAT tells of what it leads to. Without a
    time."""
    return Attributes(stat.S_IFLNK | 0o777, len(target), UNKNOWN_ID, UNKNOWN_ID, 0, 0)


def try_lstat(session: Session) -> None:
    """Find out whether LSTAT is answered at all: of the root, which nobody may be denied.

    Nobody waits for it.
    """

    def told(slot: Slot[Attributes]) -> None:
        if refused(slot):
            session.traits.contradict("tells_of_links", "LSTAT of / is refused")

    when_done(session.start_lstat(b"/"), told)


def refused(slot: Slot[Attributes]) -> bool:
    """Whether the server would not look."""
    return isinstance(slot.error, StatusError) and slot.error.status in REFUSED


async def canonical_path(session: Session, path: bytes) -> bytes:
    """REALPATH; where the server answers none ``path`` itself, one that is relative beginning with a dot.

    Raises StatusError where there is nothing.
    """
    uncertain = path if path.startswith((b"/", b"./")) or path == b"." else b"./" + path
    if not session.traits.known.tells_canonical_paths:
        return uncertain
    try:
        told = await session.start_realpath(path).wait()
        return told.rstrip(b"/") or b"/"  # a directory that is told with a slash (MySecureShell) is the same
    except StatusError as failed:
        if failed.status not in REFUSED:
            raise
        try:
            await session.start_stat(uncertain).wait()
        except StatusError:
            raise failed from None
        session.traits.contradict("tells_canonical_paths", f"REALPATH is refused: {failed.strerror}")
        return uncertain
