"""A server that was taken to carry requests out in order, and is seen not to."""

from __future__ import annotations

import os
from pathlib import Path

from sftpfs.remote.client import SftpRemote
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.types import OpenFlags
from tests.component import altered
from tests.component.altered import asked
from tests.component.sftp_servers import ServerConnector, encoded, run, serving, until

SIZE = 5000


def test_a_size_from_before_what_was_acknowledged_is_not_believed(tmp_path: Path) -> None:
    """And shows that such a server keeps no order: the sessions that rely on it end."""

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        name = base + b"/made"
        flags = OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE
        file, _ = await server.open(name, flags, 0o644, lambda: name)
        assert pool.traits.known.carries_out_in_order
        first = pool.metadata_nowait()
        writing, told = file.start_write(0, b"x" * SIZE), file.start_fstat_behind()
        await writing.wait()
        assert (await told.wait()).size == SIZE
        assert not pool.traits.known.carries_out_in_order
        again, behind = file.start_write(SIZE, b"y" * SIZE), file.start_fstat_behind()
        await again.wait()
        assert (await behind.wait()).size == 2 * SIZE
        second = pool.metadata_nowait()
        assert second is not None and second is not first and second.session.order is not None
        file.close()

    altered.operate("looks before it writes", tmp_path, work)
    assert (tmp_path / "made").read_bytes() == b"x" * SIZE + b"y" * SIZE


def test_further_sessions_end_too(tmp_path: Path) -> None:
    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        pool.traits.contradict("carries_out_in_order", "elsewhere")
        connection = pool.metadata_nowait()
        assert connection is not None
        await until(lambda: not connection.live)
        assert await server.lstat(base)

    altered.operate("looks before it writes", tmp_path, work)


def test_what_another_client_cut_off_is_its_change(tmp_path: Path) -> None:
    """OpenSSH's is asked once more and then believed; nothing is asked again where nothing was cut off."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    name = encoded(path)

    async def test() -> None:
        async with serving(ServerConnector(), max_connections=1) as (server, pool):
            file, _ = await server.open(name, OpenFlags.WRITE, 0, lambda: name)

            async def settle() -> None:
                assert (await file.start_fstat_behind().wait()).size == os.stat(path).st_size

            await file.start_write(0, b"x" * SIZE).wait()
            assert await asked(pool, settle(), ("FSTAT", "fstat")) == {"fstat": 1}
            await file.start_write(SIZE, b"x").wait()
            os.truncate(path, 1000)
            assert await asked(pool, settle(), ("FSTAT", "fstat")) == {"fstat": 2}
            os.truncate(path, 100)
            assert await asked(pool, settle(), ("FSTAT", "fstat")) == {"fstat": 1}
            assert pool.traits.known.carries_out_in_order
            file.close()

    run(test)
