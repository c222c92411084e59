"""Gives a file a size, on a server that may not do so by SETSTAT, or not keep the content before it.

If a server is known to do both, it is one request. Otherwise, if SETSTAT is refused or has no effect, a file
is made longer by a byte written at its new end, and emptied by an OPEN that empties it. To cut it shorter
there is only SETSTAT: behind the first one the content that must stay is checked, and put back if it is gone.
Used by ``remote.files.pooled_file`` and ``remote.operations.setattr_by_path``. ``server_traits`` gets what is
learned.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, StatusError, error
from sftpfs.remote.handles.handle_limit import HandleLimit
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.requests.open_request import keeps_what_is_there, open_in_part, size_before
from sftpfs.remote.requests.stat_request import REFUSED, start_stat_open
from sftpfs.remote.slots import on_filled
from sftpfs.server_traits import ServerTraits
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, OpenFlags

SIZES = "sets_sizes"
KEEPS = "resizes_in_place"

HEAD = 32768
"""Bytes of what is kept that are looked at, and put back: every server takes them in one request."""


def sure_of_sizes(traits: ServerTraits) -> bool:
    """Whether SETSTAT of a size is known to do what it says."""
    return traits.sure(SIZES) and traits.sure(KEEPS)


@dataclass(frozen=True, slots=True)
class Resizing:
    """One file that must get another size."""

    connection: Connection
    handle_limit: HandleLimit
    path: bytes | None
    """None: it has none any more."""
    plain: Callable[[AttributeChange], Slot[None]]
    """Sets attributes as any are set."""
    handle: bytes | None = None
    """One that is open, if any is."""
    writing: bytes | None = None
    """The same where it may write anywhere."""

    @property
    def session(self) -> Session:
        """Where it is asked."""
        return self.connection.session

    @property
    def traits(self) -> ServerTraits:
        """What is known of the server."""
        return self.session.traits

    def start(self, pool: ConnectionPool, size: int) -> Slot[None]:
        """As ``set``; one request, for which no task is made, where that is known to be enough."""
        result: Slot[None] = Slot()
        if not sure_of_sizes(self.traits):
            pool.spawn(partial(self._fill, result, partial(self.set, size)))
            return result

        def answered(slot: Slot[None]) -> None:
            failure = slot.error
            if failure is None:
                result.set(None)
            elif isinstance(failure, StatusError) and failure.status in REFUSED:
                pool.spawn(partial(self._fill, result, partial(self.set_otherwise, size, failure)))
            else:
                result.fail(failure)

        on_filled(self.plain(AttributeChange(size=size)), answered)
        return result

    async def set(self, size: int) -> None:
        """Gives it ``size`` bytes. Raises OSError: EIO if the server did not, though it said so, EOPNOTSUPP
        if it is known not to. Several waits until the server was seen to do it."""
        if size == 0:
            await self._empty()
            return
        there = await self._size()
        if size > there:
            await self._lengthen(size)
        elif size < there:
            await self._shorten(size)

    async def set_otherwise(self, size: int, refused: StatusError) -> None:
        """Does it without SETSTAT, which was ``refused``; raises that if there is no other way."""
        try:
            if size == 0:
                await self._open_to_empty()
                return
            there = await self._size()
            if size < there:
                raise refused
            if size > there:
                await self._lengthen(size)
        except SessionLostError:
            raise
        except OSError:
            raise refused from None

    async def _fill(self, result: Slot[None], work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except OSError as failure:
            result.fail(failure)
        else:
            result.set(None)
        finally:
            if not result.done:  # cancelled: the mount ends
                result.fail(SessionLostError("the file system is being unmounted"))

    async def _size(self) -> int:
        if self.handle is not None:
            return (await start_stat_open(self.session, self.handle, self.path or b".").wait()).size
        assert self.path is not None
        return (await self.session.start_stat(self.path).wait()).size

    async def _empty(self) -> None:
        refused: StatusError | None = None
        if self.traits.known.sets_sizes:
            try:
                await self.plain(AttributeChange(size=0)).wait()
            except StatusError as failed:
                if failed.status not in REFUSED:
                    raise
                refused = failed
            else:
                left = 0 if self.traits.sure(SIZES) else await self._size()
                if not left:
                    self.traits.seen([SIZES])
                    return
                self.traits.contradict(SIZES, f"0 bytes were set, and the file has {left}")
        if refused is not None:
            await self.set_otherwise(0, refused)
        else:
            await self._open_to_empty()

    async def _open_to_empty(self) -> None:
        await self._closed(await self._opened(OpenFlags.WRITE | OpenFlags.TRUNCATE))

    async def _lengthen(self, size: int) -> None:
        if self.writing is not None:
            await self.session.start_write(self.writing, size - 1, b"\0").wait()
            return
        handle = await self._opened(OpenFlags.WRITE)
        try:
            await self.session.start_write(handle, size - 1, b"\0").wait()
        finally:
            await self._closed(handle)

    async def _shorten(self, size: int) -> None:
        traits = self.traits
        if not (traits.known.sets_sizes and traits.known.resizes_in_place):
            raise error(errno.EOPNOTSUPP, "this server cuts no file shorter but to nothing")
        looks = traits.doubtful(KEEPS) and self.path is not None and not self.session.one_at_a_time
        kept = await self._head(min(size, HEAD)) if looks else b""
        await self.plain(AttributeChange(size=size)).wait()
        found = await self._size()
        if found != size:
            traits.contradict(SIZES, f"{size} bytes were set, and the file has {found}")
            raise error(errno.EIO, "the server did not set the size")
        traits.seen([SIZES])
        if not any(kept):
            return  # it shows nothing
        if any(await self._head(len(kept))):
            traits.seen([KEEPS])
            return
        traits.contradict(KEEPS, f"{size} bytes were to be kept, and are zeros")
        if len(kept) < size:
            raise error(errno.EIO, "the server emptied the file as it set its size")
        handle = await self._opened(OpenFlags.WRITE)
        try:
            await self.session.start_write(handle, 0, kept).wait()
        finally:
            await self._closed(handle)

    async def _head(self, length: int) -> bytes:
        """The first bytes of the file; none if it may not be read."""
        try:
            handle = await self._opened(OpenFlags.READ)
        except StatusError:
            return b""
        try:
            # lsh answers a shorter READ with more than was asked
            return bytes(await self.session.start_read(handle, 0, HEAD).wait() or b"")[:length]
        finally:
            self.session.start_close(handle)

    async def _opened(self, flags: OpenFlags) -> bytes:
        """A further handle."""
        if self.path is None:
            raise error(errno.EOPNOTSUPP, "the file has no name, and the server needs one for this")
        session, path = self.session, self.path
        before = await size_before(session, path, flags)
        handle = await self.handle_limit.run_with_handle(
            self.connection, partial(open_in_part, session, path, flags)
        )
        if before:
            try:
                keeps_what_is_there(session, before, await start_stat_open(session, handle, path).wait())
            except BaseException:
                session.start_close(handle)
                raise
        return handle

    async def _closed(self, handle: bytes) -> None:
        """The CLOSE of what was written says whether it is there."""
        await self.session.start_close(handle).wait()
