"""Opens a file again whose mode keeps its own owner out.

A program that has a file open goes on with it, whatever the file's mode is: git makes its objects with 0444.
If the handle, or the reply to the OPEN that made the file, is lost with its connection, the file can only be
opened by name. The owner may give the file the mode bits that OPEN needs, for as long as that takes: two
requests beside it.

Used by ``remote.files.reopen`` and ``remote.client``.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError
from sftpfs.remote.requests.setattr_request import set_named, set_open
from sftpfs.remote.slots import on_filled
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, Attributes, OpenFlags

T = TypeVar("T")

ACCESS = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.APPEND
"""The flags that a file is opened again with: never those that create or empty it."""


class OwnMode:
    """See the module. One object a file, or a request that makes one."""

    __slots__ = ("owed",)

    def __init__(self) -> None:
        self.owed = 0
        """Bits that were added, and may not have been taken back because the session was lost meanwhile."""

    async def open(
        self,
        session: Session,
        path: bytes,
        flags: OpenFlags,
        seen: Attributes,
        attempt: Callable[[], Awaitable[T]],
        handle_of: Callable[[T], bytes | None],
    ) -> T:
        """Runs ``attempt``, which opens ``path`` for ``flags``, a file that is ``seen`` there. ``handle_of``
        takes the handle out of its result. Raises what it raises."""
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
        """Gives the file its ``own`` mode again. Nobody waits: what is sent by the handle comes behind it. If
        the session is lost before, so is the handle, and the next one makes up for it."""

        def done(answer: Slot[None]) -> None:
            if not isinstance(answer.error, SessionLostError):
                self.owed = 0

        change = AttributeChange(mode=own)
        if handle is None:
            on_filled(set_named(session, path, change), done)
        else:
            on_filled(set_open(session, handle, path, change), done)


def _needed(flags: OpenFlags) -> int:
    """The owner's bits that the server asks for."""
    read = stat.S_IRUSR if OpenFlags.READ in flags else 0
    return read | (stat.S_IWUSR if OpenFlags.WRITE in flags else 0)
