"""Several handles of one file, and the connection lost: the file is what all of them made of it."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from sftpfs.remote.api import RemoteFile
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.files.pooled_file import PooledFile
from sftpfs.types import AttributeChange, OpenFlags
from tests.component.cut_server import both_ways, operate
from tests.component.sftp_servers import encoded
from tests.harness.counting import CountingProxy

BOTH = OpenFlags.READ | OpenFlags.WRITE
APPEND = OpenFlags.WRITE | OpenFlags.APPEND

AGO = 1_000_000_000
"""A time of long ago, seconds since 1970."""


class Where:
    """Where ``tree/file`` is: the same for all its handles."""

    def __init__(self, tree: Path) -> None:
        self.file = tree / "file"

    def __call__(self) -> bytes:
        return encoded(self.file)


@pytest.fixture
def where(tree: Path) -> Where:
    os.utime(tree / "file", (AGO, AGO))
    return Where(tree)


async def handle(server: SftpRemote, where: Where, flags: OpenFlags = BOTH) -> RemoteFile:
    file, _ = await server.open(where(), flags, 0, where)
    file.confirm()
    return file


async def settle(file: RemoteFile) -> None:
    await file.start_fstat_behind().wait()


@both_ways
@pytest.mark.parametrize("settled", [True, False], ids=["settled", "not settled"])
@pytest.mark.parametrize("how", ["longer", "shorter", "appended", "emptied", "by path"])
def test_a_write_goes_on_over_what_another_handle_made_of_the_file(
    proxy: CountingProxy, where: Where, how: str, settled: bool, carried_out: bool
) -> None:
    async def work(server: SftpRemote) -> None:
        server.named_by(lambda path: where if path == where() else None)
        one = await handle(server, where)
        flags = {"appended": APPEND, "emptied": BOTH | OpenFlags.TRUNCATE}.get(how, BOTH)
        other = await handle(server, where, flags)
        match how:
            case "longer":
                await other.start_write(4, b"other's").wait()
            case "shorter":
                await other.start_setattr(AttributeChange(size=2)).wait()
            case "appended":
                await other.start_write(0, b"other's").wait()
            case "by path":
                await server.setattr(where(), AttributeChange(size=3))
        if settled:
            await settle(other)
        proxy.cut_at("WRITE", carried_out=carried_out)
        await one.start_write(1, b"ONE").wait()
        await settle(one)
        await one.start_write(5, b"more").wait()
        await other.start_fstat().wait()
        one.close()
        other.close()

    operate(proxy, work)
    expected = {
        "longer": b"cONEomore's",
        "shorter": b"cONE\0more",
        "appended": b"cONEemoreher's",
        "emptied": b"\0ONE\0more",
        "by path": b"cONE\0more",
    }
    assert where.file.read_bytes() == expected[how]


@pytest.mark.parametrize("request_lost", [False, True], ids=["known", "found as it is made"])
@pytest.mark.parametrize("how", ["emptied", "cut by path", "dated by path", "copied over"])
def test_another_file_is_not_made_like_the_one_that_was_open(
    proxy: CountingProxy, where: Where, how: str, request_lost: bool
) -> None:
    """Replaced by another client; what we make of the other one by its name comes before what was open is
    opened again, and leaves the size and time that a change of ours can have left."""

    async def work(server: SftpRemote) -> None:
        server.named_by(lambda path: where if path == where() else None)
        one = await handle(server, where)
        if request_lost:
            proxy.cut_at("SETSTAT" if how.endswith("by path") else "OPEN", carried_out=False)
        else:
            proxy.cut_at("LSTAT", carried_out=False)
            await server.lstat(where())
        beside = where.file.with_suffix(".beside")
        beside.write_bytes(b"another's, and longer")
        beside.rename(where.file)
        match how:
            case "emptied":
                other, _ = await server.open(where(), BOTH | OpenFlags.TRUNCATE, 0, where)
                other.close()
            case "cut by path":
                await server.setattr(where(), AttributeChange(size=3))
            case "dated by path":
                await server.setattr(where(), AttributeChange(size=7, atime=AGO, mtime=AGO))
            case "copied over":
                source = where.file.with_suffix(".source")
                source.write_bytes(b"longer than another's, which it is over")
                copy = await server.open_copy(encoded(source), where())
                await copy.run(0, source.stat().st_size, lambda _: None)
                copy.close()
        with pytest.raises(OSError) as failed:
            await one.start_write(1, b"ONE").wait()
        assert failed.value.errno == errno.ESTALE
        one.close()

    operate(proxy, work)
    expected = {
        "emptied": b"",
        "cut by path": b"ano",
        "dated by path": b"another",
        "copied over": b"longer than another's, which it is over",
    }
    assert where.file.read_bytes() == expected[how]


def test_a_size_set_here_and_bytes_written_there_are_no_other_file(
    proxy: CountingProxy, where: Where
) -> None:
    """Nothing was under way as the connection went, and nothing was told since."""

    async def work(server: SftpRemote) -> None:
        one, other = await handle(server, where), await handle(server, where)
        await one.start_setattr(AttributeChange(size=3)).wait()
        await other.start_write(2, b"12345").wait()
        proxy.cut_at("READ", carried_out=False)
        assert bytes(await one.start_read(0, 100).wait()) == b"co12345"
        assert bytes(await other.start_read(0, 100).wait()) == b"co12345"
        one.close()
        other.close()

    operate(proxy, work)


def test_another_version_confirmed_is_what_all_handles_know(proxy: CountingProxy, where: Where) -> None:
    """Changed by another client while it is open here, and seen by an open since."""

    async def work(server: SftpRemote) -> None:
        one = await handle(server, where, OpenFlags.READ)
        where.file.write_bytes(b"changed elsewhere")
        other = await handle(server, where, OpenFlags.READ)
        proxy.cut_at("READ", carried_out=False)
        for file in (one, other):
            assert bytes(await file.start_read(0, 100).wait()) == b"changed elsewhere"
            file.close()

    operate(proxy, work)


def test_a_version_nobody_confirmed_is_not_what_the_others_know(proxy: CountingProxy, where: Where) -> None:
    async def work(server: SftpRemote) -> None:
        one = await handle(server, where, OpenFlags.READ)
        aside = where.file.with_suffix(".aside")
        where.file.rename(aside)
        where.file.write_bytes(b"another file")
        other, _ = await server.open(where(), OpenFlags.READ, 0, where)
        other.close()
        aside.rename(where.file)
        proxy.cut_at("READ", carried_out=False)
        assert bytes(await one.start_read(0, 100).wait()) == b"content"
        one.close()

    operate(proxy, work)


@both_ways
def test_a_write_takes_back_a_time_of_the_future(
    proxy: CountingProxy, where: Where, carried_out: bool
) -> None:
    async def work(server: SftpRemote) -> None:
        file = await handle(server, where)
        future = int(time.time()) + 1000
        await file.start_setattr(AttributeChange(atime=future, mtime=future)).wait()
        await settle(file)
        proxy.cut_at("WRITE", carried_out=carried_out)
        for number in range(3):
            await file.start_write(number, b"%d" % number).wait()
            await settle(file)
        file.close()

    operate(proxy, work)
    assert where.file.read_bytes() == b"012tent"


@pytest.mark.parametrize("flags", [BOTH, APPEND], ids=["at an offset", "at the end"])
def test_a_write_goes_on_though_the_servers_clock_was_set_back(
    proxy: CountingProxy, where: Where, flags: OpenFlags
) -> None:
    """By an hour, between two writes; the connection is lost under the second."""

    async def work(server: SftpRemote) -> None:
        file = await handle(server, where, flags)
        await file.start_write(0, b"first").wait()
        await settle(file)
        proxy.set_clock(0)
        proxy.cut_at("WRITE", carried_out=True)
        await file.start_write(5, b" second").wait()
        await settle(file)
        file.close()

    proxy.set_clock(3600)
    operate(proxy, work)
    expected = b"first second" if flags is BOTH else b"contentfirst second"
    assert where.file.read_bytes() == expected


@both_ways
def test_an_appender_knows_of_others_bytes_from_what_is_told_behind_its_own(
    proxy: CountingProxy, where: Where, carried_out: bool
) -> None:
    async def work(server: SftpRemote) -> None:
        file = await handle(server, where, APPEND)
        for number in range(3):
            with where.file.open("ab") as elsewhere:
                elsewhere.write(b"elsewhere %d\n" % number)
            lines = [file.start_write(0, b"here %d.%d\n" % (number, line)) for line in range(3)]
            told = file.start_fstat_behind()
            lines.append(file.start_write(0, b"behind %d\n" % number))
            for line in lines:
                await line.wait()
            assert (await told.wait()).size < where.file.stat().st_size
        proxy.cut_at("WRITE", carried_out=carried_out)
        await file.start_write(0, b"last\n").wait()
        file.close()

    operate(proxy, work)
    lines = where.file.read_bytes().decode().splitlines()
    assert [line for line in lines if line[0] in "hbl"] == [
        *(line for n in range(3) for line in (f"here {n}.0", f"here {n}.1", f"here {n}.2", f"behind {n}")),
        "last",
    ]


@pytest.mark.parametrize("how", ["a time by path", "emptied by another open"])
def test_a_file_changed_here_as_it_was_being_opened_is_known_as_it_is_then(
    proxy: CountingProxy, where: Where, how: str
) -> None:
    opened: list[RemoteFile] = []

    async def work(server: SftpRemote) -> None:
        server.named_by(lambda path: where if path == where() else None)

        async def open_one(flags: OpenFlags) -> None:
            opened.append(await handle(server, where, flags))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_one, BOTH)
            await trio.testing.wait_all_tasks_blocked()  # it is under way
            if how == "a time by path":
                await server.setattr(where(), AttributeChange(atime=AGO + 5, mtime=AGO + 5))
            else:
                await open_one(BOTH | OpenFlags.TRUNCATE)
        proxy.cut()
        for file in opened:
            await file.start_write(0, b"more").wait()
        for file in opened:
            file.close()

    operate(proxy, work)
    assert where.file.read_bytes() == (b"moreent" if how == "a time by path" else b"more")


@both_ways
def test_an_append_is_not_made_twice_though_another_handle_saw_it_first(
    proxy: CountingProxy, where: Where, carried_out: bool
) -> None:
    async def work(server: SftpRemote) -> None:
        appender = await handle(server, where, APPEND)
        await appender.start_write(0, b" first").wait()
        proxy.cut_at("WRITE", carried_out=carried_out)
        proxy.cut_at("STAT", carried_out=False)
        append = appender.start_write(0, b" second")
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                reader = await handle(server, where, OpenFlags.READ)
                await reader.start_fstat().wait()
                reader.close()

            for _ in range(5):
                nursery.start_soon(read)
            await append.wait()
        appender.close()

    operate(proxy, work)
    assert where.file.read_bytes() == b"content first second"


@both_ways
def test_an_appender_knows_a_file_that_others_appended_to_by_its_own_last_bytes(
    proxy: CountingProxy, where: Where, carried_out: bool
) -> None:
    """Nothing was told since: their size is not known, nor in the way."""

    async def work(server: SftpRemote) -> None:
        file = await handle(server, where, APPEND)
        for number in range(3):
            await file.start_write(0, b"own line %d\n" % number).wait()
            with where.file.open("ab") as elsewhere:
                elsewhere.write(b"elsewhere %d\n" % number)
        proxy.cut_at("WRITE", carried_out=carried_out)
        for slot in [file.start_write(0, b"own line %d\n" % number) for number in (3, 4, 5)]:
            await slot.wait()
        file.close()

    operate(proxy, work)
    lines = where.file.read_bytes().removeprefix(b"content").decode().splitlines()
    assert [line for line in lines if line.startswith("own")] == [f"own line {number}" for number in range(6)]
    assert len(lines) == 9


def power_loss(proxy: CountingProxy, where: Where, content: bytes) -> None:
    """The server goes, and comes back with the file as it was."""
    proxy.refuse()
    proxy.cut()
    where.file.write_bytes(content)
    os.utime(where.file, (AGO, AGO))
    proxy.refuse(False)


@pytest.mark.parametrize("under_way", [True, False], ids=["another write under way", "nothing under way"])
def test_what_a_server_forgot_is_told_to_fsync_once_by_each_handle(
    proxy: CountingProxy, where: Where, under_way: bool
) -> None:
    """Also by one opened before any had told it, though that saw the file first as it is now."""

    async def work(server: SftpRemote) -> None:
        file, other = await handle(server, where), await handle(server, where)
        await file.start_write(0, b"A").wait()
        power_loss(proxy, where, b"content")
        if under_way:
            await file.start_write(1, b"B").wait()
        opened = await handle(server, where)
        told = dict.fromkeys((file, other, opened), errno.EIO)
        for syncing in (other, file, other, opened, opened, file, None):
            syncing = syncing or await handle(server, where)
            expected = told.pop(syncing, None)
            problem = None
            try:
                await syncing.start_fsync().wait()
            except OSError as failed:
                problem = failed.errno
            assert problem == expected
        for one in (file, other, opened):
            one.close()

    operate(proxy, work)


@pytest.mark.parametrize("how", ["synced", "only the connection was lost"])
def test_what_a_server_did_not_forget_is_synced(proxy: CountingProxy, where: Where, how: str) -> None:
    async def work(server: SftpRemote) -> None:
        file = await handle(server, where)
        await file.start_write(0, b"A").wait()
        if how == "synced":
            await file.start_fsync().wait()
            power_loss(proxy, where, b"Aontent")
        else:
            proxy.cut()
        await file.start_write(1, b"B").wait()
        await file.start_fsync().wait()
        file.close()

    operate(proxy, work)
    assert where.file.read_bytes() == b"ABntent"


@pytest.mark.parametrize("elsewhere", [True, False])
def test_an_fsync_beside_another_handles_write_does_not_answer_for_it(
    proxy: CountingProxy, where: Where, elsewhere: bool
) -> None:
    """What is under way on another connection the server may carry out behind the FSYNC, and forget."""

    async def work(server: SftpRemote) -> None:
        file = await handle(server, where)
        assert isinstance(file, PooledFile) and file.version is not None
        version, primary = file.version, file.primary()
        assert primary is not None
        change = version.write_sent(object() if elsewhere else primary.connection, 7, AGO + 100)
        await file.start_fsync().wait()
        version.ended(change, True)
        power_loss(proxy, where, b"content")
        await file.start_read(0, 1).wait()
        assert bool(version.doubts) is elsewhere
        file.close()

    operate(proxy, work)
