"""How a written file ends on a server that is not known to keep an order: in few waits, and truly."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from sftpfs.remote.api import HandedOver
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.types import AttributeChange, OpenFlags
from tests.component.altered import operate

NEW = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE
LONG_AGO = 1_000_000_000
CHANGE = AttributeChange(mode=0o640, atime=LONG_AGO, mtime=LONG_AGO)
DATA = b"written" * 100


async def handed_over(server: SftpRemote, name: bytes, change: AttributeChange | None) -> HandedOver:
    """A new file is written, and closed on the server."""
    file, _ = await server.open(name, NEW, 0o644, lambda: name)
    await file.start_write(0, DATA).wait()
    result = await file.start_hand_over(change).wait()
    file.close()
    return result


def as_set(path: Path, result: HandedOver) -> None:
    """The file is what was written and set, and was told so."""
    there = path.stat()
    assert path.read_bytes() == DATA
    assert (there.st_mode & 0o7777, int(there.st_mtime)) == (0o640, LONG_AGO)
    seen = result.attributes
    assert result.refused is None
    assert (seen.size, seen.mode, seen.mtime) == (there.st_size, there.st_mode, LONG_AGO)


def traits(pool: ConnectionPool) -> tuple[bool, bool]:
    """As found."""
    return pool.traits.known.sets_before_close, pool.traits.known.shows_before_close


@pytest.mark.parametrize(
    ("respect", "found", "last"),
    [
        ("none", (True, True), ["FSETSTAT", "CLOSE", "LSTAT"]),
        ("looks before it sets", (True, False), ["FSETSTAT", "CLOSE", "LSTAT"]),
        ("closes before it sets", (False, False), ["FSETSTAT", "CLOSE", "LSTAT"]),
    ],
)
def test_files_are_what_was_written_and_set_whatever_comes_first(
    respect: str, found: tuple[bool, bool], last: list[str], tmp_path: Path
) -> None:
    async def work(server: SftpRemote, pool: ConnectionPool, directory: bytes) -> None:
        for number in range(5):
            name = directory + b"/%d" % number
            as_set(Path(os.fsdecode(name)), await handed_over(server, name, CHANGE))
        assert traits(pool) == found

    names = operate(respect, tmp_path, work)
    assert [name for name in names if name != "OPEN"][-3:] == last


def test_change_close_and_look_are_one_wait_once_the_server_was_seen_to_show_files(tmp_path: Path) -> None:
    async def work(server: SftpRemote, pool: ConnectionPool, directory: bytes) -> None:
        connection = pool.metadata_nowait()
        assert connection is not None
        statistics = connection.session.statistics
        for number in range(3):
            name = directory + b"/%d" % number
            file, _ = await server.open(name, NEW, 0o644, lambda name=name: name)  # type: ignore[misc]
            await file.start_write(0, DATA).wait()
            before = statistics.waits
            await file.start_hand_over(CHANGE).wait()
            waits = statistics.waits - before
            file.close()
        assert waits == 1

    operate("none", tmp_path, work)


@pytest.mark.parametrize("respect", ["loses as it closes", "cuts as it closes"])
def test_a_server_that_shows_a_file_and_then_loses_it_is_not_believed_before(
    respect: str, tmp_path: Path
) -> None:
    """The first look before CLOSE shows all; the one behind it tells what became of the file."""

    async def work(server: SftpRemote, pool: ConnectionPool, directory: bytes) -> None:
        for number in range(2):
            name = directory + b"/%d" % number
            file, _ = await server.open(name, NEW, 0o644, lambda name=name: name)  # type: ignore[misc]
            await file.start_write(0, b"x" * 5000).wait()
            with pytest.raises(OSError, match="closed"):
                await file.start_hand_over(CHANGE).wait()
            file.close()
        assert not pool.traits.known.shows_before_close

    operate(respect, tmp_path, work)


def test_a_change_that_is_refused_is_told_and_the_file_is_there(tmp_path: Path) -> None:
    async def work(server: SftpRemote, pool: ConnectionPool, directory: bytes) -> None:
        name = directory + b"/file"
        result = await handed_over(server, name, CHANGE)
        assert result.refused is not None
        assert result.attributes.size == len(DATA)
        assert (tmp_path / "file").read_bytes() == DATA

    operate("sets nothing", tmp_path, work)


@pytest.mark.parametrize("respect", ["names as it closes", "has no FSETSTAT", "sets no times"])
def test_other_servers_end_files_as_they_did(respect: str, tmp_path: Path) -> None:
    async def work(server: SftpRemote, pool: ConnectionPool, directory: bytes) -> None:
        for number in range(2):
            name = directory + b"/%d" % number
            result = await handed_over(server, name, CHANGE if respect != "sets no times" else None)
            assert result.attributes.size == len(DATA)
            assert (tmp_path / str(number)).read_bytes() == DATA
            if respect != "sets no times":
                assert result.attributes.mtime == LONG_AGO

    operate(respect, tmp_path, work)


@pytest.mark.parametrize("respect", ["none", "looks before it sets", "closes before it sets"])
def test_a_file_renamed_as_it_is_handed_over_is_set_and_told_by_its_new_name(
    respect: str, tmp_path: Path
) -> None:
    """What another program put at its old name meanwhile is let alone."""
    other = tmp_path / "other"

    async def work(server: SftpRemote, _: ConnectionPool, directory: bytes) -> None:
        old, new = directory + b"/old", directory + b"/new"
        at = [old]

        async def move() -> None:
            await server.rename(old, new, replace=True)
            at[0] = new

        file, _attributes = await server.open(old, NEW, 0o644, lambda: at[0])
        await file.start_write(0, DATA).wait()
        result = file.start_hand_over(CHANGE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(move)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(server.rename, directory + b"/other", old, True)
        as_set(tmp_path / "new", await result.wait())
        file.close()

    other.write_bytes(DATA)
    other.chmod(0o604)
    before = other.stat()
    operate(respect, tmp_path, work)
    there = (tmp_path / "old").stat()
    assert (there.st_mode, there.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


@pytest.mark.parametrize("respect", ["none", "looks before it sets", "closes before it sets"])
def test_a_file_removed_as_it_is_handed_over_is_not_told_to_be_lost(respect: str, tmp_path: Path) -> None:
    async def work(server: SftpRemote, _: ConnectionPool, directory: bytes) -> None:
        at: list[bytes | None] = [directory + b"/file"]

        async def remove() -> None:
            await server.remove(directory + b"/file")
            at[0] = None

        file, _attributes = await server.open(directory + b"/file", NEW, 0o644, lambda: at[0])
        await file.start_write(0, DATA).wait()
        result = file.start_hand_over(CHANGE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(remove)
        assert (await result.wait()).attributes.size == len(DATA)
        file.close()

    operate(respect, tmp_path, work)


def test_a_time_that_close_would_have_given_proves_nothing(tmp_path: Path) -> None:
    """Seconds of a file set to the very one it is: the look before CLOSE and the one behind it are alike."""

    async def work(server: SftpRemote, pool: ConnectionPool, directory: bytes) -> None:
        for number in range(5):
            now = int(time.time())
            await handed_over(server, directory + b"/now%d" % number, AttributeChange(atime=now, mtime=now))
            assert not pool.traits.known.shows_before_close
        result = await handed_over(server, directory + b"/file", CHANGE)
        assert result.attributes.mtime == int((tmp_path / "file").stat().st_mtime)

    operate("dates as it closes", tmp_path, work)


def test_a_look_that_does_not_show_the_time_of_access_came_too_early(tmp_path: Path) -> None:
    async def work(server: SftpRemote, pool: ConnectionPool, directory: bytes) -> None:
        pool.traits.prove("shows_before_close")
        await handed_over(server, directory + b"/first", CHANGE)
        name = directory + b"/file"
        file, _ = await server.open(name, NEW, 0o644, lambda: name)
        await file.start_write(0, DATA).wait()
        made = await file.start_fstat().wait()
        change = AttributeChange(atime=LONG_AGO, mtime=made.mtime)
        result = await file.start_hand_over(change).wait()
        file.close()
        assert result.attributes.atime == int((tmp_path / "file").stat().st_atime) == LONG_AGO

    operate("looks before it sets", tmp_path, work)
