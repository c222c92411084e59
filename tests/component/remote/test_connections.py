"""The pool over real sftp-server processes: loss, return, and deadlines."""

from __future__ import annotations

import errno
import signal
from functools import partial
from pathlib import Path

import pytest
import trio

from sftpfs.errors import Failure, MountError, SessionLostError
from sftpfs.remote.pool.reconnect import IMPATIENCE
from sftpfs.types import OpenFlags
from tests.component import sftp_servers
from tests.component.sftp_servers import ServerConnector, encoded, run, until

TIMEOUT = 2.0

serving = partial(sftp_servers.serving, max_connections=1)
"""With the metadata connection alone: a server that looks far, as on a busy machine, gets another unasked."""


def test_next_request_reconnects(tmp_path: Path) -> None:
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector) as (server, pool):
            await server.mkdir(encoded(tmp_path / "a"), 0o755)
            first = pool.metadata_nowait()
            connector.processes[0].kill()
            await until(lambda: pool.metadata_nowait() is not first)
            assert (await server.lstat(encoded(tmp_path / "a"))).kind
            figures = pool.statistics()
            assert figures["reconnects"] == 1
            assert [one["generation"] for one in figures["connections"]] == [2]
            # the transport outlived its session: no new authentication was needed
            assert connector.attempts == 1

    run(test)


def test_how_far_the_server_is_is_measured_anew_with_a_new_connection(tmp_path: Path) -> None:
    """A laptop comes from the server's own network to one far away."""
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector) as (server, pool):
            await server.lstat(encoded(tmp_path))
            pool.link.round_trip = 1e-9
            first = pool.metadata_nowait()
            connector.processes[0].kill()
            await until(lambda: pool.metadata_nowait() is not first)
            await server.lstat(encoded(tmp_path))
            assert 1e-9 < pool.link.round_trip < 60

    run(test)


def test_the_end_of_a_file_tells_nothing_of_the_rate(tmp_path: Path) -> None:
    """It comes at once over a slow link, too, whatever was asked for."""
    connector = ServerConnector()
    path = tmp_path / "file"
    path.write_bytes(bytes(8000))

    async def test() -> None:
        async with serving(connector) as (server, pool):
            file, _ = await server.open(encoded(path), OpenFlags.READ, 0, lambda: encoded(path))
            down = pool.link.down
            down.rate, down.room = 10e3, 8192.0
            for at in (8000, 4000):
                assert bytes(await file.start_read(at, 8192).wait()) == bytes(8000 - at)
            assert (down.rate, down.room, down.under_way) == (10e3, 8192.0, 0)
            file.close()

    run(test)


def test_many_waiters_share_one_reconnect(tmp_path: Path) -> None:
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector) as (server, pool):
            first = pool.metadata_nowait()
            connector.transports[0].close()
            await until(lambda: pool.metadata_nowait() not in (None, first))
            attempts = connector.attempts  # a busy machine may have needed several
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(server.lstat, encoded(tmp_path))
            assert connector.attempts == attempts

    run(test)


def test_stopped_server_gives_an_errno_within_the_deadline(tmp_path: Path) -> None:
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector, timeout=TIMEOUT) as (server, _):
            connector.processes[0].send_signal(signal.SIGSTOP)
            with trio.fail_after(TIMEOUT + 5), pytest.raises(SessionLostError) as raised:
                await server.lstat(encoded(tmp_path))
            assert raised.value.errno == errno.ETIMEDOUT
            assert connector.transports[0].closed.is_set() is False
            assert (await server.lstat(encoded(tmp_path))).kind
            assert connector.transports[0].closed.is_set(), "a transport that timed out was kept"

    run(test)


@pytest.mark.parametrize("how", ["refused", "blackhole"])
def test_gone_server_fails_within_the_deadline_then_at_once(tmp_path: Path, how: str) -> None:
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector, timeout=TIMEOUT) as (server, pool):
            connector.refusal = Failure.REFUSED
            connector.blackhole = how == "blackhole"
            connector.transports[0].close()
            await until(lambda: pool.metadata_nowait() is None)
            with trio.fail_after(TIMEOUT + 5), pytest.raises(SessionLostError) as raised:
                await server.lstat(encoded(tmp_path))
            assert raised.value.errno == errno.ETIMEDOUT
            with trio.fail_after(5):
                for _ in range(3):
                    with pytest.raises(SessionLostError):
                        await server.lstat(encoded(tmp_path))
            if how == "blackhole":
                return
            connector.refusal = None
            while True:  # the server is back: seen within a back-off
                try:
                    assert (await server.lstat(encoded(tmp_path))).kind
                    return
                except SessionLostError:
                    await trio.sleep(0.05)

    run(test)


def test_short_outage_is_waited_out(tmp_path: Path) -> None:
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector) as (server, pool):
            connector.refusal = Failure.REFUSED
            connector.transports[0].close()
            await until(lambda: pool.metadata_nowait() is None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.lstat, encoded(tmp_path))
                await until(lambda: connector.attempts >= 3)
                connector.refusal = None

    run(test)


def test_an_attempt_that_hangs_does_not_hold_up_the_return(tmp_path: Path) -> None:
    """It began in a hole, and its packets are repeated ever more rarely."""
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector) as (server, pool):
            connector.blackhole = True
            connector.transports[0].close()
            await until(lambda: connector.attempts >= 2)
            hanging, begun = connector.attempts, trio.current_time()
            connector.blackhole = False
            with trio.fail_after(15):
                assert (await server.lstat(encoded(tmp_path))).kind
            most = 1 + (trio.current_time() - begun) / IMPATIENCE
            assert 1 <= connector.attempts - hanging <= most
            await until(lambda: len(pool.statistics()["connections"]) == 1)

    run(test)


def test_a_refused_login_fails_at_once_and_is_not_hammered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sftpfs.remote.pool.reconnect.REFUSED_BACK_OFF", 600.0)
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector) as (server, _):
            connector.refusal = Failure.AUTHENTICATION
            connector.transports[0].close()
            await until(lambda: connector.attempts >= 2)
            with trio.fail_after(15):
                for _ in range(5):
                    with pytest.raises(SessionLostError) as raised:
                        await server.lstat(encoded(tmp_path))
                    assert raised.value.errno == errno.EACCES
            assert connector.attempts == 2

    run(test)


def test_the_connection_returns_without_being_asked_for() -> None:
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector) as (_, pool):
            first = pool.metadata_nowait()
            connector.transports[0].close()
            await until(lambda: pool.metadata_nowait() not in (None, first))

    run(test)


def test_first_connection_fails_with_the_reason() -> None:
    connector = ServerConnector()
    connector.refusal = Failure.HOST_KEY_CHANGED

    async def test() -> None:
        with pytest.raises(MountError) as raised:
            async with serving(connector):
                raise AssertionError("connected")
        assert raised.value.failure is Failure.HOST_KEY_CHANGED

    run(test)


def test_a_program_that_is_no_sftp_server() -> None:
    connector = ServerConnector("-Q", "requests")  # prints text and ends

    async def test() -> None:
        with pytest.raises(MountError):
            async with serving(connector, timeout=TIMEOUT):
                raise AssertionError("connected")

    run(test)


def test_unmounting_ends_waiting_requests(tmp_path: Path) -> None:
    connector = ServerConnector()

    async def test() -> None:
        async with serving(connector) as (server, pool):
            connector.refusal = Failure.REFUSED
            connector.transports[0].close()
            await until(lambda: pool.metadata_nowait() is None)

            async def ask() -> None:
                with pytest.raises(SessionLostError):
                    await server.lstat(encoded(tmp_path))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await until(lambda: connector.attempts >= 2)
                await pool.aclose()

    run(test)
