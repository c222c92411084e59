"""Times that are set, of whatever has some: the cases of pjdfstest's utimensat, and more.

Who may set them is tested in ``test_users``, which times there are and what becomes of fractions in
``tests/semantics/test_attributes.py``.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Place
from tests.harness.kernel import UTIME_NOW, UTIME_OMIT, opened, utimensat

PAIRS = [
    (1_900_000_000, 1_950_000_000),
    (200_000_000, 100_000_000),
    (0, 1),
    (2**31, 2**32 - 1),
]
"""Of access and change, in seconds: to come, long past with the access later, the first and the last."""

OLD = (1_000_000_000, 1_100_000_000)


def bind(path: Path) -> None:
    """Make a socket; an address takes no long path."""
    with opened(path.parent, os.O_RDONLY) as directory, socket.socket(socket.AF_UNIX) as end:
        end.bind(f"/proc/self/fd/{directory}/{path.name}")


KINDS: dict[str, Callable[[Path], object]] = {
    "file": Path.touch,
    "directory": Path.mkdir,
    "link": lambda path: path.symlink_to("nowhere"),
    "pipe": os.mkfifo,
    "character device": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
    "block device": lambda path: os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, 0)),
    "socket": bind,
}


def times(path: Path) -> tuple[float, float]:
    """Of access and change of ``path`` itself."""
    seen = os.lstat(path)
    return seen.st_atime, seen.st_mtime


@pytest.mark.parametrize("kind", KINDS)
def test_both_times_are_set_of_anything(place: Place, kind: str) -> None:
    KINDS[kind](place.there / "x")
    for atime, mtime in PAIRS:
        utimensat(place.here / "x", (atime, 0), (mtime, 0), follow=False)
        assert times(place.there / "x") == times(place.here / "x") == (atime, mtime)


def test_a_link_is_followed_where_nobody_says_otherwise(place: Place) -> None:
    (place.here / "x").touch()
    (place.here / "link").symlink_to("x")
    utimensat(place.here / "x", (10, 0), (11, 0))
    utimensat(place.here / "link", (20, 0), (21, 0), follow=False)
    for side in (place.there, place.here):
        assert (times(side / "x"), times(side / "link")) == ((10, 11), (20, 21))
    utimensat(place.here / "link", (30, 0), (31, 0))
    for side in (place.there, place.here):
        assert times(side / "x") == (30, 31)
        # That the link was followed may have moved its time of access.
        assert times(side / "link")[1] == 21 and times(side / "link")[0] != 30


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
def test_by_descriptor(place: Place, flags: int) -> None:
    (place.here / "x").touch()
    with opened(place.here / "x", flags) as fd:
        for pair in PAIRS:
            os.utime(fd, pair)
            assert times(place.here / "x") == pair
    assert times(place.there / "x") == pair


def test_by_name_below_a_descriptor(place: Place) -> None:
    (place.here / "x").touch()
    with opened(place.here, os.O_RDONLY) as directory:
        os.utime("x", OLD, dir_fd=directory)
        os.utime(directory, OLD)
    for side in (place.there, place.here):
        assert times(side / "x") == times(side) == OLD


@pytest.mark.parametrize("kind", KINDS)
def test_now(place: Place, kind: str) -> None:
    KINDS[kind](place.there / "x")
    utimensat(place.here / "x", (1000, 0), (1000, 0), follow=False)
    began = int(time.time())
    utimensat(place.here / "x", (0, UTIME_NOW), (0, UTIME_NOW), follow=False)
    for side in (place.there, place.here):
        assert all(began <= one <= time.time() for one in times(side / "x"))


@pytest.mark.parametrize("which", ["atime", "mtime"])
@pytest.mark.parametrize("how", ["given", "now"])
def test_one_time_omits_the_other(place: Place, which: str, how: str) -> None:
    (place.here / "f").touch()
    os.utime(place.here / "f", OLD)
    value = (1_300_000_000, 0) if how == "given" else (0, UTIME_NOW)
    omit = (0, UTIME_OMIT)
    utimensat(place.here / "f", *((value, omit) if which == "atime" else (omit, value)))
    for side in (place.there, place.here):
        seen = os.stat(side / "f")
        changed, kept = (seen.st_atime, seen.st_mtime) if which == "atime" else (seen.st_mtime, seen.st_atime)
        assert kept == (OLD[1] if which == "atime" else OLD[0])
        if how == "given":
            assert changed == 1_300_000_000
        else:
            assert abs(changed - time.time()) < 60


def test_omitting_both_changes_nothing(place: Place) -> None:
    (place.here / "f").touch()
    os.utime(place.here / "f", OLD)
    utimensat(place.here / "f", (0, UTIME_OMIT), (0, UTIME_OMIT))
    assert times(place.there / "f") == times(place.here / "f") == OLD


def test_mtime_set_while_open_survives_the_close(place: Place) -> None:
    """What tar, rsync and cp -p do: write, set the time, close."""
    with open(place.here / "f", "wb") as file:
        file.write(b"x" * 100_000)
        file.flush()
        os.utime(file.fileno(), (1_000_000_000, 1_000_000_000))
    assert os.stat(place.there / "f").st_mtime == 1_000_000_000
    assert os.stat(place.here / "f").st_mtime == 1_000_000_000
