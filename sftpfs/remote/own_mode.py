"""What is open, and whose mode keeps its own owner out, is opened again.

Who has a file open goes on with it, whatever its mode: git makes its objects with 0444. Where the handle, or
the reply to the OPEN that made the file, is lost with its connection, the name is all there is to open it by.
The owner may lend the file the bits that OPEN needs, for as long as that takes: two requests beside it.

Used by ``remote.reopening`` and ``remote.server``.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError
from sftpfs.remote.api import OpenFlags
from sftpfs.remote.setting import set_named, set_open
from sftpfs.remote.waiting import when_done
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, Attributes

T = TypeVar("T")


class OwnMode:
    """See the module. One object a file, or a request that makes one."""

    __slots__ = ("owed",)

    def __init__(self) -> None:
        self.owed = 0
        """Bits that were lent, and may not have been taken back: the session was lost meanwhile."""

    async def open(
        self,
        session: Session,
        path: bytes,
        flags: OpenFlags,
        seen: Attributes,
        attempt: Callable[[], Awaitable[T]],
        handle_of: Callable[[T], bytes | None],
    ) -> T:
        """``attempt``, which opens ``path`` for ``flags``, a file that is ``seen`` there;
        ``handle_of`` tells the handle in what it gives. Raises what it raises."""
        mode = stat.S_IMODE(seen.mode)
        own = mode & ~self.owed
        lacking = _needed(flags) & ~mode
        try:
            made = await attempt()
        except OSError as problem:
            if problem.errno != errno.EACCES or not lacking:
                raise
            return await self._lent(session, path, own, mode | lacking, attempt, handle_of, problem)
        if own != mode:
            self._take_back(session, path, own, handle_of(made))
        return made

    async def _lent(
        self,
        session: Session,
        path: bytes,
        own: int,
        lent: int,
        attempt: Callable[[], Awaitable[T]],
        handle_of: Callable[[T], bytes | None],
        problem: OSError,
    ) -> T:
        self.owed |= lent & ~own
        set_named(session, path, AttributeChange(mode=lent))
        handle: bytes | None = None
        try:
            made = await attempt()
            handle = handle_of(made)
        except SessionLostError:
            raise
        except OSError:
            raise problem from None  # the file is not ours to change
        finally:
            self._take_back(session, path, own, handle)
        return made

    def _take_back(self, session: Session, path: bytes, own: int, handle: bytes | None) -> None:
        """The file gets its ``own`` mode. Nobody waits: what is asked by the handle comes behind it, and
        where the session is lost before, so is the handle, and the next to be had makes up for it."""

        def done(answer: Slot[None]) -> None:
            if not isinstance(answer.error, SessionLostError):
                self.owed = 0

        change = AttributeChange(mode=own)
        if handle is None:
            when_done(set_named(session, path, change), done)
        else:
            when_done(set_open(session, handle, path, change), done)


def _needed(flags: OpenFlags) -> int:
    """The owner's bits that the server asks for."""
    read = stat.S_IRUSR if OpenFlags.READ in flags else 0
    return read | (stat.S_IWUSR if OpenFlags.WRITE in flags else 0)
