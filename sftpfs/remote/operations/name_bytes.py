"""Names that are no UTF-8, on a server that may keep characters in their place.

If a server's library decodes names (those of Node's ssh2), it puts U+FFFD there. Then two names are one, and
a file written by one name takes the content of the other's. REALPATH, which changes nothing, shows such a
server. Used by ``remote.client`` and ``remote.operations.name_changes``.
"""

from __future__ import annotations

import errno
import posixpath

from sftpfs.errors import StatusError, error
from sftpfs.remote.operations.retry import retry_idempotent
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.pool.pool import ConnectionPool

TRAIT = "keeps_names"


async def check_name(pool: ConnectionPool, path: bytes) -> None:
    """EILSEQ if the server is known to have another name in place of the last one of ``path``, or shows one
    now. No wait for UTF-8, and none once the server was seen to keep names; otherwise one."""
    traits, name = pool.traits, posixpath.basename(path)
    if name.isascii() or traits.sure(TRAIT) or _is_utf8(name):
        return

    async def work(connection: Connection) -> bytes | None:
        try:
            return await connection.session.start_realpath(path).wait()
        except StatusError:
            return None

    if traits.known.keeps_names:
        canonical = await retry_idempotent(pool, work, pool.looking())
        if canonical is None:
            return
        if posixpath.basename(canonical) == name:
            traits.seen([TRAIT])
            return
        traits.contradict(TRAIT, "REALPATH of a name told another one")
    raise error(errno.EILSEQ, "the server has names of UTF-8 only")


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
