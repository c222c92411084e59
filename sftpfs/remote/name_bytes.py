"""Names that are no UTF-8, on a server that may have characters in place of them.

A server whose library decodes names puts U+FFFD there (those of Node's ssh2), so that two names are one, and
a file written by the one takes the other's content. REALPATH, which changes nothing, tells such a server.
Used by ``remote.server`` and ``remote.name_changes``.
"""

from __future__ import annotations

import errno
import posixpath

from sftpfs.errors import StatusError, error
from sftpfs.remote.connection import Connection
from sftpfs.remote.pool import Pool
from sftpfs.remote.retry import repeat

TRAIT = "keeps_names"


async def check_name(pool: Pool, path: bytes) -> None:
    """EILSEQ where the server is known to have another name in place of the last one of ``path``, or tells
    one now. No wait for UTF-8, and none once the server was seen to keep names; else one."""
    traits, name = pool.traits, posixpath.basename(path)
    if name.isascii() or traits.sure(TRAIT) or _is_utf8(name):
        return

    async def work(connection: Connection) -> bytes | None:
        try:
            return await connection.session.start_realpath(path).wait()
        except StatusError:
            return None

    if traits.known.keeps_names:
        told = await repeat(pool, work, pool.looking())
        if told is None:
            return
        if posixpath.basename(told) == name:
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
