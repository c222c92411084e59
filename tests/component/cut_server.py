"""A server whose connection is cut as a request passes: before the server has it, or its reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from sftpfs.config import Endpoint, TransportConfig, TransportKind
from sftpfs.remote.client import SftpRemote
from sftpfs.transport.sockets import SocketConnector
from sftpfs.types import OpenFlags
from tests.component.sftp_servers import run, serving
from tests.harness.counting import CountingProxy

CREATE = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE

both_ways = pytest.mark.parametrize("carried_out", [False, True], ids=["before", "after"])


def connector(proxy: CountingProxy) -> SocketConnector:
    return SocketConnector(
        TransportConfig(kind=TransportKind.TCP, direct_port=proxy.port), Endpoint("127.0.0.1")
    )


def operate(proxy: CountingProxy, work: Callable[[SftpRemote], Awaitable[None]]) -> None:
    """Run ``work``; every cut asked for must have come."""

    async def test() -> None:
        async with serving(connector(proxy), max_connections=1) as (server, pool):
            await work(server)
            assert pool.statistics()["reconnects"] >= 1
        assert proxy.cuts_left() == 0

    run(test)
