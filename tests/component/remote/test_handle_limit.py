"""Servers with little to give: few handles, small requests, few channels. Real sftp-servers."""

from __future__ import annotations

import errno
import os
import random
import resource
import stat
import sys
from pathlib import Path

import pytest

from sftpfs.remote.api import RemoteFile
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.handles.handle_limit import HandleLimit
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.request_sizes import LOSSES, SAFE
from sftpfs.types import OpenFlags
from tests.component.sftp_servers import ServerConnector, encoded, run, serving

FEW = 20
"""Descriptors of a server, of which some are its own."""
MANY = 100
MIB = 1 << 20
READ = OpenFlags.READ
WRITE = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE


def few_handles() -> ServerConnector:
    """Servers that may have few descriptors, and say so (limits@openssh.com)."""
    return ServerConnector(descriptors=FEW)


@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
def test_more_files_are_open_than_there_are_handles(tmp_path: Path, told: bool) -> None:
    connector = few_handles() if told else ServerConnector()
    paths = [tmp_path / f"file {number}" for number in range(MANY)]
    for number, path in enumerate(paths):
        path.write_bytes(b"content of %d" % number)

    async def test() -> None:
        async with serving(connector, max_connections=1) as (server, pool):
            if not told:  # it has said that there are many
                resource.prlimit(connector.processes[0].pid, resource.RLIMIT_NOFILE, (FEW, FEW))
            files = []
            for number, path in enumerate(paths):
                flags = WRITE if number % 2 else READ
                name = encoded(path)
                files.append((await server.open(name, flags, 0o644, lambda name=name: name))[0])
            reads = [file.start_read(0, 100) for file in files]
            for number, slot in enumerate(reads):
                assert await slot.wait() == b"content of %d" % number
            writes = [files[number].start_write(0, b"CONTENT") for number in range(1, MANY, 2)]
            for slot in writes:
                await slot.wait()
            assert (await files[1].start_fstat().wait()).size == len("content of 1")
            listing = await server.list_directory(encoded(tmp_path))
            assert len(listing.entries) == MANY
            figures = pool.statistics()["connections"][0]
            assert figures["handles_let_go"] >= MANY - FEW
            for file in files:
                file.close()
            await server.lstat(encoded(tmp_path))
            held = os.listdir(f"/proc/{connector.processes[0].pid}/fd")
            assert len(held) < 10, "handles were left open"

    run(test)
    for number, path in enumerate(paths):
        assert path.read_bytes() == (b"CONTENT" if number % 2 else b"content") + b" of %d" % number


def test_a_link_put_in_the_place_of_a_directory_that_waits_for_room_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By who removes what it lists: the look that shows a directory goes with each attempt to list it."""
    connector = ServerConnector()
    for number in range(MANY):
        (tmp_path / f"{number}").write_bytes(b"")
    outside, directory = tmp_path / "outside", tmp_path / "directory"
    outside.mkdir()
    (outside / "precious").write_bytes(b"")
    directory.mkdir()
    make = HandleLimit._make

    def replaced(limit: HandleLimit, connection: Connection) -> bool:
        if not directory.is_symlink():
            directory.rmdir()
            directory.symlink_to(outside)
        return make(limit, connection)

    async def test() -> None:
        async with serving(connector, max_connections=1) as (server, _):
            resource.prlimit(connector.processes[0].pid, resource.RLIMIT_NOFILE, (FEW, FEW))
            for number in range(MANY):
                await opened(server, tmp_path / f"{number}")
            monkeypatch.setattr(HandleLimit, "_make", replaced)
            part = await server.list_part(encoded(directory), 100, ())
            assert directory.is_symlink(), "there was room"
            assert part.entries == []
            assert stat.S_ISLNK(part.attributes.mode)

    run(test)


def test_a_file_that_changed_while_it_had_no_handle_is_stale(tmp_path: Path) -> None:
    connector = few_handles()
    for number in range(MANY):
        (tmp_path / f"{number}").write_bytes(b"as it was")

    async def test() -> None:
        async with serving(connector, max_connections=1) as (server, _):
            files = [await opened(server, tmp_path / f"{number}") for number in range(MANY)]
            (tmp_path / "0").unlink()
            (tmp_path / "0").write_bytes(b"another file")
            with pytest.raises(OSError) as raised:
                await files[0].start_read(0, 100).wait()
            assert raised.value.errno == errno.ESTALE
            assert await files[1].start_read(0, 100).wait() == b"as it was"

    run(test)


def test_a_file_without_a_name_keeps_its_handle(tmp_path: Path) -> None:
    connector = few_handles()
    for number in range(MANY):
        (tmp_path / f"{number}").write_bytes(b"as it was")

    async def test() -> None:
        async with serving(connector, max_connections=1) as (server, _):
            there = True
            name = encoded(tmp_path / "0")
            first, _ = await server.open(name, READ, 0, lambda: name if there else None)
            (tmp_path / "0").unlink()
            there = False
            for number in range(1, MANY):
                await opened(server, tmp_path / f"{number}")
            assert await first.start_read(0, 100).wait() == b"as it was"

    run(test)


async def opened(server: SftpRemote, path: Path) -> RemoteFile:
    """``path`` opened for reading and staying where it is."""
    name = encoded(path)
    return (await server.open(name, READ, 0, lambda: name))[0]


def stingy(mode: str) -> ServerConnector:
    """Servers that take no request beyond 32 KiB, and do not say so."""
    connector = ServerConnector()
    connector.command = [sys.executable, "-m", "tests.harness.stingy_server", mode]
    return connector


@pytest.mark.parametrize("mode", ["failure", "message", "short", "close"])
def test_requests_become_smaller_where_large_ones_are_refused(tmp_path: Path, mode: str) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    data = random.Random(1).randbytes(3 * MIB + 12345)
    old.write_bytes(data)
    connector = stingy(mode)

    async def test() -> None:
        async with serving(connector, max_connections=1) as (server, pool):
            assert pool.read_sizes.limit > SAFE
            source = await opened(server, old)
            for _ in range(3):
                slots = [source.start_read(at, MIB) for at in range(0, len(data), MIB)]
                assert b"".join([bytes(await slot.wait()) for slot in slots]) == data
            name = encoded(new)
            copy, _ = await server.open(name, WRITE, 0o644, lambda: name)
            for _ in range(3):
                slots = [copy.start_write(at, data[at : at + MIB]) for at in range(0, len(data), MIB)]
                for slot in slots:
                    await slot.wait()
            assert new.read_bytes() == data
            figures = pool.statistics()
            assert figures["read_size"] == SAFE
            assert (figures["write_size"] == SAFE) == (mode != "short")
            before = dict(figures["connections"][0]["requests"])
            assert await source.start_read(0, len(data)).wait() == data
            reads = pool.statistics()["connections"][0]["requests"]["read"] - before.get("read", 0)
            assert reads == -(-len(data) // SAFE), "asked for too much, or more often than needed"
            assert figures["reconnects"] <= 2 * LOSSES

    run(test)


def test_an_append_is_never_sent_a_second_time(tmp_path: Path) -> None:
    """What was refused may have been written in part."""
    log = tmp_path / "log"
    log.write_bytes(b"begin ")

    async def test() -> None:
        async with serving(stingy("failure"), max_connections=1) as (server, _):
            name = encoded(log)
            file, _ = await server.open(name, OpenFlags.WRITE | OpenFlags.APPEND, 0, lambda: name)
            with pytest.raises(OSError) as raised:
                await file.start_write(0, bytes(2 * SAFE)).wait()
            assert raised.value.errno == errno.EIO
            await file.start_write(0, b"end").wait()

    run(test)
    assert log.read_bytes() == b"begin end"
