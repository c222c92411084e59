"""The connection cut under an open file: what it goes on with, and when it is stale."""

from __future__ import annotations

import errno
import math
import os
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from sftpfs import clock
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.files.pooled_file import PooledFile
from sftpfs.sftp.rate_limit import LEAST_PIECE
from sftpfs.types import AttributeChange, Bandwidth, OpenFlags
from tests.component.cut_server import both_ways, operate
from tests.component.sftp_servers import encoded
from tests.harness.counting import CountingProxy

LEAST_RATE = 1024.0
"""Bytes a second of the lowest limit."""


@both_ways
@pytest.mark.parametrize("request_name", ["WRITE", "FSTAT", "fsync@openssh.com", "FSETSTAT", "READ"])
def test_an_open_file_survives(
    proxy: CountingProxy, tree: Path, carried_out: bool, request_name: str
) -> None:
    name = encoded(tree / "file")

    async def work(server: SftpRemote) -> None:
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


def test_what_waited_for_its_turn_for_longer_than_the_deadline_is_not_given_up(
    proxy: CountingProxy, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a link that takes minutes for what was written in a second: the server answers all along."""
    name = encoded(tree / "file")

    async def work(server: SftpRemote) -> None:
        file, _ = await server.open(name, OpenFlags.READ | OpenFlags.WRITE, 0, lambda: name)
        assert isinstance(file, PooledFile)
        file.outbox.held = True
        written, synced = file.start_write(0, b"WRITTEN"), file.start_fsync()
        for later in (1000.0, 2000.0):
            monkeypatch.setattr(clock, "awake", lambda later=later: time.monotonic() + later)
            await file.start_fstat().wait()
            proxy.cut_at("FSTAT", carried_out=False)
            await file.start_fstat().wait()
        file.outbox.release()
        await written.wait()
        await synced.wait()
        file.close()

    operate(proxy, work)
    assert (tree / "file").read_bytes() == b"WRITTEN"


def test_what_a_limit_held_on_an_idle_connection_is_not_given_up(
    proxy: CountingProxy, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was owed no answer for longer than the deadline, and then lost: that is not the server's silence."""
    name = encoded(tree / "file")
    content = os.urandom(3 * LEAST_PIECE)

    async def work(server: SftpRemote) -> None:
        file, _ = await server.open(name, OpenFlags.READ | OpenFlags.WRITE, 0, lambda: name)
        assert isinstance(file, PooledFile)
        server._pool.limit(Bandwidth(LEAST_RATE, math.inf))
        written, synced = file.start_write(0, content), file.start_fsync()
        await file.start_fstat().wait()
        monkeypatch.setattr(clock, "awake", lambda: time.monotonic() + 1000)
        proxy.cut_at("FSTAT", carried_out=False)
        await file.start_fstat().wait()
        server._pool.limit(Bandwidth(math.inf, math.inf))
        await written.wait()
        await synced.wait()
        file.close()

    operate(proxy, work)
    assert (tree / "file").read_bytes() == content


@both_ways
def test_an_append_is_never_made_twice(proxy: CountingProxy, tree: Path, carried_out: bool) -> None:
    name = encoded(tree / "file")

    async def work(server: SftpRemote) -> None:
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

    def where() -> bytes:
        return name

    async def work(server: SftpRemote) -> None:
        flags = OpenFlags.WRITE | OpenFlags.APPEND
        one, _ = await server.open(name, flags, 0, where)
        other, _ = await server.open(name, flags, 0, where)
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


@both_ways
@pytest.mark.parametrize("how", ["a write", "a truncation", "an open"])
def test_a_handle_that_appends_counts_what_another_makes_of_the_size(
    proxy: CountingProxy, tree: Path, carried_out: bool, how: str
) -> None:
    name = encoded(tree / "file")

    def where() -> bytes:
        return name

    async def work(server: SftpRemote) -> None:
        one, _ = await server.open(name, OpenFlags.WRITE | OpenFlags.APPEND, 0, where)
        flags = OpenFlags.WRITE | OpenFlags.TRUNCATE if how == "an open" else OpenFlags.WRITE
        other, _ = await server.open(name, flags, 0, where)
        if how == "a write":
            await other.start_write(7, b"22").wait()
        elif how == "a truncation":
            await other.start_setattr(AttributeChange(size=2)).wait()
        await one.start_write(0, b"1").wait()
        proxy.cut_at("WRITE", carried_out=carried_out)
        await one.start_write(0, b"33").wait()
        one.close()
        other.close()

    operate(proxy, work)
    before = {"a write": b"content22", "a truncation": b"co", "an open": b""}[how]
    assert (tree / "file").read_bytes() == before + b"133"


@pytest.mark.parametrize("foreign", [b"xx", b"xxxxx"], ids=["another length", "the same length"])
def test_an_append_that_cannot_be_told_from_another_is_an_error(
    proxy: CountingProxy, tree: Path, foreign: bytes
) -> None:
    name = encoded(tree / "file")

    async def work(server: SftpRemote) -> None:
        file, _ = await server.open(name, OpenFlags.WRITE | OpenFlags.APPEND, 0, lambda: name)
        (tree / "file").write_bytes(b"content" + foreign)
        proxy.cut_at("WRITE", carried_out=False)
        with pytest.raises(OSError) as raised:
            await file.start_write(0, b"12345").wait()
        assert raised.value.errno == errno.EIO
        file.close()

    operate(proxy, work)
    assert (tree / "file").read_bytes() == b"content" + foreign


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

    async def work(server: SftpRemote) -> None:
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

    def where() -> bytes:
        return name

    async def work(server: SftpRemote) -> None:
        reader, _ = await server.open(name, OpenFlags.READ, 0, where)
        for closed in (False, True):
            writer, _ = await server.open(name, OpenFlags.WRITE, 0, where)
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

    async def work(server: SftpRemote) -> None:
        file, known = await server.open(old, OpenFlags.READ, 0, lambda: paths[0])
        proxy.cut_at("posix-rename@openssh.com", carried_out=carried_out)

        async def rename() -> None:
            await server.rename(old, new, True, lambda: known)
            paths[0] = new

        async with trio.open_nursery() as nursery:
            nursery.start_soon(rename)
            await trio.testing.wait_all_tasks_blocked()
            assert bytes(await file.start_read(0, 100).wait()) == b"content"
        file.close()

    operate(proxy, work)
