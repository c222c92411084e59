"""Operations by path over a real sftp-server: results, waits, and the errno of every failure."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from sftpfs.remote.api import LinkTarget
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.sftp.session import Session
from sftpfs.types import AttributeChange, OpenFlags
from tests.component.sftp_servers import ServerConnector, encoded, run, serving, until

CREATE = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE


PLAIN = ("-P", "posix-rename")
"""sftp-server without posix-rename@openssh.com, neither offered nor taken."""


def operate(
    work: Callable[[SftpRemote, ConnectionPool, bytes], Awaitable[None]], directory: Path, *arguments: str
) -> None:
    """Run ``work`` with a server, its pool and the path of ``directory``."""

    async def test() -> None:
        async with serving(ServerConnector(*arguments), max_connections=1) as (server, pool):
            await work(server, pool, encoded(directory))

    run(test)


def fails(
    number: int, directory: Path, work: Callable[[SftpRemote, bytes], Awaitable[object]], *arguments: str
) -> None:
    """``work`` fails with ``number``."""

    async def body(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        with pytest.raises(OSError) as raised:
            await work(server, base)
        assert errno.errorcode[raised.value.errno or 0] == errno.errorcode[number]

    operate(body, directory, *arguments)


def nowhere() -> bytes | None:
    """No path."""
    return None


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A file, an empty and a full directory, links, and a loop."""
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "other").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_bytes(b"")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("pool")
    (tmp_path / "pool").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


LONG = b"/" + b"n" * 1025

FAILURES: list[tuple[int, str, Callable[[SftpRemote, bytes], Awaitable[object]]]] = [
    (errno.ENOENT, "lstat missing", lambda s, d: s.lstat(d + b"/no")),
    (errno.ENOENT, "stat dangling", lambda s, d: s.stat(d + b"/dangling")),
    (errno.ELOOP, "stat loop", lambda s, d: s.stat(d + b"/loop")),
    (errno.EINVAL, "readlink of a file", lambda s, d: s.readlink(d + b"/file")),
    (errno.ENAMETOOLONG, "lstat long name", lambda s, d: s.lstat(d + LONG)),
    (errno.ENAMETOOLONG, "mkdir long name", lambda s, d: s.mkdir(d + LONG, 0o755)),
    (errno.ENAMETOOLONG, "long path", lambda s, d: s.lstat(b"/abc" * 1024)),
    (errno.EINVAL, "NUL", lambda s, d: s.lstat(d + b"/a\0b")),
    (errno.EINVAL, "relative", lambda s, d: s.lstat(b"file")),
    (errno.ENOTDIR, "list a file", lambda s, d: s.list_directory(d + b"/file")),
    (errno.ENOENT, "list nothing", lambda s, d: s.list_directory(d + b"/no")),
    (errno.EEXIST, "mkdir over a file", lambda s, d: s.mkdir(d + b"/file", 0o755)),
    (errno.EEXIST, "mkdir over a directory", lambda s, d: s.mkdir(d + b"/empty", 0o755)),
    (errno.EEXIST, "mkdir over a dangling link", lambda s, d: s.mkdir(d + b"/dangling", 0o755)),
    (errno.ENOTDIR, "mkdir below a file", lambda s, d: s.mkdir(d + b"/file/x", 0o755)),
    (errno.ENOENT, "mkdir below nothing", lambda s, d: s.mkdir(d + b"/no/x", 0o755)),
    (errno.EEXIST, "symlink over a file", lambda s, d: s.symlink(b"t", d + b"/file")),
    (errno.ENOENT, "symlink to nothing", lambda s, d: s.symlink(b"", d + b"/new")),
    (errno.ENAMETOOLONG, "symlink to a long path", lambda s, d: s.symlink(b"x" * 4096, d + b"/new")),
    (errno.EEXIST, "link over a file", lambda s, d: s.link(d + b"/file", d + b"/other")),
    (errno.EPERM, "link of a directory", lambda s, d: s.link(d + b"/empty", d + b"/new")),
    (errno.ENOENT, "link of nothing", lambda s, d: s.link(d + b"/no", d + b"/new")),
    (errno.ENOTDIR, "link below a file", lambda s, d: s.link(d + b"/other", d + b"/file/x")),
    (errno.ENOENT, "open missing", lambda s, d: s.open(d + b"/no", OpenFlags.READ, 0, nowhere)),
    (
        errno.EISDIR,
        "open directory to write",
        lambda s, d: s.open(d + b"/empty", OpenFlags.WRITE, 0, nowhere),
    ),
    (errno.EISDIR, "open directory to read", lambda s, d: s.open(d + b"/empty", OpenFlags.READ, 0, nowhere)),
    (
        errno.EEXIST,
        "exclusive over a file",
        lambda s, d: s.open(d + b"/file", CREATE | OpenFlags.EXCLUSIVE, 0o644, nowhere),
    ),
    (
        errno.EEXIST,
        "exclusive over a dangling link",
        lambda s, d: s.open(d + b"/dangling", CREATE | OpenFlags.EXCLUSIVE, 0o644, nowhere),
    ),
    (errno.ENOTDIR, "create below a file", lambda s, d: s.open(d + b"/file/x", CREATE, 0o644, nowhere)),
    (errno.ENOENT, "create below nothing", lambda s, d: s.open(d + b"/no/x", CREATE, 0o644, nowhere)),
    (errno.EISDIR, "remove a directory", lambda s, d: s.remove(d + b"/empty")),
    (errno.ENOENT, "remove nothing", lambda s, d: s.remove(d + b"/no")),
    (errno.ENOTEMPTY, "rmdir full", lambda s, d: s.rmdir(d + b"/full")),
    (errno.ENOTDIR, "rmdir a file", lambda s, d: s.rmdir(d + b"/file")),
    (errno.ENOENT, "rmdir nothing", lambda s, d: s.rmdir(d + b"/no")),
    (errno.ENOENT, "chmod nothing", lambda s, d: s.setattr(d + b"/no", AttributeChange(mode=0o600))),
    (errno.EISDIR, "truncate a directory", lambda s, d: s.setattr(d + b"/empty", AttributeChange(size=0))),
    (
        errno.EOPNOTSUPP,
        "chmod a link",
        lambda s, d: s.setattr(d + b"/link", AttributeChange(mode=0o600), LinkTarget.LINK),
    ),
    (errno.EPERM, "chmod in /proc", lambda s, d: s.setattr(b"/proc/1/status", AttributeChange(mode=0o600))),
]


@pytest.mark.parametrize(("number", "work"), [pytest.param(n, w, id=name) for n, name, w in FAILURES])
def test_errno(number: int, work: Callable[[SftpRemote, bytes], Awaitable[object]], tree: Path) -> None:
    fails(number, tree, work)


RENAME_FAILURES = [
    (errno.ENOENT, b"no", b"new", True),
    (errno.ENOTEMPTY, b"empty", b"full", True),
    (errno.ENOTDIR, b"empty", b"file", True),
    (errno.EISDIR, b"file", b"empty", True),
    (errno.EINVAL, b"full", b"full/x/y", True),
    (errno.ENOTDIR, b"other", b"file/new", True),
    (errno.ENOENT, b"file", b"no/new", True),
    (errno.EEXIST, b"file", b"other", False),
    (errno.EEXIST, b"full", b"empty", False),
    (errno.EEXIST, b"file", b"dangling", False),
    (errno.ENOENT, b"no", b"new", False),
]


@pytest.mark.parametrize("arguments", [(), PLAIN], ids=["posix", "plain"])
@pytest.mark.parametrize(("number", "old", "new", "replace"), RENAME_FAILURES)
def test_rename_errno(
    number: int,
    old: bytes,
    new: bytes,
    replace: bool,
    arguments: tuple[str, ...],
    tree: Path,
) -> None:
    if new == b"full/x/y":
        (tree / "full" / "x").unlink()
        (tree / "full" / "x").mkdir()
    before = sorted(os.listdir(tree))
    fails(number, tree, lambda s, d: s.rename(d + b"/" + old, d + b"/" + new, replace), *arguments)
    assert sorted(os.listdir(tree)) == before


@pytest.mark.parametrize("arguments", [(), PLAIN], ids=["posix", "plain"])
def test_rename_replaces(tree: Path, arguments: tuple[str, ...]) -> None:

    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        await server.rename(base + b"/file", base + b"/other", True)
        await server.rename(base + b"/full", base + b"/empty", True)
        await server.rename(base + b"/link", base + b"/dangling", True)
        await server.rename(base + b"/other", base + b"/moved", True)
        await server.rename(base + b"/fifo", base + b"/pipe", False)

    operate(work, tree, *arguments)
    assert (tree / "moved").read_bytes() == b"content"
    assert os.listdir(tree / "empty") == ["x"]
    assert os.readlink(tree / "dangling") == "file"
    assert sorted(os.listdir(tree)) == ["dangling", "empty", "loop", "moved", "pipe", "pool"]


def test_failed_replacing_rename_puts_everything_back(tree: Path) -> None:
    with Tmpfs(tree / "empty") as elsewhere:
        (elsewhere / "target").write_bytes(b"kept")
        fails(errno.EXDEV, tree, lambda s, d: s.rename(d + b"/file", d + b"/empty/target", True), *PLAIN)
        assert (elsewhere / "target").read_bytes() == b"kept"
        assert os.listdir(elsewhere) == ["target"]
    assert (tree / "file").read_bytes() == b"content"


class Tmpfs:
    """A small file system of its own."""

    def __init__(self, path: Path, options: str = "size=1m,nr_inodes=100") -> None:
        self.path = path
        self.options = options

    def __enter__(self) -> Path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", self.options, "tmpfs", str(self.path)], check=True)
        return self.path

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.path)], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    with Tmpfs(tmp_path) as path:
        yield path


def test_disk_full(small: Path) -> None:
    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        name = base + b"/big"
        file, _attributes = await server.open(name, CREATE, 0o644, lambda: name)
        with pytest.raises(OSError) as raised:
            await file.start_write(0, bytes(3 << 20)).wait()
        assert raised.value.errno == errno.ENOSPC
        file.close()
        with pytest.raises(OSError) as raised:
            await server.symlink(b"t" * 2000, base + b"/l")
        assert raised.value.errno == errno.ENOSPC

    operate(work, small)


def test_no_inodes_left(tmp_path: Path) -> None:
    with Tmpfs(tmp_path, "size=1m,nr_inodes=3") as path:
        (path / "a").write_bytes(b"")
        (path / "b").write_bytes(b"")
        fails(errno.ENOSPC, path, lambda s, d: s.open(d + b"/c", CREATE, 0o644, nowhere))
        fails(errno.ENOSPC, path, lambda s, d: s.mkdir(d + b"/c", 0o755))


def test_read_only_file_system(small: Path) -> None:
    (small / "f").write_bytes(b"x")
    (small / "d").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    for work in (
        lambda s, d: s.open(d + b"/f", OpenFlags.WRITE, 0, nowhere),
        lambda s, d: s.open(d + b"/n", CREATE, 0o644, nowhere),
        lambda s, d: s.mkdir(d + b"/n", 0o755),
        lambda s, d: s.remove(d + b"/f"),
        lambda s, d: s.rmdir(d + b"/d"),
        lambda s, d: s.rename(d + b"/f", d + b"/g", True),
        lambda s, d: s.rename(d + b"/f", d + b"/g", False),
        lambda s, d: s.link(d + b"/f", d + b"/g"),
        lambda s, d: s.setattr(d + b"/f", AttributeChange(mode=0o600)),
        lambda s, d: s.setattr(d + b"/f", AttributeChange(size=0)),
    ):
        fails(errno.EROFS, small, work)


def test_rmdir_of_a_mount_point(tree: Path) -> None:
    with Tmpfs(tree / "empty"):
        fails(errno.EBUSY, tree, lambda s, d: s.rmdir(d + b"/empty"))


@pytest.mark.parametrize("replace", [True, False])
def test_rename_and_link_across_file_systems(tree: Path, replace: bool) -> None:
    with Tmpfs(tree / "empty"):
        fails(errno.EXDEV, tree, lambda s, d: s.rename(d + b"/file", d + b"/empty/file", replace))
        fails(errno.EXDEV, tree, lambda s, d: s.rename(d + b"/full", d + b"/empty/full", replace))
        fails(errno.EXDEV, tree, lambda s, d: s.link(d + b"/file", d + b"/empty/file"))


def test_listing_of_five_thousand(tmp_path: Path) -> None:
    names = {b"n%04d \xff\n" % number for number in range(5000)}
    for name in names:
        os.close(os.open(encoded(tmp_path) + b"/" + name, os.O_CREAT, 0o600))

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        entries = (await server.list_directory(base)).entries
        assert {entry.name for entry in entries} == names
        assert len(entries) == len(names)
        assert all(entry.attributes is not None and stat.S_ISREG(entry.attributes.mode) for entry in entries)
        assert (await server.list_directory(base + b"/")).entries != []

    operate(work, tmp_path)


def session(pool: ConnectionPool) -> Session:
    """The one of the pool."""
    connection = pool.metadata_nowait()
    assert connection is not None
    return connection.session


def waits(pool: ConnectionPool) -> int:
    """Dependent waits so far."""
    return session(pool).statistics.waits


def test_waits(tree: Path) -> None:
    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        async def cost(operation: Awaitable[object]) -> int:
            before = waits(pool)
            await operation
            return waits(pool) - before

        await until(lambda: not session(pool).outstanding)  # what a session asks as it begins
        assert await cost(server.lstat(base)) == 1
        assert await cost(server.mkdir(base + b"/m", 0o755)) == 1
        assert await cost(server.symlink(b"t", base + b"/s")) == 1
        assert await cost(server.link(base + b"/file", base + b"/h")) == 1
        assert await cost(server.setattr(base + b"/file", AttributeChange(mode=0o600))) == 1
        assert await cost(server.rename(base + b"/m", base + b"/m2", True)) == 1
        assert await cost(server.remove(base + b"/s")) == 1
        assert await cost(server.rmdir(base + b"/m2")) == 1
        assert await cost(server.open(base + b"/file", OpenFlags.READ, 0, nowhere)) == 1
        assert await cost(server.open(base + b"/new", CREATE | OpenFlags.EXCLUSIVE, 0o644, nowhere)) == 1
        # CLOSE, for which nobody waits, is counted as one more where it goes out last.
        assert await cost(server.list_directory(base)) in (1, 2)

    operate(work, tree, "-u", "022")


def test_mode_of_a_directory_is_as_asked_whatever_the_umask(tmp_path: Path) -> None:
    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        name = base + b"/f"
        _, attributes = await server.open(name, CREATE | OpenFlags.EXCLUSIVE, 0o666, lambda: name)
        assert stat.S_IMODE(attributes.mode) == 0o600, "the caller is told, and mends it"
        assert stat.S_IMODE((await server.mkdir(base + b"/d", 0o1777)).mode) == 0o1777
        os.chmod(base + b"/d", 0o2755)
        assert stat.S_IMODE((await server.mkdir(base + b"/d/e", 0o770)).mode) == 0o2770

    operate(work, tmp_path, "-u", "077")
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "d" / "e").stat().st_mode) == 0o2770


def test_changes_and_answers(tree: Path) -> None:
    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        changed = await server.setattr(base + b"/file", AttributeChange(size=3, atime=1, mtime=2))
        assert (changed.size, changed.atime, changed.mtime) == (3, 1, 2)
        link = await server.setattr(base + b"/link", AttributeChange(atime=5, mtime=6), LinkTarget.LINK)
        assert (link.mtime, (tree / "file").stat().st_mtime) == (6, 2)
        assert await server.readlink(base + b"/link") == b"file"
        assert (await server.stat(base + b"/link")).size == 3
        assert await server.realpath(base + b"/full/../empty") == base + b"/empty"
        here, there = os.statvfs(tree), await server.statvfs(base)
        assert there is not None
        assert (there.frsize, there.blocks, there.files) == (here.f_frsize, here.f_blocks, here.f_files)
        made = await server.symlink(b"no where", base + b"/s")
        assert stat.S_ISLNK(made.mode)

    operate(work, tree)


def test_a_removal_where_nothing_is_open_starts_no_task(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task to watch its deadline took a fourth of the time of ``rm -rf``."""
    started: list[object] = []
    monkeypatch.setattr(ConnectionPool, "spawn", lambda _, work: started.append(work))

    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        started.clear()
        await server.remove(base + b"/file")
        await server.rename(base + b"/other", base + b"/new", replace=True)
        assert not started

    operate(work, tree)
