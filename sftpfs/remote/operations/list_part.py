"""A directory's entries, a bounded number of them at a time, for whoever works through a directory of any
size.

Used by ``remote.client`` only. Unlike a listing that is shown, it also says what the path itself is, links
not followed: whoever changes what is in a directory must not be led elsewhere."""

from __future__ import annotations

import stat
from collections.abc import Callable, Collection
from functools import partial

from sftpfs.aio import Slot
from sftpfs.errors import StatusError
from sftpfs.remote.handles.handle_limit import HandleLimit
from sftpfs.remote.operations.batch_lstat import lstat_batch
from sftpfs.remote.operations.retry import retry_idempotent
from sftpfs.remote.outcome import errno_probe
from sftpfs.remote.paths import check_path
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.requests.read_directory import list_some
from sftpfs.remote.requests.stat_request import as_a_link
from sftpfs.remote.slots import value_or_none
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes, DirectoryEntry, PartialListing


async def list_part(
    pool: ConnectionPool, handle_limit: HandleLimit, path: bytes, most: int, leave_out: Collection[bytes]
) -> PartialListing:
    """LSTAT and a listing of ``path`` together, each OPENDIR right behind an LSTAT; no entry if it is no
    directory itself. See ``Remote.list_part``."""
    check_path(path)

    async def listed(session: Session, look: Callable[[], None]) -> tuple[list[DirectoryEntry], bool]:
        handle_limit.unowned += 1
        try:
            # Those left out may be the first that come, and are only left out at most.
            return await list_some(session, path, most + len(leave_out), look)
        finally:
            handle_limit.unowned -= 1

    async def work(connection: Connection) -> PartialListing:
        session = connection.session
        own: Slot[Attributes] | None = None
        link: Slot[bytes] | None = None

        def look() -> None:
            nonlocal own, link
            own = session.start_lstat(path)
            # A server that does not answer LSTAT is asked by STAT, which follows links.
            link = None if session.traits.known.answers_lstat else session.start_readlink(path)

        problem: StatusError | None = None
        entries: list[DirectoryEntry] = []
        complete = True
        try:
            # A server without room for the handle is asked again, after any time.
            entries, complete = await handle_limit.run_with_handle(connection, partial(listed, session, look))
        except StatusError as failed:
            problem = failed
        assert own is not None
        seen = await own.wait()
        target = await value_or_none(link)
        if target is not None:
            seen = as_a_link(target)
        if not stat.S_ISDIR(seen.mode):
            return PartialListing(seen, [], True)
        if problem is not None:
            raise await errno_probe.listing(session, problem, path) from None
        return PartialListing(seen, entries, complete)

    found = await retry_idempotent(pool, work, pool.looking())
    entries = (
        [entry for entry in found.entries if entry.name not in leave_out] if leave_out else found.entries
    )
    bare = [entry.name for entry in entries if entry.attributes is None]
    if bare:
        known = [entry for entry in entries if entry.attributes is not None]
        entries = known + await _look(pool, path, bare)
    return found._replace(entries=entries)


async def _look(pool: ConnectionPool, path: bytes, names: list[bytes]) -> list[DirectoryEntry]:
    """``names`` with the attributes that the server's listing does not report, as far as it reports any."""
    above = path if path.endswith(b"/") else path + b"/"
    answers = await lstat_batch(pool, Session.start_lstat, [above + name for name in names])
    return [
        DirectoryEntry(name, answer if isinstance(answer, Attributes) else None)
        for name, answer in zip(names, answers, strict=True)
    ]
