"""Renaming on servers whose RENAME replaces what has the new name, or does not replace a directory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sftpfs.remote.client import SftpRemote
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.types import OpenFlags
from tests.component import altered
from tests.component.altered import asked
from tests.component.sftp_servers import ServerConnector, encoded, run, serving

LOOKS = ("lstat", "stat", "rename")


def names(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


@pytest.mark.parametrize("taken", ["file", "directory", "dead link"])
def test_nothing_is_lost_by_a_rename_that_must_not_replace(tmp_path: Path, taken: str) -> None:
    (tmp_path / "old").write_bytes(b"old")
    match taken:
        case "file":
            (tmp_path / "new").write_bytes(b"new")
        case "directory":
            (tmp_path / "new").mkdir()
        case "dead link":
            (tmp_path / "new").symlink_to("nothing")
    before = os.lstat(tmp_path / "new").st_ino

    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        with pytest.raises(FileExistsError):
            await server.rename(base + b"/old", base + b"/new", False)
        await server.rename(base + b"/old", base + b"/free", False)

    altered.operate("RENAME replaces", tmp_path, work)
    assert os.lstat(tmp_path / "new").st_ino == before
    assert (tmp_path / "free").read_bytes() == b"old"


def test_where_it_cannot_be_looked_nothing_is_renamed(tmp_path: Path) -> None:
    """EACCES of the look; what then has the name could be anything."""
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "new").write_bytes(b"new")

    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        with pytest.raises(OSError) as raised:
            await server.rename(base + b"/old", base + b"/new", False)
        assert raised.value.errno == errno.EACCES

    altered.operate("denies LSTAT", tmp_path, work)
    assert names(tmp_path) == {"old": b"old", "new": b"new"}


def test_a_rename_that_replaces_moves_nothing_aside(tmp_path: Path) -> None:
    """One RENAME; another name is never there."""
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "new").write_bytes(b"new")

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        assert await asked(pool, server.rename(base + b"/old", base + b"/new", True), LOOKS) == {"rename": 1}

    altered.operate("RENAME replaces", tmp_path, work)
    assert names(tmp_path) == {"new": b"old"}


@pytest.mark.parametrize(
    "respect",
    [
        "RENAME replaces, but no directory",
        "posix-rename replaces no directory",
        "posix-rename replaces no directory, in words of its own",
        "RENAME replaces no directory, in a later version's words",
    ],
)
def test_a_directory_replaces_an_empty_one(tmp_path: Path, respect: str) -> None:
    """Go's os.Rename refuses it, and says that the name is taken."""
    for name in ("old", "empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "old" / "file").write_bytes(b"1")
    (tmp_path / "full" / "file").write_bytes(b"2")
    (tmp_path / "single").write_bytes(b"3")

    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        for old, new, number in (
            (b"/old", b"/full", errno.ENOTEMPTY),
            (b"/single", b"/empty", errno.EISDIR),
            (b"/none", b"/empty", errno.ENOENT),
        ):
            with pytest.raises(OSError) as raised:
                await server.rename(base + old, base + new, True)
            assert raised.value.errno == number
        await server.rename(base + b"/old", base + b"/empty", True)

    altered.operate(respect, tmp_path, work)
    assert sorted(os.listdir(tmp_path)) == ["empty", "full", "single"]
    assert (tmp_path / "empty" / "file").read_bytes() == b"1"


def test_openssh_is_asked_once(tmp_path: Path) -> None:
    """It keeps what has the name: no look before."""
    (tmp_path / "old").write_bytes(b"old")

    async def test() -> None:
        async with serving(ServerConnector(), max_connections=1) as (server, pool):
            base = encoded(tmp_path)
            await server.lstat(base)
            renaming = server.rename(base + b"/old", base + b"/new", False)
            assert await asked(pool, renaming, LOOKS) == {"rename": 1}

    run(test)


@pytest.mark.parametrize("respect", ["none", "handles go by names"])
def test_what_is_open_of_a_replaced_file_is_never_read_as_the_new_one(tmp_path: Path, respect: str) -> None:
    (tmp_path / "file").write_bytes(b"of the old file")
    (tmp_path / "next").write_bytes(b"new")
    known = lambda: encoded(tmp_path / "file")  # noqa: E731 — equal to itself, as a path's owner has it

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        server.named_by(lambda path: known if path == base + b"/file" else None)
        file, _ = await server.open(base + b"/file", OpenFlags.READ, 0, known)
        looks = await asked(pool, server.rename(base + b"/next", base + b"/file", True), ("fstat",))
        assert looks == {"fstat": 1}
        reading = file.start_read(0, 100)
        if respect == "none":
            assert bytes(await reading.wait()) == b"of the old file"
        else:
            with pytest.raises(OSError) as raised:
                await reading.wait()
            assert raised.value.errno == errno.ESTALE
            assert not pool.traits.known.handles_outlive_names
        file.close()

    altered.operate(respect, tmp_path, work)


@pytest.mark.parametrize("name", ["old", "new"])
def test_no_link_is_renamed_where_lstat_follows_links(tmp_path: Path, name: str) -> None:
    """It may move what they lead to, as ProFTPD does."""
    (tmp_path / "target").write_bytes(b"kept")
    (tmp_path / "file").write_bytes(b"content")

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        await server.symlink(b"target", base + b"/link")
        assert not pool.traits.known.answers_lstat
        names = (b"/link", b"/other") if name == "old" else (b"/file", b"/link")
        with pytest.raises(OSError) as raised:
            await server.rename(*(base + one for one in names), True)
        assert raised.value.errno == errno.EOPNOTSUPP
        await server.rename(base + b"/file", base + b"/moved", True)

    altered.operate("follows links", tmp_path, work)
    assert names(tmp_path) == {"target": b"kept", "link": b"kept", "moved": b"content"}
