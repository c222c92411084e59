"""The connection cut as a request that must not be done twice passes: before the server has it, and
after it was carried out but before its reply. Real sftp-servers behind a proxy that cuts."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from sftpfs.config import Endpoint, TransportConfig, TransportKind
from sftpfs.remote.api import OpenFlags
from sftpfs.remote.replacing import tidy
from sftpfs.remote.server import Server
from sftpfs.transport.sockets import SocketConnector
from sftpfs.types import AttributeChange
from tests.component.sftp_servers import ServerConnector, encoded, run, serving
from tests.harness.counting import CountingProxy

CREATE = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE

both_ways = pytest.mark.parametrize("carried_out", [False, True], ids=["before", "after"])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "tree"
    directory.mkdir()
    (directory / "file").write_bytes(b"content")
    (directory / "empty").mkdir()
    return directory


def connector(proxy: CountingProxy) -> SocketConnector:
    return SocketConnector(
        TransportConfig(kind=TransportKind.TCP, direct_port=proxy.port), Endpoint("127.0.0.1")
    )


def operate(proxy: CountingProxy, work: Callable[[Server], Awaitable[None]]) -> None:
    """Run ``work``; every cut asked for must have come."""

    async def test() -> None:
        async with serving(connector(proxy), max_connections=1) as (server, pool):
            await work(server)
            assert pool.statistics()["reconnects"] >= 1
        assert proxy.cuts_left() == 0

    run(test)


@both_ways
def test_mkdir(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    async def work(server: Server) -> None:
        proxy.cut_at("MKDIR", carried_out=carried_out)
        attributes = await server.mkdir(encoded(tree / "new"), 0o750)
        assert stat.S_IMODE(attributes.mode) == 0o750

    operate(proxy, work)
    assert (tree / "new").is_dir()


@both_ways
def test_mkdir_of_a_name_taken(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    os.utime(tree / "empty", (1, 1))

    async def work(server: Server) -> None:
        proxy.cut_at("MKDIR", carried_out=carried_out)
        with pytest.raises(OSError) as raised:
            await server.mkdir(encoded(tree / "empty"), 0o750)
        assert raised.value.errno == errno.EEXIST

    operate(proxy, work)


@both_ways
def test_symlink(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    async def work(server: Server) -> None:
        proxy.cut_at("SYMLINK", carried_out=carried_out)
        assert stat.S_ISLNK((await server.symlink(b"file", encoded(tree / "new"))).mode)

    operate(proxy, work)
    assert os.readlink(tree / "new") == "file"


@both_ways
def test_link(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    async def work(server: Server) -> None:
        proxy.cut_at("hardlink@openssh.com", carried_out=carried_out)
        assert (await server.link(encoded(tree / "file"), encoded(tree / "new"))).size == 7

    operate(proxy, work)
    assert (tree / "new").stat().st_nlink == 2


@both_ways
def test_link_over_another_file(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    (tree / "other").write_bytes(b"another")
    os.utime(tree / "other", (1, 1))

    async def work(server: Server) -> None:
        proxy.cut_at("hardlink@openssh.com", carried_out=carried_out)
        with pytest.raises(OSError) as raised:
            await server.link(encoded(tree / "file"), encoded(tree / "other"))
        assert raised.value.errno == errno.EEXIST

    operate(proxy, work)
    assert (tree / "other").read_bytes() == b"another"


@both_ways
def test_remove(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    async def work(server: Server) -> None:
        known = await server.lstat(encoded(tree / "file"))
        proxy.cut_at("REMOVE", carried_out=carried_out)
        await server.remove(encoded(tree / "file"), known)

    operate(proxy, work)
    assert not (tree / "file").exists()


def test_remove_of_a_name_that_another_file_took(proxy: CountingProxy, tree: Path) -> None:
    async def work(server: Server) -> None:
        known = await server.lstat(encoded(tree / "file"))
        (tree / "file").write_bytes(b"made by another since")
        proxy.cut_at("REMOVE", carried_out=False)
        with pytest.raises(OSError) as raised:
            await server.remove(encoded(tree / "file"), known)
        assert raised.value.errno == errno.EIO

    operate(proxy, work)
    assert (tree / "file").read_bytes() == b"made by another since"


@both_ways
def test_rmdir(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    async def work(server: Server) -> None:
        proxy.cut_at("RMDIR", carried_out=carried_out)
        await server.rmdir(encoded(tree / "empty"))

    operate(proxy, work)
    assert not (tree / "empty").exists()


@both_ways
@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("told", [True, False])
def test_rename(proxy: CountingProxy, tree: Path, carried_out: bool, replace: bool, told: bool) -> None:
    async def work(server: Server) -> None:
        known = await server.lstat(encoded(tree / "file")) if told else None
        proxy.cut_at("posix-rename@openssh.com" if replace else "RENAME", carried_out=carried_out)
        await server.rename(encoded(tree / "file"), encoded(tree / "new"), replace, known)

    operate(proxy, work)
    assert sorted(os.listdir(tree)) == ["empty", "new"]
    assert (tree / "new").read_bytes() == b"content"


@both_ways
def test_rename_over_a_file(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    (tree / "new").write_bytes(b"to be replaced")

    async def work(server: Server) -> None:
        known = await server.lstat(encoded(tree / "file"))
        proxy.cut_at("posix-rename@openssh.com", carried_out=carried_out)
        await server.rename(encoded(tree / "file"), encoded(tree / "new"), True, known)

    operate(proxy, work)
    assert sorted(os.listdir(tree)) == ["empty", "new"]
    assert (tree / "new").read_bytes() == b"content"


@both_ways
def test_exclusive_create(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    name = encoded(tree / "new")

    async def work(server: Server) -> None:
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

    async def work(server: Server) -> None:
        proxy.cut_at("OPEN", carried_out=carried_out)
        with pytest.raises(OSError) as raised:
            await server.open(name, CREATE | OpenFlags.EXCLUSIVE, 0o640, lambda: name)
        assert raised.value.errno == errno.EEXIST

    operate(proxy, work)
    assert (tree / "file").read_bytes() == b"content"


def test_a_look_cut_as_well_is_taken_again(proxy: CountingProxy, tree: Path) -> None:
    async def work(server: Server) -> None:
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
    async def work(server: Server) -> None:
        proxy.cut_at(request_name, carried_out=carried_out)
        listing = await server.list_directory(encoded(tree))
        assert {entry.name for entry in listing.entries} == {b"file", b"empty"}

    operate(proxy, work)


@both_ways
def test_what_may_be_done_twice(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    name = encoded(tree / "file")

    async def work(server: Server) -> None:
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
            await tidy(connection.session, *(encoded(tmp_path / name) for name in ("old", "new", "aside")))

    run(test)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == after


# open files


@both_ways
@pytest.mark.parametrize("request_name", ["WRITE", "FSTAT", "fsync@openssh.com", "FSETSTAT", "READ"])
def test_an_open_file_survives(
    proxy: CountingProxy, tree: Path, carried_out: bool, request_name: str
) -> None:
    name = encoded(tree / "file")

    async def work(server: Server) -> None:
        file, _ = await server.open(name, OpenFlags.READ | OpenFlags.WRITE, 0, lambda: name)
        proxy.cut_at(request_name, carried_out=carried_out)
        write = file.start_write(7, b" and more")
        change = file.start_setattr(AttributeChange(mode=0o600))
        told, synced = file.start_fstat(), file.start_fsync()
        await write.wait()
        await change.wait()
        assert (await told.wait()).size == 16
        await synced.wait()
        assert bytes(await file.start_read(0, 100).wait()) == b"content and more"
        file.close()

    operate(proxy, work)
    assert (tree / "file").read_bytes() == b"content and more"


@both_ways
def test_an_append_is_never_made_twice(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    name = encoded(tree / "file")

    async def work(server: Server) -> None:
        file, _ = await server.open(name, OpenFlags.WRITE | OpenFlags.APPEND, 0, lambda: name)
        await file.start_write(0, b"0").wait()
        proxy.cut_at("WRITE", carried_out=carried_out)
        slots = [file.start_write(0, b"%d" % digit * digit) for digit in range(1, 6)]
        for slot in slots:
            await slot.wait()
        file.close()

    operate(proxy, work)
    assert (tree / "file").read_bytes() == b"content0122333444455555"


@both_ways
def test_two_handles_that_append_count_each_others_bytes(
    proxy: CountingProxy, tree: Path, carried_out: bool
) -> None:
    name = encoded(tree / "file")

    async def work(server: Server) -> None:
        flags = OpenFlags.WRITE | OpenFlags.APPEND
        one, _ = await server.open(name, flags, 0, lambda: name)
        other, _ = await server.open(name, flags, 0, lambda: name)
        await one.start_write(0, b"1").wait()
        await other.start_write(0, b"22").wait()
        proxy.cut_at("WRITE", carried_out=carried_out)
        await one.start_write(0, b"333").wait()
        await other.start_write(0, b"4444").wait()
        await one.start_write(0, b"5").wait()
        one.close()
        other.close()

    operate(proxy, work)
    assert (tree / "file").read_bytes() == b"content12233344445"


def test_an_append_that_cannot_be_told_from_another_is_an_error(proxy: CountingProxy, tree: Path) -> None:
    name = encoded(tree / "file")

    async def work(server: Server) -> None:
        file, _ = await server.open(name, OpenFlags.WRITE | OpenFlags.APPEND, 0, lambda: name)
        (tree / "file").write_bytes(b"contentxx")
        proxy.cut_at("WRITE", carried_out=False)
        with pytest.raises(OSError) as raised:
            await file.start_write(0, b"12345").wait()
        assert raised.value.errno == errno.EIO
        file.close()

    operate(proxy, work)
    assert (tree / "file").read_bytes() == b"contentxx"


@pytest.mark.parametrize("how", ["replaced", "changed", "removed", "directory", "pipe", "unlinked by us"])
def test_a_file_that_is_not_the_same_is_stale(proxy: CountingProxy, tree: Path, how: str) -> None:
    name = encoded(tree / "file")
    paths: list[bytes | None] = [name]

    def change() -> None:
        match how:
            case "replaced":
                (tree / "new").write_bytes(b"another")
                os.utime(tree / "new", (1, 1))
                (tree / "new").rename(tree / "file")
            case "changed":
                (tree / "file").write_bytes(b"longer than before")
            case "removed":
                (tree / "file").unlink()
            case "directory":
                (tree / "file").unlink()
                (tree / "file").mkdir()
            case "pipe":
                (tree / "file").unlink()
                os.mkfifo(tree / "file")
            case _:
                paths[0] = None

    async def work(server: Server) -> None:
        file, _ = await server.open(name, OpenFlags.READ, 0, lambda: paths[0])
        change()
        proxy.cut_at("READ", carried_out=False)
        for _ in range(2):
            with pytest.raises(OSError) as raised:
                await file.start_read(0, 100).wait()
            assert raised.value.errno == errno.ESTALE
        file.close()
        await server.lstat(encoded(tree))

    operate(proxy, work)


def test_a_reader_survives_what_another_handle_of_ours_wrote(proxy: CountingProxy, tree: Path) -> None:
    name = encoded(tree / "file")

    async def work(server: Server) -> None:
        reader, _ = await server.open(name, OpenFlags.READ, 0, lambda: name)
        for closed in (False, True):
            writer, _ = await server.open(name, OpenFlags.WRITE, 0, lambda: name)
            await writer.start_write(7, b"+" * (1 + closed)).wait()
            if closed:
                writer.close()
            proxy.cut_at("READ", carried_out=False)
            assert bytes(await reader.start_read(0, 100).wait()) == b"content" + b"+" * (1 + closed)
        reader.close()

    operate(proxy, work)


@both_ways
def test_a_file_renamed_as_the_connection_goes(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    """Where it is depends on what became of the rename."""
    old, new = encoded(tree / "file"), encoded(tree / "new")
    paths = [old]

    async def work(server: Server) -> None:
        file, known = await server.open(old, OpenFlags.READ, 0, lambda: paths[0])
        proxy.cut_at("posix-rename@openssh.com", carried_out=carried_out)

        async def rename() -> None:
            await server.rename(old, new, True, known)
            paths[0] = new

        async with trio.open_nursery() as nursery:
            nursery.start_soon(rename)
            await trio.testing.wait_all_tasks_blocked()
            assert bytes(await file.start_read(0, 100).wait()) == b"content"
        file.close()

    operate(proxy, work)
