"""Small helpers around slots that the files of ``remote`` share. No policy."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar, cast

from sftpfs.aio import Slot
from sftpfs.errors import StatusError
from sftpfs.sftp.session import Session
from sftpfs.sftp.table.request import Reach, Request
from sftpfs.types import Attributes

T = TypeVar("T")

Steps = Generator[Slot[Any], BaseException | None, T]
"""Yields each request that is to be answered before it goes on, and is sent what that failed of, or None."""


def on_filled(slot: Slot[T], callback: Callable[[Slot[T]], None]) -> None:
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

    on_filled(slot, done)


def carried_out(steps: Steps[T]) -> Slot[T]:
    """The slot of the result of ``steps``, which may raise OSError."""
    result: Slot[T] = Slot()

    def advance(outcome: BaseException | None) -> None:
        try:
            slot = steps.send(outcome)
        except StopIteration as end:
            result.set(end.value)
        except OSError as failure:
            result.fail(failure)
        else:
            on_filled(slot, lambda answered: advance(answered.error))

    advance(None)
    return result


async def value_or_none(slot: Slot[T] | None) -> T | None:
    """The slot's value, or None if the server refused, or was not asked. Raises SessionLostError."""
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


async def retry_after_misprediction(session: Session, look: Callable[[], Awaitable[T]]) -> T:
    """What ``look``, which opens a directory and reads it, finds. Raises what it raises.

    It is repeated if the server was meanwhile found to give other handles than predicted: READDIRs meant for
    others may have taken some of the names.
    """
    while True:
        expected = not session.handles.broken
        found = await look()
        if not (session.handles.broken and expected):
            return found


async def handle_or_close(session: Session, slot: Slot[bytes]) -> bytes:
    """The handle of an OPEN or OPENDIR. One that nobody waits for any more is closed when it comes."""

    def close(late: Slot[bytes]) -> None:
        if late.error is None:
            session.start_close(late.result())

    try:
        return await slot.wait()
    except BaseException:
        on_filled(slot, close)  # it may be here already, come just as the waiting was cancelled
        raise


def abandon(session: Session, request: Request[T], failure: OSError) -> bool:
    """``request`` fails although its session lives; a handle that comes late is closed. False if it is no
    longer under way."""
    late = session.detach_request(request)
    if late is None:
        return False
    if request.kind.reach is Reach.OPENS:

        def close(slot: Slot[T]) -> None:
            if slot.error is None:
                session.start_close(cast(bytes, slot.result()))

        late.callback = close
    request.fail(failure)
    return True
