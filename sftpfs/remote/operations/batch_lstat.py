"""Sends an LSTAT for each of many paths at once. Used by ``remote.client`` only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError
from sftpfs.remote.operations.retry import retry_idempotent
from sftpfs.remote.paths import check_path
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes

Look = Callable[[Session, bytes], Slot[Attributes]]

TOGETHER = 256
"""Looks in flight at once: a round trip each time costs little beside so many answers."""


async def lstat_batch(pool: ConnectionPool, look: Look, paths: Sequence[bytes]) -> list[Attributes | OSError]:
    """``look`` at each of ``paths``, together: its attributes, or the error. Raises SessionLostError."""
    found: list[Attributes | OSError] = []
    for first in range(0, len(paths), TOGETHER):
        found += await retry_idempotent(
            pool, partial(_look, look, paths[first : first + TOGETHER]), pool.looking()
        )
    return found


async def _look(look: Look, paths: Sequence[bytes], connection: Connection) -> list[Attributes | OSError]:
    found: list[Attributes | OSError] = []
    for slot in [_checked(look, connection.session, path) for path in paths]:
        try:
            found.append(await slot.wait())
        except SessionLostError:
            raise
        except OSError as failed:
            found.append(failed)
    return found


def _checked(look: Look, session: Session, path: bytes) -> Slot[Attributes]:
    """``look`` at ``path``. A path that no server can take fails as it would have on the server."""
    try:
        check_path(path)
    except OSError as refused:
        slot: Slot[Attributes] = Slot()
        slot.fail(refused)
        return slot
    return look(session, path)
