"""Round trips of common operations: dependent waits, counted.

One row per operation, each on a fresh mount over one connection, at or below ``aim``.
Everything happens in a directory ``w`` that was looked up a moment ago, but that no program
listed unless ``warm`` does; ``warm`` says what else was known. What another connection or a
background task sends without anybody waiting for it is not counted; see tests/harness/counting.py.
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
from tests.harness.waiting import eventually

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


def missing(here: Path) -> None:
    """A stat that fails."""
    with fails_with(2):
        os.stat(here / "missing")


def deep(here: Path) -> None:
    """a/b/c/x."""
    (here / "a" / "b" / "c").mkdir(parents=True)
    (here / "a" / "b" / "c" / "x").write_bytes(KIB4)


def old_file(here: Path) -> None:
    """A file whose mtime is long past, so that its version can be trusted."""
    (here / "f").write_bytes(KIB4)
    os.utime(here / "f", (1_000_000_000, 1_000_000_000))


def two_files(here: Path) -> None:
    """f and g."""
    old_file(here)
    (here / "g").write_bytes(KIB4)


def many(here: Path) -> None:
    """A directory of FILES files."""
    (here / "d").mkdir()
    for number in range(FILES):
        (here / "d" / f"file{number:03}").write_bytes(b"x")


def read(here: Path) -> None:
    """open, read 4 KiB, close."""
    with opened(here / "f", os.O_RDONLY) as fd:
        assert os.read(fd, 4096) == KIB4


def write(here: Path, flags: int, name: str = "f", sync: bool = False) -> None:
    """open, write 4 KiB, perhaps fsync, close."""
    with opened(here / name, os.O_WRONLY | flags) as fd:
        os.write(fd, KIB4)
        if sync:
            os.fsync(fd)


def create(here: Path) -> None:
    """A new file of 4 KiB."""
    write(here, os.O_CREAT | os.O_EXCL, "new")


def create_and_sync(here: Path) -> None:
    """The same with fsync."""
    write(here, os.O_CREAT | os.O_EXCL, "new", sync=True)


def create_and_look(here: Path) -> None:
    """The same with fstat, as git and editors do."""
    with opened(here / "new", os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
        os.write(fd, KIB4)
        os.fstat(fd)


def overwrite(here: Path) -> None:
    """O_TRUNC."""
    write(here, os.O_TRUNC)


def append(here: Path) -> None:
    """O_APPEND."""
    write(here, os.O_APPEND)


def atomic_save(here: Path) -> None:
    """Write a temporary file, fsync it, rename it over."""
    write(here, os.O_CREAT | os.O_EXCL, "f.tmp", sync=True)
    os.rename(here / "f.tmp", here / "f")


def long_listing(here: Path) -> None:
    """ls -l."""
    with os.scandir(here / "d") as entries:
        assert sum(1 for entry in entries if entry.stat(follow_symlinks=False)) == FILES


def know_names(here: Path) -> None:
    """Know the names."""
    os.listdir(here)


ROWS = [
    Row("stat of a missing name", 0, missing),
    Row("stat of a missing name again", 0, missing, warm=missing),
    Row("stat of a missing name, names known", 0, missing, warm=know_names),
    Row("stat a/b/c/x cold", 3, lambda here: os.stat(here / "a/b/c/x"), prepare=deep),
    Row(
        "stat a/b/c/x, listings known",
        0,
        lambda here: os.stat(here / "a/b/c/x"),
        prepare=deep,
        warm=lambda here: [os.listdir(here / name) for name in (".", "a", "a/b", "a/b/c")],
    ),
    Row("open read close cold", 1, read, prepare=old_file),
    Row("open read close, names known", 1, read, prepare=old_file, warm=know_names),
    Row("open read close again", 1, read, prepare=old_file, warm=read),
    Row("create write close", 2, create, warm=know_names),
    Row("create write close cold", 2, create),
    Row("mkdir cold", 1, lambda here: os.mkdir(here / "d")),
    Row("chmod cold", 1, lambda here: os.chmod(here / "f", 0o600), prepare=old_file),
    Row("create write fsync close", 2, create_and_sync, warm=know_names),
    Row("create write fstat close", 2, create_and_look, warm=know_names),
    Row("overwrite", 2, overwrite, prepare=old_file, warm=know_names),
    Row("append", 2, append, prepare=old_file, warm=know_names),
    Row("atomic save", 3, atomic_save, prepare=old_file, warm=know_names),
    Row("mkdir", 1, lambda here: os.mkdir(here / "d"), warm=know_names),
    Row("symlink", 1, lambda here: os.symlink("t", here / "l"), warm=know_names),
    Row("chmod", 1, lambda here: os.chmod(here / "f", 0o600), prepare=old_file, warm=know_names),
    Row("utime", 1, lambda here: os.utime(here / "f", (1, 2)), prepare=old_file, warm=know_names),
    Row("truncate by path", 1, lambda here: os.truncate(here / "f", 5), prepare=old_file, warm=know_names),
    Row("rename", 1, lambda here: os.rename(here / "f", here / "z"), prepare=old_file, warm=know_names),
    Row("rename over", 1, lambda here: os.rename(here / "f", here / "g"), prepare=two_files, warm=know_names),
    Row("link", 1, lambda here: os.link(here / "f", here / "h"), prepare=old_file, warm=know_names),
    Row("unlink cold", 1, lambda here: os.unlink(here / "f"), prepare=old_file),
    Row("unlink warm", 1, lambda here: os.unlink(here / "f"), prepare=old_file, warm=know_names),
    Row(
        "rmdir warm",
        1,
        lambda here: os.rmdir(here / "d"),
        prepare=lambda p: (p / "d").mkdir(),
        warm=know_names,
    ),
    Row("ls -l of 250 files", 1, long_listing, prepare=many),
    Row("ls -l of 250 files again", 0, long_listing, prepare=many, warm=long_listing),
    Row("stat after write", 0, lambda here: os.stat(here / "new"), warm=create),
    Row("stat after mkdir", 0, lambda here: os.stat(here / "d"), warm=lambda here: os.mkdir(here / "d")),
    Row(
        "stat after chmod",
        0,
        lambda here: os.stat(here / "f"),
        prepare=old_file,
        warm=lambda here: os.chmod(here / "f", 0o600),
    ),
    Row(
        "stat of both names after rename",
        0,
        lambda here: (os.stat(here / "z"), os.path.exists(here / "f")),
        prepare=old_file,
        warm=lambda here: os.rename(here / "f", here / "z"),
    ),
    Row(
        "listing after create and unlink",
        0,
        know_names,
        prepare=old_file,
        warm=lambda here: (know_names(here), create(here), os.unlink(here / "f")),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_round_trips(row: Row, make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path) -> None:
    (backing / "w").mkdir()
    (row.prepare or nothing)(backing / "w")
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    here = mount.path / "w"
    counting_proxy.reset()
    os.stat(here)
    eventually(lambda: "CLOSE" in counting_proxy.read().requests, what="its listing to be known")
    (row.warm or nothing)(here)
    counting_proxy.reset()
    row.operation(here)
    count = counting_proxy.read()
    print(f"\n{row.name}: {count.waits} (aim {row.aim}) {count.trace}")
    assert count.waits <= row.aim, f"{count.waits} waits, aim {row.aim}: {count.trace}"


BACK_TO_BACK = {
    "open read close": (3, lambda here: read(here), old_file),
    "create write close": (4, lambda here: create(here), nothing),
    "mkdir": (3, lambda here: os.mkdir(here / "d"), nothing),
    "chmod": (3, lambda here: os.chmod(here / "f", 0o600), old_file),
    "stat a/b/c/x": (5, lambda here: os.stat(here / "a/b/c/x"), deep),
}
"""Waits for an operation in a directory that is not known itself: its own LOOKUP is one of them, and
the listing that follows it comes too late to save the next."""


@pytest.mark.parametrize("name", BACK_TO_BACK)
def test_round_trips_from_nothing(
    name: str, make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    aim, operation, prepare = BACK_TO_BACK[name]
    (backing / "w").mkdir()
    prepare(backing / "w")
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    counting_proxy.reset()
    operation(mount.path / "w")
    count = counting_proxy.read()
    assert count.waits <= aim, f"{count.waits} waits, aim {aim}: {count.trace}"


def test_small_writes_travel_together(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    counting_proxy.reset()
    with opened(mount.path / "f", os.O_WRONLY | os.O_CREAT) as fd:
        for _ in range(1024):
            os.write(fd, KIB4)
    sent = counting_proxy.read().requests["WRITE"]
    assert sent <= 1024 // 16, f"{sent} WRITE requests for 4 MiB"
    assert (backing / "f").read_bytes() == KIB4 * 1024
