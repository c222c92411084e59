"""``Server`` over an sftp-server that differs from OpenSSH's in one respect."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from sftpfs.remote.pool import Pool
from sftpfs.remote.server import Server
from tests.component.sftp_servers import ServerConnector, encoded, run, serving


def operate(
    respects: str,
    directory: Path,
    work: Callable[[Server, Pool, bytes], Awaitable[None]],
    extensions: str = "",
    *arguments: str,
) -> None:
    """Run ``work`` with a server that is altered in ``respects`` (``harness.altered_server``), its pool and
    the path of ``directory``."""

    async def test() -> None:
        connector = ServerConnector()
        connector.command = [
            sys.executable, "-m", "tests.harness.altered_server", respects, extensions, *arguments
        ]  # fmt: skip
        async with serving(connector, max_connections=1) as (server, pool):
            await work(server, pool, encoded(directory))

    run(test)


async def asked(pool: Pool, work: Awaitable[object], kinds: Sequence[str]) -> dict[str, int]:
    """How many requests of each of ``kinds`` ``work`` makes."""
    connection = pool.metadata_nowait()
    assert connection is not None
    counts = connection.session.statistics.requests
    before = {name: counts.get(name, 0) for name in kinds}
    await work
    return {name: counts.get(name, 0) - before[name] for name in kinds if counts.get(name, 0) > before[name]}
