"""Handles told beforehand: what that saves with OpenSSH, and that nothing is lost where others are given."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from sftpfs.remote.api import RemoteFile
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.outcome import errno_probe
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.remote.requests.owner_names import owner_names
from sftpfs.sftp.session import Session
from sftpfs.types import OpenFlags, ServerCapabilities
from tests.component.sftp_servers import ServerConnector, encoded, run, serving, until
from tests.contract.openssh_server import against_server

DIRECTORIES = 12
NAMES = 450
"""More than the READDIRs sent with the OPENDIR bring."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Directories with names that tell where they are, and a file in each."""
    for number in range(DIRECTORIES):
        directory = tmp_path / f"d{number}"
        directory.mkdir()
        for name in range(NAMES if number % 2 else number):
            (directory / f"{number}-{name}").touch()
        (tmp_path / f"f{number}").write_bytes(f"content of {number}".encode())
    return tmp_path


def session_of(pool: ConnectionPool) -> Session:
    """The metadata session."""
    connection = pool.metadata_nowait()
    assert connection is not None
    return connection.session


async def list_one(server: SftpRemote, base: bytes, number: int) -> None:
    """Everything is listed, and nothing of another directory."""
    listing = await server.list_directory(base + b"/d%d" % number)
    names = {entry.name for entry in listing.entries}
    assert names == {b"%d-%d" % (number, name) for name in range(NAMES if number % 2 else number)}


async def read_one(server: SftpRemote, base: bytes, number: int) -> None:
    """The file's own content, by a prefetch and by an open."""
    path = base + b"/f%d" % number
    content = b"content of %d" % number
    whole = await server.fetch(path, len(content))
    assert whole is not None and bytes(whole.data) == content
    file, attributes, whole = await server.open_whole(path, len(content), lambda: path)
    assert attributes.size == len(content)
    assert whole is None or bytes(whole.data) == content
    assert bytes(await file.start_read(0, 100).wait()) == content
    file.close()


async def fail_one(server: SftpRemote, base: bytes, number: int) -> None:
    """No handle is made."""
    with pytest.raises(OSError):
        await server.open(base + b"/missing%d" % number, OpenFlags.READ, 0, lambda: None)
    with pytest.raises(OSError):
        await server.list_directory(base + b"/f%d" % number)


@pytest.mark.parametrize("mode", ["openssh", "lowest", "counter", "text"])
@pytest.mark.parametrize("seed", range(3))
def test_everything_at_once(tree: Path, mode: str, seed: int) -> None:
    base = encoded(tree)
    connector = ServerConnector()
    if mode != "openssh":
        connector.command = [sys.executable, "-m", "tests.harness.numbering_server", mode]
    choice = random.Random(seed)

    async def test() -> None:
        async with serving(connector, max_connections=1) as (server, pool):
            forecast = session_of(pool).handles
            await until(lambda: forecast.broken or forecast.predict() is not None)
            for _ in range(6):
                async with trio.open_nursery() as nursery:
                    for number in choice.sample(range(DIRECTORIES), DIRECTORIES):
                        work = choice.choice((list_one, list_one, read_one, fail_one))
                        nursery.start_soon(work, server, base, number)
            assert forecast.broken is (mode != "openssh")

    run(test)


def test_one_wait_where_the_handle_is_told_beforehand(tree: Path) -> None:
    base = encoded(tree)

    async def test() -> None:
        async with serving(ServerConnector(), max_connections=1) as (server, pool):
            session = session_of(pool)

            async def cost(operation: Awaitable[object]) -> int:
                await until(lambda: session.handles.predict() is not None and not session.outstanding)
                before = session.statistics.waits
                await operation
                return session.statistics.waits - before

            path = base + b"/f1"
            assert await cost(server.open_whole(path, 12, lambda: path)) == 1
            # CLOSE, for which nobody waits, is counted as one more where it goes out last.
            assert await cost(server.fetch(path, 12)) in (1, 2)
            assert await cost(server.list_directory(base + b"/d2")) in (1, 2)

    run(test)


def test_a_file_that_has_become_another_is_not_read_with_its_open(tree: Path) -> None:
    path = encoded(tree / "f1")

    async def test() -> None:
        async with serving(ServerConnector(), max_connections=1) as (server, pool):
            await until(lambda: session_of(pool).handles.predict() is not None)
            for size in (1, 11, 13, 60000):
                file, attributes, whole = await server.open_whole(path, size, lambda: path)
                assert attributes.size == 12
                assert whole is None
                assert bytes(await file.start_read(0, 100).wait()) == b"content of 1"
                file.close()

    run(test)


def test_openssh_gives_handles_as_expected(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "dir").mkdir()
    choice = random.Random(7)

    async def body(session: Session, directory: Path) -> None:
        base = os.fsencode(directory)
        handles: list[bytes] = []
        for _ in range(150):
            slots = []
            for _ in range(choice.randrange(1, 12)):
                kind = choice.randrange(5)
                if kind == 0:
                    slots.append(session.start_opendir(base + b"/dir"))
                elif kind == 1:
                    slots.append(session.start_open(base + b"/missing", 1))
                elif kind == 2 and handles:
                    session.start_close(handles.pop(choice.randrange(len(handles))))
                else:
                    slots.append(session.start_open(base + b"/file", 1))
            for slot in slots:
                try:
                    handles.append(await slot.wait())
                except OSError:
                    pass
            if not choice.randrange(4):
                expected = session.handles.predict()
                handles.append(await session.start_opendir(base).wait())
                assert expected in (None, handles[-1])
            assert not session.handles.broken
        for handle in handles:
            await session.start_close(handle).wait()
        assert session.handles.predict() is not None

    against_server(tmp_path, body)


async def doubt(server: SftpRemote, session: Session, base: bytes) -> RemoteFile:
    """Have the next handle be another than OpenSSH's: free are 0 and 2, and 2 was freed last.

    The file whose handle is 1 is to be kept open.
    """
    await until(lambda: session.handles.predict() is not None and not session.outstanding)
    files = [await server.open(base + b"/f1", OpenFlags.READ, 0, lambda: None) for _ in range(3)]
    for which in (0, 2):
        files[which][0].close()
    await until(lambda: not session.outstanding)
    return files[1][0]


def test_a_listing_that_lost_names_to_a_wrong_handle_is_made_again(tree: Path) -> None:
    base = encoded(tree)
    connector = ServerConnector()
    connector.command = [sys.executable, "-m", "tests.harness.numbering_server", "lowest"]

    async def test() -> None:
        async with serving(connector, max_connections=1) as (server, pool):
            session = session_of(pool)
            kept = await doubt(server, session, base)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(list_one, server, base, 1)
                nursery.start_soon(list_one, server, base, 3)
            assert session.handles.broken
            kept.close()

    run(test)


async def is_empty(session: Session, path: bytes) -> bool:
    """Seen from the server's names as an rmdir or rename that failed is explained."""
    return await errno_probe.is_empty(session, path) is False


async def has_owners(session: Session, path: bytes) -> bool:
    """The names of who owns what is in it, as its lines tell them."""
    found = await owner_names(session, [1], [1], path)
    return found.users.keys() == {1} and found.groups.keys() == {1}


@pytest.mark.parametrize("look", [is_empty, has_owners])
def test_a_look_into_a_directory_that_lost_names_is_made_again(
    tree: Path, look: Callable[[Session, bytes], Awaitable[bool]]
) -> None:
    base = encoded(tree)
    os.chown(tree / "d2" / "2-0", 1, 1)
    connector = ServerConnector()
    connector.command = [sys.executable, "-m", "tests.harness.numbering_server", "lowest"]
    seen = []

    async def test() -> None:
        async with serving(connector, max_connections=1) as (server, pool):
            session = session_of(pool)
            kept = await doubt(server, session, base)
            session.capabilities = ServerCapabilities()  # names of owners are read off a listing

            async def work() -> None:
                seen.append(await look(session, base + b"/d2"))

            connector.processes[0].send_signal(signal.SIGSTOP)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work)
                await until(lambda: session.outstanding)
                nursery.start_soon(list_one, server, base, 4)
                await until(lambda: session.outstanding > 2)
                connector.processes[0].send_signal(signal.SIGCONT)
            assert session.handles.broken
            assert seen == [True]
            kept.close()

    run(test)
