"""``SftpRemote`` over an sftp-server that differs from OpenSSH's in one respect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from sftpfs.config import Endpoint, TransportConfig, TransportKind
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.transport.sockets import SocketConnector
from tests.component.sftp_servers import encoded, run, serving
from tests.harness.foreign import ForeignServer


def operate(
    respect: str, directory: Path, work: Callable[[SftpRemote, ConnectionPool, bytes], Awaitable[None]]
) -> list[str]:
    """Run ``work`` with a server that is altered in ``respect`` (``harness.foreign_server``), its pool and
    the path of ``directory``; the names of all requests."""
    with ForeignServer(respect) as foreign:
        transport = TransportConfig(kind=TransportKind.TCP, direct_port=foreign.port)

        async def test() -> None:
            connector = SocketConnector(transport, Endpoint("127.0.0.1"))
            async with serving(connector, max_connections=1) as (server, pool):
                await work(server, pool, encoded(directory))

        run(test)
        return foreign.requests()


async def asked(pool: ConnectionPool, work: Awaitable[object], kinds: Sequence[str]) -> dict[str, int]:
    """How many requests of each of ``kinds`` ``work`` makes."""
    connection = pool.metadata_nowait()
    assert connection is not None
    counts = connection.session.statistics.requests
    before = {name: counts.get(name, 0) for name in kinds}
    await work
    return {name: counts.get(name, 0) - before[name] for name in kinds if counts.get(name, 0) > before[name]}
