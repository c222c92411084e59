"""Servers that answer no FSTAT, LSTAT or REALPATH."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sftpfs.remote.client import SftpRemote
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.types import OpenFlags
from tests.component import altered
from tests.component.sftp_servers import ServerConnector, encoded, run, serving, until

BOTH = OpenFlags.READ | OpenFlags.WRITE


@pytest.mark.parametrize("respect", ["denies FSTAT", "has no FSTAT", "finds no file by a handle"])
def test_an_open_file_is_asked_for_by_its_name(tmp_path: Path, respect: str) -> None:
    (tmp_path / "file").write_bytes(b"content")
    place = [encoded(tmp_path / "file")]

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        file, _, whole = await server.open_whole(place[0], 7, lambda: place[0])
        assert whole is None or bytes(whole.data) == b"content"
        assert (await file.start_fstat().wait()).size == 7
        assert not pool.traits.known.answers_fstat
        file.close()
        file, _ = await server.open(place[0], OpenFlags.WRITE, 0, lambda: place[0])
        await file.start_write(7, b" and more").wait()
        await server.rename(place[0], base + b"/new", True)
        place[0] = base + b"/new"
        assert (await file.start_fstat_behind().wait()).size == 16
        file.close()
        fetched = await server.fetch(place[0], 16)
        assert fetched is not None and bytes(fetched.data) == b"content and more"

    altered.operate(respect, tmp_path, work)


def test_a_file_without_a_name_is_what_was_written(tmp_path: Path) -> None:
    place: list[bytes | None] = [encoded(tmp_path / "file")]

    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        flags = OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE
        file, _attributes = await server.open(base + b"/file", flags, 0o600, lambda: place[0])
        assert (await file.start_fstat().wait()).size == 0
        await server.remove(base + b"/file")
        place[0] = None
        writing, told = file.start_write(0, b"content"), file.start_fstat_behind()
        await writing.wait()
        assert (await told.wait()).size == 7
        file.close()

    altered.operate("denies FSTAT", tmp_path, work)


def test_without_lstat_what_a_link_leads_to_is_shown(tmp_path: Path) -> None:
    """And a link that leads nowhere is not replaced by a rename that must not."""
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dead").symlink_to("nothing")

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        await until(lambda: not pool.traits.known.answers_lstat)
        assert (await server.lstat(base + b"/link")).size == 7
        with pytest.raises(FileExistsError):
            await server.rename(base + b"/file", base + b"/dead", False)

    altered.operate("denies LSTAT", tmp_path, work)
    assert os.readlink(tmp_path / "dead") == "nothing"


def test_without_realpath_a_directory_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")

    async def test() -> None:
        connector = ServerConnector("-P", "realpath", "-d", str(tmp_path))
        async with serving(connector, max_connections=1) as (server, pool):
            for path in (encoded(tmp_path), b"."):
                assert await server.realpath(path) == path
            assert not pool.traits.known.answers_realpath
            assert await server.realpath(b"below") == b"./below"
            assert (await server.lstat(b"./file")).size == 7
            names = [entry.name for entry in (await server.list_directory(b".")).entries]
            assert names == [b"file"]
            await server.rename(b"./file", b"./new", True)

    run(test)
    assert os.listdir(tmp_path) == ["new"]


def test_a_directory_that_is_not_there_is_none(tmp_path: Path) -> None:
    async def test() -> None:
        connector = ServerConnector("-P", "realpath")
        async with serving(connector, max_connections=1) as (server, pool):
            with pytest.raises(OSError):
                await server.realpath(encoded(tmp_path / "none"))
            assert pool.traits.known.answers_realpath

    run(test)


def test_a_directory_told_with_a_slash_is_the_same(tmp_path: Path) -> None:
    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        assert await server.realpath(base) == base
        assert await server.realpath(b"/") == b"/"

    altered.operate("tells directories with a slash", tmp_path, work)


def test_an_open_file_that_the_server_does_not_find_is_stale(tmp_path: Path) -> None:
    """No read(2) fails with ENOENT."""
    (tmp_path / "file").write_bytes(b"content")

    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        name = base + b"/file"
        file, _attributes = await server.open(name, OpenFlags.READ, 0, lambda: name)
        await server.remove(name)
        with pytest.raises(OSError) as raised:
            await file.start_read(0, 7).wait()
        assert raised.value.errno == errno.ESTALE
        file.close()

    altered.operate("handles go by names", tmp_path, work)


def test_a_name_the_server_does_not_take_is_no_missing_directory(tmp_path: Path) -> None:
    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        flags = OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE
        for name, number in ((b"/a~", errno.EINVAL), (b"/none/a~", errno.ENOENT)):
            path = base + name
            with pytest.raises(OSError) as raised:
                await server.open(path, flags, 0o600, lambda path=path: path)  # type: ignore[misc]
            assert raised.value.errno == number
            with pytest.raises(OSError) as raised:
                await server.mkdir(path, 0o700)
            assert raised.value.errno == number

    altered.operate("has no names with a tilde", tmp_path, work)


def test_a_full_directory_is_not_empty_whatever_the_server_says(tmp_path: Path) -> None:
    (tmp_path / "full" / "one").mkdir(parents=True)

    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        with pytest.raises(OSError) as raised:
            await server.rmdir(base + b"/full")
        assert raised.value.errno == errno.ENOTEMPTY

    altered.operate("says of a full directory that it exists", tmp_path, work)
