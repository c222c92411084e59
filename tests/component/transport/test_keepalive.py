"""An idle connection to a server that does not reply to keepalive@openssh.com, and one that is gone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from sftpfs.config import Endpoint, PoolConfig
from sftpfs.remote.pool.pool import ConnectionPool
from tests.harness.delay import DelayProxy
from tests.transport_helpers import connector, peer, run

INTERVAL, COUNT = 1.5, 2
"""The first is what an answer may take on a busy machine."""
IDLE = 5 * INTERVAL
"""Seconds: a connection that counted what is not replied to would be given up after three intervals."""


def port_of(options: tuple[tuple[str, str], ...]) -> int:
    """The peer's port."""
    return int(dict(options)["Port"])


def looks(pool: ConnectionPool) -> int:
    """LSTAT requests so far."""
    return int(pool.statistics()["total"]["requests"].get("lstat", 0))


@pytest.mark.parametrize("mode", ["unimplemented", "mute"])
def test_any_packet_is_life_and_who_sends_none_is_asked_by_sftp(tmp_path: Path, mode: str) -> None:
    with peer(tmp_path, mode) as config:
        config = replace(config, keepalive_interval=INTERVAL, keepalive_count=COUNT)

        async def check() -> None:
            async with connector(config, Endpoint("127.0.0.1")) as made, trio.open_nursery() as nursery:
                pool = ConnectionPool(made, PoolConfig(max_connections=1), nursery)
                await pool.start(interactive=False)
                transport = pool.shared
                assert transport is not None
                before = looks(pool)
                with trio.move_on_after(IDLE):
                    await transport.closed.wait()
                assert not transport.closed.is_set(), transport.reason
                assert (looks(pool) > before) == (mode == "mute")
                await pool.aclose()
                nursery.cancel_scope.cancel()

        run(check)


def test_a_server_that_is_gone_is_given_up(tmp_path: Path) -> None:
    with peer(tmp_path, "mute") as config, DelayProxy(port_of(config.ssh_options)) as proxy:
        words = dict(config.ssh_options)
        hosts = Path(words["UserKnownHostsFile"])
        hosts.write_text(re.sub(r":\d+ ", f":{proxy.port} ", hosts.read_text()))
        config = replace(
            config,
            keepalive_interval=INTERVAL,
            keepalive_count=COUNT,
            ssh_options=tuple((words | {"Port": str(proxy.port)}).items()),
        )

        async def check() -> None:
            async with connector(config, Endpoint("127.0.0.1")) as made, trio.open_nursery() as nursery:
                pool = ConnectionPool(made, PoolConfig(max_connections=1), nursery)
                await pool.start(interactive=False)
                transport = pool.shared
                assert transport is not None
                proxy.hole(0)
                await transport.closed.wait()
                assert "keepalive" in transport.reason
                await pool.aclose()
                nursery.cancel_scope.cancel()

        run(check)
