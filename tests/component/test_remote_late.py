"""A file open from memory alone: when it is opened on the server, and as what."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from sftpfs.remote.api import RemoteFile
from sftpfs.remote.late import OPENED_AFTER
from sftpfs.remote.pool import Pool
from sftpfs.remote.server import Server
from sftpfs.types import Attributes
from tests.component.sftp_servers import ServerConnector, encoded, run, serving, until

BEFORE = 1_000_000_000


class Late:
    """A file with content, known, and open from memory."""

    def __init__(self, server: Server, pool: Pool, path: Path) -> None:
        self.server = server
        self.pool = pool
        self.path = path
        self.known: Attributes | None = None

    async def open(self) -> RemoteFile:
        """The file as it is now, and an open of it that asks the server nothing."""
        self.known = await self.server.lstat(encoded(self.path))
        return self.server.open_later(lambda: encoded(self.path), lambda: self.known)

    @property
    def opens(self) -> int:
        """How often the server was asked to open."""
        connection = self.pool.metadata_nowait()
        assert connection is not None
        return connection.session.statistics.requests.get("open", 0)


def with_late(tmp_path: Path, work: Callable[[Late], Awaitable[None]]) -> None:
    """Run ``work``."""
    path = tmp_path / "file"
    put(path, b"content")

    async def test() -> None:
        async with serving(ServerConnector(), max_connections=1) as (server, pool):
            await work(Late(server, pool, path))

    run(test)


def put(path: Path, data: bytes, mtime: int = BEFORE) -> None:
    """Another file takes the name."""
    aside = path.with_suffix(".new")
    aside.write_bytes(data)
    os.utime(aside, (mtime, mtime))
    aside.rename(path)


def test_it_is_opened_as_it_is_used(tmp_path: Path) -> None:
    async def work(late: Late) -> None:
        file = await late.open()
        assert late.opens == 0
        assert bytes(await file.start_read(3, 100).wait()) == b"tent"
        assert late.opens == 1
        file.close()

    with_late(tmp_path, work)


def test_one_that_is_closed_before_is_never_opened(tmp_path: Path) -> None:
    async def work(late: Late) -> None:
        for _ in range(5):
            (await late.open()).close()
        kept = await late.open()
        await until(lambda: late.opens)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert late.opens == 1, "only the one that is open"
        kept.close()

    with_late(tmp_path, work)


def test_one_that_is_kept_open_keeps_its_file(tmp_path: Path) -> None:
    async def work(late: Late) -> None:
        file = await late.open()
        begun = trio.current_time()
        await until(lambda: late.opens)
        assert trio.current_time() - begun >= OPENED_AFTER
        assert (await file.start_fstat().wait()).size == 7
        put(late.path, b"another file")
        assert bytes(await file.start_read(0, 100).wait()) == b"content"
        file.close()

    with_late(tmp_path, work)


@pytest.mark.parametrize("data", [b"short", b"7 bytes"])
def test_another_version_is_stale(tmp_path: Path, data: bytes) -> None:
    async def work(late: Late) -> None:
        file = await late.open()
        put(late.path, data, BEFORE + 1)
        for slot in (file.start_fstat(), file.start_read(0, 100), file.start_read(0, 100)):
            with pytest.raises(OSError) as raised:
                await slot.wait()
            assert raised.value.errno == errno.ESTALE
        file.close()

    with_late(tmp_path, work)


def test_one_that_has_grown_goes_on(tmp_path: Path) -> None:
    async def work(late: Late) -> None:
        file = await late.open()
        with late.path.open("ab") as writer:
            writer.write(b" and more")
        assert bytes(await file.start_read(0, 100).wait()) == b"content and more"
        file.close()

    with_late(tmp_path, work)


def test_while_we_change_it_ourselves_any_version_will_do(tmp_path: Path) -> None:
    async def work(late: Late) -> None:
        file = await late.open()
        put(late.path, b"ours", BEFORE + 1)
        late.known = None
        assert bytes(await file.start_read(0, 100).wait()) == b"ours"
        file.close()

    with_late(tmp_path, work)
