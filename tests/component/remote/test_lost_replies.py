"""The connection cut as a request that must not be done twice passes: before the server has it, and
after it was carried out but before its reply. Real sftp-servers behind a proxy that cuts."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

import pytest

from sftpfs.remote.client import SftpRemote
from sftpfs.remote.operations.rename_emulation import finish_interrupted
from sftpfs.types import AttributeChange, OpenFlags
from tests.component.cut_server import CREATE, both_ways, operate
from tests.component.sftp_servers import ServerConnector, encoded, run, serving
from tests.harness.counting import CountingProxy


@both_ways
def test_mkdir(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    async def work(server: SftpRemote) -> None:
        proxy.cut_at("MKDIR", carried_out=carried_out)
        attributes = await server.mkdir(encoded(tree / "new"), 0o750)
        assert stat.S_IMODE(attributes.mode) == 0o750

    operate(proxy, work)
    assert (tree / "new").is_dir()


@both_ways
def test_mkdir_of_a_name_taken(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    os.utime(tree / "empty", (1, 1))

    async def work(server: SftpRemote) -> None:
        proxy.cut_at("MKDIR", carried_out=carried_out)
        with pytest.raises(OSError) as raised:
            await server.mkdir(encoded(tree / "empty"), 0o750)
        assert raised.value.errno == errno.EEXIST

    operate(proxy, work)


@both_ways
def test_symlink(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    async def work(server: SftpRemote) -> None:
        proxy.cut_at("SYMLINK", carried_out=carried_out)
        assert stat.S_ISLNK((await server.symlink(b"file", encoded(tree / "new"))).mode)

    operate(proxy, work)
    assert os.readlink(tree / "new") == "file"


@both_ways
def test_link(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    async def work(server: SftpRemote) -> None:
        proxy.cut_at("hardlink@openssh.com", carried_out=carried_out)
        assert (await server.link(encoded(tree / "file"), encoded(tree / "new"))).size == 7

    operate(proxy, work)
    assert (tree / "new").stat().st_nlink == 2


@both_ways
def test_link_over_another_file(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    (tree / "other").write_bytes(b"another")
    os.utime(tree / "other", (1, 1))

    async def work(server: SftpRemote) -> None:
        proxy.cut_at("hardlink@openssh.com", carried_out=carried_out)
        with pytest.raises(OSError) as raised:
            await server.link(encoded(tree / "file"), encoded(tree / "other"))
        assert raised.value.errno == errno.EEXIST

    operate(proxy, work)
    assert (tree / "other").read_bytes() == b"another"


@both_ways
def test_remove(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    async def work(server: SftpRemote) -> None:
        known = await server.lstat(encoded(tree / "file"))
        proxy.cut_at("REMOVE", carried_out=carried_out)
        await server.remove(encoded(tree / "file"), lambda: known)

    operate(proxy, work)
    assert not (tree / "file").exists()


def test_remove_of_a_name_that_another_file_took(proxy: CountingProxy, tree: Path) -> None:
    async def work(server: SftpRemote) -> None:
        known = await server.lstat(encoded(tree / "file"))
        (tree / "file").write_bytes(b"made by another since")
        proxy.cut_at("REMOVE", carried_out=False)
        with pytest.raises(OSError) as raised:
            await server.remove(encoded(tree / "file"), lambda: known)
        assert raised.value.errno == errno.EIO

    operate(proxy, work)
    assert (tree / "file").read_bytes() == b"made by another since"


@both_ways
def test_rmdir(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    async def work(server: SftpRemote) -> None:
        proxy.cut_at("RMDIR", carried_out=carried_out)
        await server.rmdir(encoded(tree / "empty"))

    operate(proxy, work)
    assert not (tree / "empty").exists()


@both_ways
@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("told", [True, False])
def test_rename(proxy: CountingProxy, tree: Path, carried_out: bool, replace: bool, told: bool) -> None:
    async def work(server: SftpRemote) -> None:
        known = await server.lstat(encoded(tree / "file")) if told else None
        proxy.cut_at("posix-rename@openssh.com" if replace else "RENAME", carried_out=carried_out)
        await server.rename(encoded(tree / "file"), encoded(tree / "new"), replace, lambda: known)

    operate(proxy, work)
    assert sorted(os.listdir(tree)) == ["empty", "new"]
    assert (tree / "new").read_bytes() == b"content"


@both_ways
def test_rename_over_a_file(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    (tree / "new").write_bytes(b"to be replaced")

    async def work(server: SftpRemote) -> None:
        known = await server.lstat(encoded(tree / "file"))
        proxy.cut_at("posix-rename@openssh.com", carried_out=carried_out)
        await server.rename(encoded(tree / "file"), encoded(tree / "new"), True, lambda: known)

    operate(proxy, work)
    assert sorted(os.listdir(tree)) == ["empty", "new"]
    assert (tree / "new").read_bytes() == b"content"


@both_ways
def test_exclusive_create(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    name = encoded(tree / "new")

    async def work(server: SftpRemote) -> None:
        proxy.cut_at("OPEN", carried_out=carried_out)
        file, attributes = await server.open(name, CREATE | OpenFlags.EXCLUSIVE, 0o640, lambda: name)
        assert attributes.size == 0
        await file.start_write(0, b"first").wait()
        file.close()

    operate(proxy, work)
    assert (tree / "new").read_bytes() == b"first"


@both_ways
def test_exclusive_create_of_a_name_taken(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    name = encoded(tree / "file")

    async def work(server: SftpRemote) -> None:
        proxy.cut_at("OPEN", carried_out=carried_out)
        with pytest.raises(OSError) as raised:
            await server.open(name, CREATE | OpenFlags.EXCLUSIVE, 0o640, lambda: name)
        assert raised.value.errno == errno.EEXIST

    operate(proxy, work)
    assert (tree / "file").read_bytes() == b"content"


def test_a_look_cut_as_well_is_taken_again(proxy: CountingProxy, tree: Path) -> None:
    async def work(server: SftpRemote) -> None:
        proxy.cut_at("MKDIR", carried_out=True)
        proxy.cut_at("LSTAT", carried_out=False)
        proxy.cut_at("LSTAT", carried_out=True)
        assert stat.S_ISDIR((await server.mkdir(encoded(tree / "new"), 0o755)).mode)

    operate(proxy, work)


@both_ways
@pytest.mark.parametrize("request_name", ["OPENDIR", "READDIR"])
def test_a_listing_is_made_again(
    proxy: CountingProxy, tree: Path, carried_out: bool, request_name: str
) -> None:
    async def work(server: SftpRemote) -> None:
        proxy.cut_at(request_name, carried_out=carried_out)
        listing = await server.list_directory(encoded(tree))
        assert {entry.name for entry in listing.entries} == {b"file", b"empty"}

    operate(proxy, work)


@both_ways
def test_what_may_be_done_twice(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    name = encoded(tree / "file")

    async def work(server: SftpRemote) -> None:
        proxy.cut_at("LSTAT", carried_out=carried_out)
        assert (await server.lstat(name)).size == 7
        proxy.cut_at("SETSTAT", carried_out=carried_out)
        assert (await server.setattr(name, AttributeChange(size=3))).size == 3
        proxy.cut_at("statvfs@openssh.com", carried_out=carried_out)
        assert await server.statvfs(name) is not None
        proxy.cut_at("READ", carried_out=carried_out)
        whole = await server.fetch(name, 3)
        assert whole is not None and bytes(whole.data) == b"con"

    operate(proxy, work)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"old": b"n", "aside": b"o"}, {"old": b"n", "new": b"o"}),  # moved aside, not yet renamed
        ({"new": b"n", "aside": b"o"}, {"new": b"n"}),  # renamed, what was aside not yet removed
        ({"old": b"n", "new": b"o"}, {"old": b"n", "new": b"o"}),  # not begun
        ({"new": b"n"}, {"new": b"n"}),  # done
    ],
)
def test_a_replacing_rename_in_steps_is_tidied_up(
    tmp_path: Path, before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    """Where the server has no rename that replaces, and the session was lost between two steps."""
    for name, data in before.items():
        (tmp_path / name).write_bytes(data)

    async def test() -> None:
        async with serving(ServerConnector()) as (_, pool):
            connection = pool.metadata_nowait()
            assert connection is not None
            await finish_interrupted(
                connection.session, *(encoded(tmp_path / name) for name in ("old", "new", "aside"))
            )

    run(test)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == after


apart = pytest.mark.parametrize("ahead", [0, -3600, 3600])


@apart
@both_ways
def test_what_was_made_is_known_whatever_the_servers_clock(
    proxy: CountingProxy, tree: Path, carried_out: bool, ahead: int
) -> None:
    proxy.set_clock(ahead)

    async def work(server: SftpRemote) -> None:
        proxy.cut_at("MKDIR", carried_out=carried_out)
        assert stat.S_ISDIR((await server.mkdir(encoded(tree / "made"), 0o755)).mode)
        name = encoded(tree / "lock")
        proxy.cut_at("OPEN", carried_out=carried_out)
        file, _ = await server.open(name, CREATE | OpenFlags.EXCLUSIVE, 0o640, lambda: name)
        file.close()

    operate(proxy, work)
    assert (tree / "made").is_dir() and (tree / "lock").is_file()


@apart
@pytest.mark.parametrize("learn", ["proc", "a name made"])
def test_what_another_made_a_minute_before_is_not_taken_for_ours(
    proxy: CountingProxy, tree: Path, ahead: int, learn: str
) -> None:
    """Lock files and lock directories: both are empty, whoever made them."""
    then = time.time() - 60
    (tree / "lock").touch(mode=0o640)
    (tree / "made").mkdir()
    for name in ("lock", "made"):
        os.utime(tree / name, (then, then))
    proxy.set_clock(ahead)
    if learn != "proc":
        proxy.spoil("LSTAT", "permission denied", about="/proc/")

    async def work(server: SftpRemote) -> None:
        if learn != "proc":
            await server.mkdir(encoded(tree / "mine"), 0o755)
        proxy.cut_at("MKDIR", carried_out=True)
        with pytest.raises(FileExistsError):
            await server.mkdir(encoded(tree / "made"), 0o755)
        name = encoded(tree / "lock")
        proxy.cut_at("OPEN", carried_out=True)
        with pytest.raises(FileExistsError):
            await server.open(name, CREATE | OpenFlags.EXCLUSIVE, 0o640, lambda: name)

    operate(proxy, work)
