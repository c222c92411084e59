"""Work in a directory that is renamed meanwhile, by a descriptor of it, as everybody does whose current
directory it is. Every request finds what it is about, wherever that is by then."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.kernel import opened
from tests.harness.waiting import eventually

ROUND_TRIP = 0.004
ROUNDS = 12
LONG = "dcache_timeout=600"


@pytest.fixture
def moving(make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path) -> Iterator[int]:
    """A descriptor of a directory that is renamed back and forth, and the one above it as well."""
    (backing / "top" / "in").mkdir(parents=True)
    counting_proxy.set_latency(ROUND_TRIP)
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    descriptor = os.open(mount.path / "top" / "in", os.O_RDONLY | os.O_DIRECTORY)
    top = os.open(mount.path / "top", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with (
            renamed_in_a_loop(
                lambda: os.rename("in", "out", src_dir_fd=top, dst_dir_fd=top),
                lambda: os.rename("out", "in", src_dir_fd=top, dst_dir_fd=top),
            ),
            renamed_in_a_loop(
                lambda: os.rename(mount.path / "top", mount.path / "elsewhere"),
                lambda: os.rename(mount.path / "elsewhere", mount.path / "top"),
            ),
        ):
            yield descriptor
    finally:
        os.close(descriptor)
        os.close(top)
    assert sorted(os.listdir(mount.path)) == ["top"]


@contextmanager
def renamed_in_a_loop(*renames: Callable[[], None]) -> Iterator[None]:
    over = threading.Event()
    failures: list[OSError] = []

    def run() -> None:
        while not over.is_set():
            for rename in renames:
                try:
                    rename()
                except OSError as problem:
                    failures.append(problem)

    mover = threading.Thread(target=run)
    mover.start()
    try:
        yield
    finally:
        over.set()
        mover.join()
    assert not failures, Counter(map(str, failures))


def make(name: str, directory: int) -> None:
    fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=directory)
    try:
        os.write(fd, b"x")
    finally:
        os.close(fd)


def read(name: str, directory: int) -> bytes:
    fd = os.open(name, os.O_RDONLY, dir_fd=directory)
    try:
        return os.read(fd, 10)
    finally:
        os.close(fd)


def test_work_in_a_directory_that_is_renamed_in_a_loop(moving: int) -> None:
    directory, made = moving, []
    for number in range(ROUNDS):
        name = f"f{number}"
        make(name, directory)
        os.chmod(name, 0o600, dir_fd=directory)
        os.utime(name, (5, 5), dir_fd=directory)
        os.symlink("target", "l", dir_fd=directory)
        assert os.readlink("l", dir_fd=directory) == "target"
        os.unlink("l", dir_fd=directory)
        os.link(name, "other", src_dir_fd=directory, dst_dir_fd=directory)
        os.unlink("other", dir_fd=directory)
        os.mkdir("d", dir_fd=directory)
        os.rmdir("d", dir_fd=directory)
        assert read(name, directory) == b"x"
        assert os.stat(name, dir_fd=directory).st_size == 1
        os.fstat(directory)
        os.rename(name, name + "r", src_dir_fd=directory, dst_dir_fd=directory)
        made.append(name + "r")
        if number % 3 == 0:
            os.unlink(made.pop(), dir_fd=directory)
        assert sorted(os.listdir(directory)) == sorted(made)
    assert made


def test_a_directory_that_is_renamed_in_a_loop_can_be_listed_for_the_first_time(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """Whoever renames waits for the listing that it disturbed once."""
    names = [f"{number:05}" for number in range(1500)]
    for kind in range(4):
        (backing / f"{kind}").mkdir()
        for name in names:
            (backing / f"{kind}" / name).touch()
    counting_proxy.set_latency(ROUND_TRIP)
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    for kind in range(4):
        here, away = mount.path / f"{kind}", mount.path / f"away{kind}"
        directory = os.open(here, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with renamed_in_a_loop(lambda: os.rename(here, away), lambda: os.rename(away, here)):  # noqa: B023
                assert sorted(os.listdir(directory)) == names
        finally:
            os.close(directory)


def cut_open_file(path: Path) -> None:
    with opened(path, os.O_RDWR) as fd:
        os.ftruncate(fd, 1)


LOST: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], object], object]] = {
    "mkdir": ("MKDIR", lambda here: os.mkdir(here / "new"), lambda here: (here / "new").is_dir(), True),
    "symlink": (
        "SYMLINK",
        lambda here: os.symlink("target", here / "new"),
        lambda here: os.readlink(here / "new"),
        "target",
    ),
    "create": (
        "OPEN",
        lambda here: os.close(os.open(here / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY)),
        lambda here: sorted(os.listdir(here)),
        ["d", "f", "new"],
    ),
    "link": (
        "hardlink@openssh.com",
        lambda here: os.link(here / "f", here / "new"),
        lambda here: (here / "new").read_bytes(),
        b"old",
    ),
    "unlink": ("REMOVE", lambda here: os.unlink(here / "f"), lambda here: (here / "f").exists(), False),
    "rmdir": ("RMDIR", lambda here: os.rmdir(here / "d"), lambda here: os.listdir(here), ["f"]),
    "rename": (
        "posix-rename@openssh.com",
        lambda here: os.rename(here / "f", here / "new"),
        lambda here: (sorted(os.listdir(here)), (here / "f").exists(), (here / "new").read_bytes()),
        (["d", "new"], False, b"old"),
    ),
    "rename over": (
        "posix-rename@openssh.com",
        lambda here: os.rename(here / "d", here / "new"),
        lambda here: ((here / "d").exists(), (here / "new").is_dir()),
        (False, True),
    ),
    "chmod": (
        "SETSTAT",
        lambda here: os.chmod(here / "f", 0o600),
        lambda here: os.stat(here / "f").st_mode & 0o777,
        0o600,
    ),
    "ftruncate": (
        "FSETSTAT",
        lambda here: cut_open_file(here / "f"),
        lambda here: (os.stat(here / "f").st_size, (here / "f").read_bytes()),
        (1, b"o"),
    ),
    "truncate": (
        "SETSTAT",
        lambda here: os.truncate(here / "f", 1),
        lambda here: (os.stat(here / "f").st_size, (here / "f").read_bytes()),
        (1, b"o"),
    ),
}


@pytest.mark.parametrize("what", LOST)
def test_a_change_whose_answer_was_lost_is_asked_for_anew(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path, what: str
) -> None:
    """It failed, and was done all the same: what was known before is believed no more. The kernel cannot be
    told while it holds the directory, and so is a moment later."""
    request, change, look, expected = LOST[what]
    (backing / "f").write_bytes(b"old")
    (backing / "f").chmod(0o644)
    (backing / "d").mkdir()
    counting_proxy.set_latency(0.0)
    options = "max_conns=1", "no_reconnect", LONG
    mount = make_mount(*options, port=counting_proxy.port, backing=backing)
    here = mount.path
    assert sorted(os.listdir(here)) == ["d", "f"]
    assert not (here / "new").exists()
    assert os.stat(here / "f").st_size == 3
    counting_proxy.cut_at(request, carried_out=True)
    with pytest.raises(OSError):
        change(here)

    def looked() -> object:
        try:
            return look(here)
        except FileNotFoundError as missing:
            return missing

    eventually(lambda: looked() == expected, 30.0, what)
    assert looked() == expected
