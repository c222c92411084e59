"""Attributes on servers that refuse a way to set them, or a part of what is set."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from sftpfs.remote.api import RemoteFile
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.types import AttributeChange, OpenFlags
from tests.component import altered
from tests.component.altered import asked
from tests.component.sftp_servers import ServerConnector, encoded, run, serving

SETTING = ("setstat", "fsetstat")
NEW = OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE
MODE = AttributeChange(mode=0o600)
TIMES = AttributeChange(atime=5, mtime=6)
BOTH = AttributeChange(mode=0o600, atime=5, mtime=6)


async def made(server: SftpRemote, base: bytes) -> RemoteFile:
    """A new file that is open."""
    file, _ = await server.open(base + b"/made", NEW, 0o644, lambda: base + b"/made")
    return file


async def again(file: RemoteFile) -> None:
    """Set its mode."""
    await file.start_setattr(MODE).wait()


def what(path: Path) -> tuple[int, int]:
    """Mode and mtime."""
    seen = os.stat(path)
    return stat.S_IMODE(seen.st_mode), int(seen.st_mtime)


@pytest.mark.parametrize("respect", ["has no FSETSTAT", "denies FSETSTAT"])
def test_what_fsetstat_refuses_is_set_by_path(tmp_path: Path, respect: str) -> None:
    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        file = await made(server, base)
        await file.start_setattr(BOTH).wait()
        assert not pool.traits.known.sets_by_handle
        assert await asked(pool, again(file), SETTING) == {"setstat": 1}
        assert not server.surely_sets(MODE) and server.sets(MODE)
        file.close()

    altered.operate(respect, tmp_path, work)
    assert what(tmp_path / "made") == (0o600, 6)


@pytest.mark.parametrize("name", ["made", "directory"])
def test_what_setstat_refuses_is_set_by_handle(tmp_path: Path, name: str) -> None:
    (tmp_path / "made").write_bytes(b"content")
    (tmp_path / "directory").mkdir()
    path = encoded(tmp_path / name)

    async def test() -> None:
        async with serving(ServerConnector("-P", "setstat"), max_connections=1) as (server, pool):
            seen = await server.setattr(path, BOTH)
            assert (stat.S_IMODE(seen.mode), seen.mtime) == (0o600, 6)
            assert not pool.traits.known.sets_by_path

    run(test)
    assert what(tmp_path / name) == (0o600, 6)


@pytest.mark.parametrize(("respect", "most"), [("none", 1), ("looks before it sets by path", 2)])
@pytest.mark.parametrize("name", ["file", "directory"])
def test_a_look_beside_setstat_counts_where_it_shows_what_was_set(
    tmp_path: Path, respect: str, most: int, name: str
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "directory").mkdir()

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        connection = pool.metadata_nowait()
        assert connection is not None
        statistics = connection.session.statistics
        await server.lstat(base)  # what is asked of a new server is answered then
        before = statistics.waits
        seen = await server.setattr(os.path.join(base, os.fsencode(name)), BOTH)
        assert statistics.waits - before == most
        assert (stat.S_IMODE(seen.mode), seen.mtime) == (0o600, 6)

    altered.operate(respect, tmp_path, work)
    assert what(tmp_path / name) == (0o600, 6)


def test_a_look_beside_setstat_of_what_a_link_leads_to_is_not_of_the_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    os.utime(tmp_path / "link", (6, 6), follow_symlinks=False)

    async def work(server: SftpRemote, _pool: ConnectionPool, base: bytes) -> None:
        await server.setattr(os.path.join(base, b"link"), TIMES)

    altered.operate("none", tmp_path, work)
    assert what(tmp_path / "link")[1] == TIMES.mtime


def test_what_is_refused_together_is_set_apart(tmp_path: Path) -> None:
    """The mode is set, and whoever asked for times hears that they are not."""

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        file = await made(server, base)
        for change in (BOTH, TIMES):
            with pytest.raises(OSError) as raised:
                await file.start_setattr(change).wait()
            assert raised.value.errno == errno.EOPNOTSUPP
        with pytest.raises(OSError) as raised:
            await server.setattr(base + b"/made", BOTH)
        assert raised.value.errno == errno.EOPNOTSUPP
        assert pool.traits.known.sets_modes and not pool.traits.known.sets_times
        assert server.surely_sets(MODE) and not server.surely_sets(TIMES)
        assert server.sets(MODE) and not server.sets(TIMES)
        file.close()

    before = int(os.stat(tmp_path).st_mtime)
    altered.operate("sets no times", tmp_path, work)
    mode, mtime = what(tmp_path / "made")
    assert mode == 0o600 and mtime >= before


@pytest.mark.parametrize(
    ("respect", "number"), [("sets nothing", errno.EOPNOTSUPP), ("fails to set", errno.EPERM)]
)
def test_changes_that_are_refused_fail_themselves(tmp_path: Path, respect: str, number: int) -> None:
    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        file = await made(server, base)
        assert not server.surely_sets(MODE)
        with pytest.raises(OSError) as raised:
            await server.setattr(base + b"/made", MODE)
        assert raised.value.errno == number
        with pytest.raises(OSError):
            await file.start_setattr(BOTH).wait()
        assert not server.surely_sets(TIMES)
        file.close()

    altered.operate(respect, tmp_path, work)


def test_openssh_told_to_refuse_is_found_out_before_anything_is_promised(tmp_path: Path) -> None:
    async def test() -> None:
        connector = ServerConnector("-P", "setstat,fsetstat", "-u", "077")
        async with serving(connector, max_connections=1) as (server, pool):
            base = encoded(tmp_path)
            file = await made(server, base)
            assert not server.surely_sets(MODE)
            with pytest.raises(PermissionError):
                await file.start_setattr(MODE).wait()
            file.close()
            await server.mkdir(base + b"/one", 0o755)
            assert not server.sets(MODE)
            assert await asked(pool, server.mkdir(base + b"/two", 0o755), SETTING) == {}

    run(test)


async def resized(server: SftpRemote, path: bytes, by: str, size: int) -> None:
    """Give the file ``size`` bytes."""
    change = AttributeChange(size=size)
    if by == "path":
        assert (await server.setattr(path, change)).size == size
        return
    file, _ = await server.open(path, OpenFlags.WRITE, 0, lambda: path)
    try:
        await file.start_setattr(change).wait()
        assert (await file.start_fstat_behind().wait()).size == size
    finally:
        file.close()


@pytest.mark.parametrize("by", ["path", "handle"])
@pytest.mark.parametrize("respect", ["ignores sizes", "sets nothing"])
def test_a_size_that_is_not_set_is_made_in_another_way_or_refused(
    tmp_path: Path, by: str, respect: str
) -> None:
    """Cut to nothing, or made longer; what would have to keep a part of it is refused, and changes none."""
    (tmp_path / "file").write_bytes(b"content")

    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        path = base + b"/file"
        for number in (errno.EIO, errno.EOPNOTSUPP) if respect == "ignores sizes" else (errno.EOPNOTSUPP,):
            with pytest.raises(OSError) as raised:
                await resized(server, path, by, 3)
            assert raised.value.errno == number
        await resized(server, path, by, 9)
        assert (tmp_path / "file").read_bytes() == b"content\0\0"
        await resized(server, path, by, 0)
        assert (tmp_path / "file").read_bytes() == b""

    altered.operate(respect, tmp_path, work)


@pytest.mark.parametrize("by", ["path", "handle"])
def test_what_is_kept_of_a_file_cut_shorter_is_put_back_where_the_server_empties_it(
    tmp_path: Path, by: str
) -> None:
    """That is seen at the first one, and asked no more."""
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "large").write_bytes(b"x" * 100_000)

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        await resized(server, base + b"/file", by, 9)
        await resized(server, base + b"/file", by, 3)
        assert not pool.traits.known.resizes_in_place
        for name in (b"/file", b"/large"):
            with pytest.raises(OSError) as raised:
                await resized(server, base + name, by, 2)
            assert raised.value.errno == errno.EOPNOTSUPP
        await resized(server, base + b"/large", by, 0)

    altered.operate("empties to resize", tmp_path, work)
    assert (tmp_path / "file").read_bytes() == b"con"


@pytest.mark.parametrize("by", ["path", "handle"])
def test_sizes_cost_nothing_once_they_were_seen_to_be_set(tmp_path: Path, by: str) -> None:
    (tmp_path / "file").write_bytes(b"content")
    kinds = ("open", "read", "stat", "fsetstat", "setstat")

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        path = base + b"/file"
        await resized(server, path, by, 5)
        assert pool.traits.known.resizes_in_place
        once = {"setstat": 1} if by == "path" else {"open": 1, "fsetstat": 1}
        for size in (4, 0, 3):
            assert await asked(pool, resized(server, path, by, size), kinds) == once

    altered.operate("none", tmp_path, work)
    assert (tmp_path / "file").read_bytes() == bytes(3)


def test_what_was_seen_to_be_set_may_be_promised(tmp_path: Path) -> None:
    """By an unknown server, too."""

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        file = await made(server, base)
        assert not server.surely_sets(MODE) and not server.surely_sets(TIMES)
        await file.start_setattr(TIMES).wait()
        assert server.surely_sets(TIMES) and not server.surely_sets(MODE)
        await server.setattr(base + b"/made", MODE)
        assert server.surely_sets(BOTH)
        file.close()

    altered.operate("none", tmp_path, work)
