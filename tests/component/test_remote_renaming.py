"""Renaming on servers whose RENAME replaces what has the new name, or does not replace a directory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sftpfs.remote.pool import Pool
from sftpfs.remote.server import Server
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

    async def work(server: Server, _: Pool, base: bytes) -> None:
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

    async def work(server: Server, _: Pool, base: bytes) -> None:
        with pytest.raises(OSError) as raised:
            await server.rename(base + b"/old", base + b"/new", False)
        assert raised.value.errno == errno.EACCES

    altered.operate("denies LSTAT", tmp_path, work)
    assert names(tmp_path) == {"old": b"old", "new": b"new"}


def test_a_rename_that_replaces_moves_nothing_aside(tmp_path: Path) -> None:
    """One RENAME; another name is never there."""
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "new").write_bytes(b"new")

    async def work(server: Server, pool: Pool, base: bytes) -> None:
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

    async def work(server: Server, _: Pool, base: bytes) -> None:
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
