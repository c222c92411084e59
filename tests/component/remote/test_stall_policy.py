"""One server process stops while another runs: what is asked again, what is not, and what is left of it."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from sftpfs.histogram import Histogram
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.pool.stall_policy import ENOUGH, MOST_AT_ONCE
from sftpfs.types import AttributeChange, OpenFlags
from tests.component.sftp_servers import ServerConnector, encoded, run, serving, until

KINDS = (
    "lstat",
    "stat",
    "open",
    "opendir",
    "readdir",
    "read",
    "fstat",
    "mkdir",
    "readlink",
    "statvfs",
    "write",
)
READ = OpenFlags.READ
CREATE = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE


@asynccontextmanager
async def stalling(
    connector: ServerConnector, **config: int
) -> AsyncIterator[tuple[SftpRemote, ConnectionPool]]:
    """A server whose usual latencies are known."""
    async with serving(connector, timeout=50, **config) as (server, pool):
        for kind in KINDS:
            known = pool._past.latencies.setdefault(kind, Histogram())
            for _ in range(ENOUGH):
                known.count(0.001)
        try:
            yield server, pool
        finally:
            connector.processes[0].send_signal(signal.SIGCONT)


def stop(connector: ServerConnector) -> None:
    """The first connection goes silent."""
    connector.processes[0].send_signal(signal.SIGSTOP)


def handles(connector: ServerConnector, directory: Path) -> int:
    """What the first server process has open below ``directory``."""
    held = Path(f"/proc/{connector.processes[0].pid}/fd")
    links = [os.readlink(fd) for fd in held.iterdir()]
    return sum(link.startswith(str(directory)) for link in links)


def test_looks_are_answered_by_a_connection_opened_for_them(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    connector = ServerConnector()

    async def test() -> None:
        async with stalling(connector, max_connections=2) as (server, pool):
            name = encoded(tmp_path / "file")
            held, _ = await server.open(name, READ, 0, lambda: name)
            stop(connector)
            async with trio.open_nursery() as nursery:
                for path in ("file", "link"):
                    nursery.start_soon(server.lstat, encoded(tmp_path / path))
                nursery.start_soon(server.list_directory, encoded(tmp_path))
                nursery.start_soon(server.statvfs, encoded(tmp_path))
                nursery.start_soon(server.readlink, encoded(tmp_path / "link"))
                nursery.start_soon(server.open, name, READ, 0, lambda: name)
                with pytest.raises(OSError, match="No such file"):
                    await server.lstat(encoded(tmp_path / "none"))
            assert await held.start_read(0, 100).wait() == b"content"
            assert (await held.start_fstat().wait()).size == 7
            figures = pool.statistics()
            assert figures["reconnects"] == 0 and len(figures["connections"]) == 2
            tally = figures["stalls"]
            assert tally["answered_first"] == tally["sent_again"] > 0 and tally["under_way"] == 0
            assert tally["moved"] >= 2, "OPEN and OPENDIR begin again elsewhere"
            connector.processes[0].send_signal(signal.SIGCONT)
            held.close()
            first = pool.metadata_nowait()
            assert first is not None
            await until(lambda: not first.session.outstanding)
            await first.session.start_lstat(encoded(tmp_path)).wait()
            assert handles(connector, tmp_path) == 0, "a late handle was kept"

    run(test)


def test_no_file_is_opened_again_where_each_is_to_have_one_handle(tmp_path: Path) -> None:
    """Looks are answered by the other connection all the same; what has to do with a file waits."""
    (tmp_path / "file").write_bytes(b"content")
    connector = ServerConnector()

    async def test() -> None:
        async with stalling(connector, max_connections=2, several_handles=False) as (server, pool):
            name = encoded(tmp_path / "file")
            held, _ = await server.open(name, READ, 0, lambda: name)
            stop(connector)
            read = held.start_read(0, 100)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.open, name, READ, 0, lambda: name)
                await server.lstat(name)
                await server.list_directory(encoded(tmp_path))
                await server.lstat(name)
                assert not read.done
                connector.processes[0].send_signal(signal.SIGCONT)
            assert await read.wait() == b"content"
            opened = [one["requests"].get("open", 0) for one in pool.statistics()["connections"]]
            assert opened == [2, 0]

    run(test)


def test_the_first_fstat_of_an_unknown_server_takes_no_handle_with_it(tmp_path: Path) -> None:
    """It is looked at for whether the server answers any; what was written by the handle may be decided as
    that is closed."""
    connector = ServerConnector("-P", "limits,fstatvfs")

    async def test() -> None:
        async with stalling(connector, max_connections=2) as (server, pool):
            name = encoded(tmp_path / "file")
            file, _ = await server.open(name, OpenFlags.WRITE | OpenFlags.CREATE, 0o644, lambda: name)
            await file.start_write(0, b"content").wait()
            assert not pool.traits.held("answers_fstat")
            stop(connector)
            told = file.start_fstat_behind()
            await server.lstat(name)
            await server.lstat(name)
            connector.processes[0].send_signal(signal.SIGCONT)
            assert (await told.wait()).size == 7
            assert handles(connector, tmp_path) == 1
            await file.start_hand_over().wait()
            assert handles(connector, tmp_path) == 0

    run(test)


def test_only_so_many_are_under_way_twice(tmp_path: Path) -> None:
    connector = ServerConnector()

    async def test() -> None:
        async with stalling(connector, max_connections=2) as (server, pool):
            pool.bulk.demand_spare()
            await until(lambda: pool.bulk.connections)
            stop(connector)
            connector.processes[1].send_signal(signal.SIGSTOP)
            async with trio.open_nursery() as nursery:
                for _ in range(3 * MOST_AT_ONCE):
                    nursery.start_soon(server.lstat, encoded(tmp_path))
                stalls = pool._hedging.stalls
                await until(lambda: stalls.refused)
                assert stalls.under_way <= MOST_AT_ONCE
                connector.processes[1].send_signal(signal.SIGCONT)
            assert stalls.under_way == 0

    run(test)


def test_what_is_sent_behind_a_change_waits_with_it(tmp_path: Path) -> None:
    """It is meant to see the change; elsewhere it would not."""
    (tmp_path / "file").write_bytes(b"content")
    connector = ServerConnector()

    async def test() -> None:
        async with stalling(connector, max_connections=2) as (server, pool):
            name = encoded(tmp_path / "file")
            file, _ = await server.open(name, CREATE, 0o644, lambda: name)
            stop(connector)
            write = file.start_write(0, b"CONTENT and more")
            size = file.start_fstat()
            async with trio.open_nursery() as nursery:
                made = trio.Event()

                async def make() -> None:
                    assert (await server.mkdir(encoded(tmp_path / "new"), 0o755)).kind
                    changed = await server.setattr(name, AttributeChange(mode=0o600))
                    assert changed.mode & 0o777 == 0o600
                    made.set()

                nursery.start_soon(make)
                first = pool.metadata_nowait()
                assert first is not None
                await until(lambda: first.stalled and pool.bulk.connections)
                assert (await server.lstat(name)).size == 7, "others look elsewhere"
                assert not (write.done or size.done or made.is_set())
                connector.processes[0].send_signal(signal.SIGCONT)
            await write.wait()
            assert (await size.wait()).size == 16
            assert pool.statistics()["stalls"]["moved"] == 0

    run(test)


def test_nothing_is_asked_again_where_there_may_be_one_connection(tmp_path: Path) -> None:
    connector = ServerConnector()

    async def test() -> None:
        async with stalling(connector, max_connections=1) as (server, pool):
            stop(connector)
            first = pool.metadata_nowait()
            assert first is not None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.lstat, encoded(tmp_path))
                await until(lambda: first.stalled)
                connector.processes[0].send_signal(signal.SIGCONT)
            assert pool.statistics()["stalls"]["sent_again"] == 0
            assert connector.attempts == 1

    run(test)


def test_silence_ends_the_session_where_nobody_underneath_asks(tmp_path: Path) -> None:
    connector = ServerConnector()
    connector.silence = 2.0

    async def test() -> None:
        async with stalling(connector, max_connections=1) as (server, pool):
            stop(connector)
            assert (await server.mkdir(encoded(tmp_path / "new"), 0o755)).kind
            assert pool.statistics()["reconnects"] == 1

    run(test)
