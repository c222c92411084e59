"""Small helpers around slots that the files of ``remote`` share. No policy."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar, cast

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, StatusError
from sftpfs.sftp.request import Reach, Request
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes

T = TypeVar("T")


def when_done(slot: Slot[T], callback: Callable[[Slot[T]], None]) -> None:
    """Run ``callback`` as ``slot`` is filled, at once if it is already."""
    if slot.done:
        callback(slot)
    else:
        assert slot.callback is None
        slot.callback = callback


def pass_on(slot: Slot[T], result: Slot[T]) -> None:
    """``result`` is what ``slot`` comes to."""

    def done(slot: Slot[T]) -> None:
        if slot.error is None:
            result.set(slot.result())
        else:
            result.fail(slot.error)

    when_done(slot, done)


async def value_or_none(slot: Slot[T] | None) -> T | None:
    """The slot's value, or None where the server refused, or was not asked. Raises SessionLostError."""
    try:
        return None if slot is None else await slot.wait()
    except StatusError:
        return None


async def new_seen(session: Session, path: bytes, seen: Slot[Attributes]) -> Attributes:
    """What was just made at ``path`` is; ``seen`` is the answer to ``Session.start_lstat_of_new``, which may
    have come too early. Raises OSError."""
    try:
        return await seen.wait()
    except StatusError as failed:
        if failed.errno != errno.ENOENT or session.traits.known.carries_out_in_order:
            raise
    return await session.start_lstat(path).wait()


async def opened(session: Session, slot: Slot[bytes]) -> bytes:
    """The handle of an OPEN or OPENDIR; one nobody waits for any more is closed as it comes."""

    def close(late: Slot[bytes]) -> None:
        if late.error is None:
            session.start_close(late.result())

    try:
        return await slot.wait()
    except BaseException:
        when_done(slot, close)  # it may be here already, come just as the waiting was cancelled
        raise


def abandon(session: Session, request: Request[T], failure: OSError) -> bool:
    """``request`` fails though its session lives; a handle that comes late is closed. False where it is not
    under way any more."""
    late = session.let_go(request)
    if late is None:
        return False
    if request.kind.reach is Reach.OPENS:

        def close(slot: Slot[T]) -> None:
            if slot.error is None:
                session.start_close(cast(bytes, slot.result()))

        late.callback = close
    request.fail(failure)
    return True


def copied(failure: OSError) -> OSError:
    """One error each: raised in several tasks at once, a shared one would mix their tracebacks."""
    if isinstance(failure, SessionLostError):
        return SessionLostError(str(failure.strerror), failure.errno or errno.EIO)
    return OSError(failure.errno, failure.strerror)
