"""Round trips of common operations: dependent waits, counted.

One row per operation, each on a fresh mount over one connection, at or below ``aim``.
Before the count the mount's root was read once (the kernel's own first lookups), and
``warm`` says what else was known. What another connection or a background task sends
without anybody waiting for it is not counted; see tests/harness/counting.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.kernel import fails_with, opened

KIB4 = b"x" * 4096
FILES = 250

Step = Callable[[Path], object]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    aim: int
    operation: Step
    warm: Step | None = None
    """Done on the mount before counting."""
    prepare: Step | None = None
    """Done on the server's side before mounting."""


def nothing(_root: Path) -> None:
    """The row starts cold."""


def missing(root: Path) -> None:
    """A stat that fails."""
    with fails_with(2):
        os.stat(root / "missing")


def deep(root: Path) -> None:
    """a/b/c/x."""
    (root / "a" / "b" / "c").mkdir(parents=True)
    (root / "a" / "b" / "c" / "x").write_bytes(KIB4)


def old_file(root: Path) -> None:
    """A file whose mtime is long past, so that its version can be trusted."""
    (root / "f").write_bytes(KIB4)
    os.utime(root / "f", (1_000_000_000, 1_000_000_000))


def two_files(root: Path) -> None:
    """f and g."""
    old_file(root)
    (root / "g").write_bytes(KIB4)


def many(root: Path) -> None:
    """A directory of FILES files."""
    (root / "d").mkdir()
    for number in range(FILES):
        (root / "d" / f"file{number:03}").write_bytes(b"x")


def read(root: Path) -> None:
    """open, read 4 KiB, close."""
    with opened(root / "f", os.O_RDONLY) as fd:
        assert os.read(fd, 4096) == KIB4


def write(root: Path, flags: int, name: str = "f", sync: bool = False) -> None:
    """open, write 4 KiB, perhaps fsync, close."""
    with opened(root / name, os.O_WRONLY | flags) as fd:
        os.write(fd, KIB4)
        if sync:
            os.fsync(fd)


def create(root: Path) -> None:
    """A new file of 4 KiB."""
    write(root, os.O_CREAT | os.O_EXCL, "new")


def create_and_sync(root: Path) -> None:
    """The same with fsync."""
    write(root, os.O_CREAT | os.O_EXCL, "new", sync=True)


def overwrite(root: Path) -> None:
    """O_TRUNC."""
    write(root, os.O_TRUNC)


def append(root: Path) -> None:
    """O_APPEND."""
    write(root, os.O_APPEND)


def atomic_save(root: Path) -> None:
    """Write a temporary file, fsync it, rename it over."""
    write(root, os.O_CREAT | os.O_EXCL, "f.tmp", sync=True)
    os.rename(root / "f.tmp", root / "f")


def long_listing(root: Path) -> None:
    """ls -l."""
    with os.scandir(root / "d") as entries:
        assert sum(1 for entry in entries if entry.stat(follow_symlinks=False)) == FILES


def list_root(root: Path) -> None:
    """Know the names in the root."""
    os.listdir(root)


def list_and_read(root: Path) -> None:
    """Know the file's content."""
    read(root)


ROWS = [
    Row("stat of a missing name", 1, missing),
    Row("stat of a missing name again", 0, missing, warm=missing),
    Row("stat a/b/c/x cold", 4, lambda root: os.stat(root / "a/b/c/x"), prepare=deep),
    Row(
        "stat a/b/c/x, listings known",
        0,
        lambda root: os.stat(root / "a/b/c/x"),
        prepare=deep,
        warm=lambda root: [os.listdir(root / name) for name in (".", "a", "a/b", "a/b/c")],
    ),
    Row("open read close cold", 2, read, prepare=old_file),
    Row("open read close, name known", 1, read, prepare=old_file, warm=list_root),
    Row("open read close again", 1, read, prepare=old_file, warm=read),
    Row("create write close", 2, create),
    Row("create write close, directory known", 2, create, warm=list_root),
    Row("create write fsync close", 3, create_and_sync),
    Row("overwrite", 2, overwrite, prepare=old_file, warm=list_root),
    Row("append", 2, append, prepare=old_file, warm=list_root),
    Row("atomic save", 4, atomic_save, prepare=old_file, warm=list_root),
    Row("mkdir", 1, lambda root: os.mkdir(root / "d"), warm=list_root),
    Row("symlink", 1, lambda root: os.symlink("t", root / "l"), warm=list_root),
    Row("chmod", 1, lambda root: os.chmod(root / "f", 0o600), prepare=old_file, warm=list_root),
    Row("utime", 1, lambda root: os.utime(root / "f", (1, 2)), prepare=old_file, warm=list_root),
    Row("truncate by path", 1, lambda root: os.truncate(root / "f", 5), prepare=old_file, warm=list_root),
    Row("rename", 1, lambda root: os.rename(root / "f", root / "z"), prepare=old_file, warm=list_root),
    Row("rename over", 1, lambda root: os.rename(root / "f", root / "g"), prepare=two_files, warm=list_root),
    Row("link", 2, lambda root: os.link(root / "f", root / "h"), prepare=old_file, warm=list_root),
    Row("unlink cold", 2, lambda root: os.unlink(root / "f"), prepare=old_file),
    Row("unlink warm", 1, lambda root: os.unlink(root / "f"), prepare=old_file, warm=list_root),
    Row(
        "rmdir warm",
        1,
        lambda root: os.rmdir(root / "d"),
        prepare=lambda r: (r / "d").mkdir(),
        warm=list_root,
    ),
    Row("ls -l of 250 files", 3, long_listing, prepare=many),
    Row("ls -l of 250 files again", 0, long_listing, prepare=many, warm=long_listing),
    Row("stat after write", 0, lambda root: os.stat(root / "new"), warm=create),
    Row("stat after mkdir", 0, lambda root: os.stat(root / "d"), warm=lambda root: os.mkdir(root / "d")),
    Row(
        "stat after chmod",
        0,
        lambda root: os.stat(root / "f"),
        prepare=old_file,
        warm=lambda root: os.chmod(root / "f", 0o600),
    ),
    Row(
        "stat of both names after rename",
        0,
        lambda root: (os.stat(root / "z"), os.path.exists(root / "f")),
        prepare=old_file,
        warm=lambda root: os.rename(root / "f", root / "z"),
    ),
    Row(
        "listing after create and unlink",
        0,
        list_root,
        prepare=old_file,
        warm=lambda root: (list_root(root), create(root), os.unlink(root / "f")),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_round_trips(row: Row, make_mount: MakeMount, counting_proxy: CountingProxy, tmp_path: Path) -> None:
    backing = tmp_path / "backing"
    backing.mkdir()
    (row.prepare or nothing)(backing)
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    os.stat(mount.path)
    (row.warm or nothing)(mount.path)
    counting_proxy.reset()
    row.operation(mount.path)
    count = counting_proxy.read()
    assert count.waits <= row.aim, f"{count.waits} waits, aim {row.aim}: {count.trace}"
