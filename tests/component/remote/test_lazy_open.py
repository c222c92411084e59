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
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.files.lazy_open import OPENED_AFTER
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.types import AttributeChange, Attributes, OpenFlags
from tests.component.sftp_servers import ServerConnector, encoded, run, serving, until

BEFORE = 1_000_000_000


class Late:
    """A file with content, known, and open from memory."""

    def __init__(self, server: SftpRemote, pool: ConnectionPool, path: Path) -> None:
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


def test_fsync_of_one_opens_it_and_asks(tmp_path: Path) -> None:
    """Others may have written the file, and nobody synced it."""

    async def work(late: Late) -> None:
        file = await late.open()
        await file.start_fsync().wait()
        connection = late.pool.metadata_nowait()
        assert connection is not None and late.opens == 1
        assert connection.session.statistics.requests["fsync"] == 1
        file.close()

    with_late(tmp_path, work)


CHANGES = ["remove", "rename over", "open", "empty", "set the size", "forbid", "change by a handle"]


@pytest.mark.parametrize("how", CHANGES)
def test_one_is_open_before_the_file_or_its_name_is_changed_here(tmp_path: Path, how: str) -> None:
    async def work(late: Late) -> None:
        server, name = late.server, encoded(late.path)

        def where() -> bytes:
            return name

        server.named_by(lambda path: where if path == name else None)
        late.known = await server.lstat(name)
        file = server.open_later(where, lambda: late.known)
        other: RemoteFile | None = None
        match how:
            case "remove":
                await server.remove(name)
            case "rename over":
                (tmp_path / "new").write_bytes(b"another one")
                await server.rename(encoded(tmp_path / "new"), name, True)
            case "open":
                other, _ = await server.open(name, OpenFlags.WRITE, 0, where)
            case "empty":
                other, _ = await server.open(name, OpenFlags.WRITE | OpenFlags.TRUNCATE, 0, where)
            case "set the size":
                await server.setattr(name, AttributeChange(size=3))
            case "forbid":
                await server.setattr(name, AttributeChange(mode=0))
            case "change by a handle":
                other, _ = await server.open_one(name, OpenFlags.WRITE, 0, where)
                assert not other.ordered, "the change goes later than what is sent now"
                await other.start_setattr(AttributeChange(mode=0, size=3)).wait()
        assert late.opens == 1 + (other is not None)
        if how == "open":
            put(late.path, b"another file", BEFORE + 1)
        expected = {"empty": b"", "set the size": b"con", "change by a handle": b"con"}.get(how, b"content")
        assert bytes(await file.start_read(0, 100).wait()) == expected
        for one in (file, other):
            if one is not None:
                one.close()

    with_late(tmp_path, work)


def test_one_whose_file_is_open_to_read_needs_no_open(tmp_path: Path) -> None:
    async def work(late: Late) -> None:
        def where() -> bytes:
            return encoded(late.path)

        reader, late.known = await late.server.open(where(), OpenFlags.READ, 0, where)
        file = late.server.open_later(where, lambda: late.known)
        assert bytes(await file.start_read(0, 100).wait()) == b"content"
        assert late.opens == 1 and file is reader
        file.close()

    with_late(tmp_path, work)


def test_a_failure_to_open_one_is_not_for_good(tmp_path: Path) -> None:
    async def work(late: Late) -> None:
        file = await late.open()
        aside = late.path.with_suffix(".aside")
        late.path.rename(aside)
        with pytest.raises(FileNotFoundError):
            await file.start_fstat().wait()
        aside.rename(late.path)
        assert (await file.start_fstat().wait()).size == 7
        file.close()

    with_late(tmp_path, work)


def test_one_asked_as_the_mount_ends_answers(tmp_path: Path) -> None:
    async def work(late: Late) -> None:
        file = await late.open()
        late.pool.closed = True
        with pytest.raises(OSError) as raised:
            await file.start_read(0, 100).wait()
        assert raised.value.errno == errno.EIO
        late.pool.closed = False
        file.close()

    with_late(tmp_path, work)


def test_it_grows_between_its_open_and_what_is_known(tmp_path: Path) -> None:
    """A look that was answered later than the OPEN, and taken in before it: what is known is younger each
    time than what the server told of the open file."""

    async def work(late: Late) -> None:
        before = await late.server.lstat(encoded(late.path))

        def known() -> Attributes:
            with late.path.open("ab") as other:
                other.write(b", and more")
            found = late.path.stat()
            return before._replace(size=found.st_size, mtime=int(found.st_mtime))

        file = late.server.open_later(lambda: encoded(late.path), known)
        assert bytes(await file.start_read(0, 27).wait()) == b"content, and more, and more"
        file.close()

    with_late(tmp_path, work)


@pytest.mark.parametrize("told_since", [False, True])
@pytest.mark.parametrize("grows", [False, True])
def test_that_it_has_grown_is_told_where_nobody_knows_it(
    tmp_path: Path, grows: bool, told_since: bool
) -> None:
    async def work(late: Late) -> None:
        first = await late.server.lstat(encoded(late.path))
        answers = [first, first._replace(size=100) if told_since else first]
        told: list[int] = []

        def known() -> Attributes:
            return answers.pop(0) if len(answers) > 1 else answers[0]

        def changed(found: Attributes) -> None:
            told.append(found.size)

        file = late.server.open_later(lambda: encoded(late.path), known, changed)
        if grows:
            with late.path.open("ab") as other:
                other.write(b", and more")
        await file.start_read(0, 100).wait()
        assert told == ([17] if grows and not told_since else [])
        file.close()

    with_late(tmp_path, work)
