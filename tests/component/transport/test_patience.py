"""A login that takes long because the server asks somebody elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from sftpfs.config import PoolConfig, TransportKind
from sftpfs.errors import Failure
from sftpfs.remote.pool.pool import ConnectionPool
from tests.sshd import Sshd
from tests.transport_helpers import Script, configure, connector, endpoint_of, failure_of

LIMIT = 90.0
SILENT = 4
"""Seconds; longer than a connection may take here, and than an attempt goes without others beside it."""


def by_command(script: str) -> str:
    """Lines of sshd_config: keys are what ``script`` prints."""
    lines = "AuthorizedKeysFile none\nAuthorizedKeysCommandUser root\n"
    return f'{lines}AuthorizedKeysCommand /bin/sh -c "{script}"\n'


@pytest.mark.parametrize("program", ["asyncssh", "ssh"])
def test_a_silent_login_is_waited_for_and_no_other_is_begun_beside_it(tmp_path: Path, program: str) -> None:
    slow = tmp_path / "slow"
    keys = tmp_path / "sshd" / "authorized_keys"
    command = by_command(f"[ ! -e {slow} ] || sleep {SILENT}; cat {keys}")

    async def check(server: Sshd) -> None:
        kind = TransportKind.COMMAND if program == "ssh" else TransportKind.ASYNCSSH
        config = configure(server, kind=kind, ssh_command=("ssh",), connect_timeout=2.0)
        with trio.fail_after(LIMIT):
            async with (
                connector(config, endpoint_of(server), Script()) as made,
                trio.open_nursery() as nursery,
            ):
                pool = ConnectionPool(made, PoolConfig(max_connections=1), nursery)
                await pool.start(interactive=True)
                first = pool.metadata_nowait()
                slow.touch()
                before = server.log().count("Connection from")
                server.drop_connections()
                while await pool.metadata() is first:  # noqa: ASYNC110 - until the loss is noticed
                    await trio.sleep(0.01)
                assert server.log().count("Connection from") == before + 1
                await pool.aclose()
                nursery.cancel_scope.cancel()

    with Sshd(tmp_path / "sshd", config_extra=command) as server:
        trio.run(check, server)


def test_a_login_that_nobody_agreed_to_was_refused(tmp_path: Path) -> None:
    """The next would ask them again, so it is tried as rarely as after a wrong password."""
    command = by_command("sleep 60") + "LoginGraceTime 7\n"
    with Sshd(tmp_path / "sshd", config_extra=command) as server:
        error = failure_of(configure(server), endpoint_of(server))
    assert error.failure is Failure.AUTHENTICATION
    assert "s into the login" in error.message and "LoginGraceTime" in error.message
