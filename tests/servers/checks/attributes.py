"""Modes, times, owners and sizes: set here and found on the server."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from tests.servers.checks.registry import check, content
from tests.servers.place import Place


def mode(path: Path) -> str:
    """Its bits."""
    return oct(stat.S_IMODE(os.lstat(path).st_mode))


@check
def chmod_a_file(place: Place) -> None:
    (place.there / "file").write_bytes(b"1")
    os.chmod(place.here / "file", 0o640)
    place.saw("on the server", mode(place.there / "file"))
    place.saw("here", mode(place.here / "file"))
    os.chmod(place.here / "file", 0o755)
    place.saw("then", mode(place.there / "file"))


@check
def chmod_a_directory(place: Place) -> None:
    (place.there / "directory").mkdir()
    os.chmod(place.here / "directory", 0o750)
    place.saw("on the server", mode(place.there / "directory"))
    place.saw("here", mode(place.here / "directory"))


@check
def chmod_an_open_file(place: Place) -> None:
    data = content(1, 100_000)
    place.arrives("file", data)
    with open(place.here / "file", "wb", buffering=0) as file:
        file.write(data)
        place.tried("fchmod", lambda: os.fchmod(file.fileno(), 0o600))
    place.saw("on the server", (place.there / "file").read_bytes())
    place.saw("mode", mode(place.there / "file"))


@check
def mode_of_a_new_file(place: Place) -> None:
    for wanted in (0o644, 0o600, 0o755, 0o444):
        descriptor = os.open(place.here / f"f{wanted:o}", os.O_CREAT | os.O_WRONLY, wanted)
        try:
            os.write(descriptor, b"1")
        finally:
            os.close(descriptor)
        place.saw(f"{wanted:o}", mode(place.there / f"f{wanted:o}"))


@check
def mode_of_a_new_directory(place: Place) -> None:
    for wanted in (0o755, 0o700, 0o750):
        os.mkdir(place.here / f"d{wanted:o}", wanted)
        place.saw(f"{wanted:o}", mode(place.there / f"d{wanted:o}"))


@check
def private_from_the_beginning(place: Place) -> None:
    """A file made for its owner is never anybody's, not even before its close."""
    descriptor = os.open(place.here / "secret", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        place.saw("others", os.fstat(descriptor).st_mode & 0o077)
        found = [name for name in os.listdir(place.there) if (place.there / name).is_file()]
        place.saw("on the server", sum(os.stat(place.there / name).st_mode & 0o077 for name in found))
    finally:
        os.close(descriptor)


@check
def times_of_a_file(place: Place) -> None:
    (place.there / "file").write_bytes(b"1")
    os.utime(place.here / "file", (1_000_000_000, 1_100_000_000))
    seen = os.stat(place.there / "file")
    place.saw("on the server", seen.st_mtime)
    place.saw("here", os.stat(place.here / "file").st_mtime)
    place.saw("of access", seen.st_atime)


@check
def times_of_a_directory(place: Place) -> None:
    (place.there / "directory").mkdir()
    os.utime(place.here / "directory", (1_000_000_000, 1_100_000_000))
    place.saw("on the server", os.stat(place.there / "directory").st_mtime)
    place.saw("here", os.stat(place.here / "directory").st_mtime)


@check
def touch(place: Place) -> None:
    (place.there / "file").write_bytes(b"1")
    os.utime(place.there / "file", (1_000_000_000, 1_000_000_000))
    place.shell("touch file; touch new")
    for name in ("file", "new"):
        place.saw(name, -60 < time.time() - os.stat(place.there / name).st_mtime < 60)
    place.saw("content", (place.there / "file").read_bytes())


@check
def times_set_before_close(place: Place) -> None:
    """As tar, rsync and cp -p do."""
    for number in range(8):
        data = content(number, 50_000)
        with open(place.here / f"f{number}", "wb", buffering=0) as file:
            file.write(data)
            os.utime(file.fileno(), (1_000_000_000, 1_100_000_000))
        place.saw("time", os.stat(place.there / f"f{number}").st_mtime)
        place.saw("time here", os.stat(place.here / f"f{number}").st_mtime)
        place.saw("content", (place.there / f"f{number}").read_bytes())


@check
def times_before_the_last_write(place: Place) -> None:
    """What is written after the time was set makes it now again."""
    with open(place.here / "file", "wb", buffering=0) as file:
        file.write(b"one")
        os.utime(file.fileno(), (1_000_000_000, 1_100_000_000))
        file.write(b"two")
    place.saw("content", (place.there / "file").read_bytes())
    place.saw("now", -60 < time.time() - os.stat(place.here / "file").st_mtime < 60)


@check
def refused_times_keep_the_data(place: Place) -> None:
    """Whether or not the time is taken, the bytes are; close is about these."""
    data = content(2, 100_000)
    place.arrives("file", data)
    with open(place.here / "file", "wb", buffering=0) as file:
        file.write(data)
        place.tried("utime", lambda: os.utime(file.fileno(), (1_000_000_000, 1_100_000_000)))
    place.saw("content", (place.there / "file").read_bytes())


@check
def size_and_time_agree_with_the_server(place: Place) -> None:
    (place.here / "file").write_bytes(content(3, 12_345))
    here, there = os.stat(place.here / "file"), os.stat(place.there / "file")
    place.saw("size", (here.st_size, there.st_size))
    place.saw("time", int(here.st_mtime) == int(there.st_mtime))


@check
def times_stay_after_close(place: Place) -> None:
    """What fstat told after the last write holds after close, as editors expect."""
    for number in range(4):
        with open(place.here / f"f{number}", "wb", buffering=0) as file:
            file.write(content(number, 4000))
            told = os.fstat(file.fileno())
        after = os.stat(place.here / f"f{number}")
        place.saw("kept", (int(told.st_mtime) == int(after.st_mtime), told.st_size == after.st_size))


@check
def owner_of_a_file(place: Place) -> None:
    (place.there / "file").write_bytes(b"1")
    os.chown(place.here / "file", 1234, 2345)
    seen = os.stat(place.there / "file")
    place.saw("on the server", (seen.st_uid, seen.st_gid))


@check
def types_are_told(place: Place) -> None:
    (place.there / "file").write_bytes(b"1")
    (place.there / "directory").mkdir()
    os.mkfifo(place.there / "pipe")
    place.saw("file", stat.S_ISREG(os.lstat(place.here / "file").st_mode))
    place.saw("directory", stat.S_ISDIR(os.lstat(place.here / "directory").st_mode))
    place.saw("pipe", stat.S_ISFIFO(os.lstat(place.here / "pipe").st_mode))


@check
def modes_are_told(place: Place) -> None:
    for wanted in (0o644, 0o4755, 0o600, 0o1777):
        (place.there / f"f{wanted:o}").write_bytes(b"1")
        os.chmod(place.there / f"f{wanted:o}", wanted)
    for wanted in (0o644, 0o4755, 0o600, 0o1777):
        place.saw(f"{wanted:o}", mode(place.here / f"f{wanted:o}"))


@check
def space_left(place: Place) -> None:
    there, here = os.statvfs(place.there), os.statvfs(place.here)
    place.saw("total", here.f_blocks * here.f_frsize == there.f_blocks * there.f_frsize)
    place.shell("df . > /dev/null")


@check
def utime_of_now_and_omit(place: Place) -> None:
    (place.there / "file").write_bytes(b"1")
    os.utime(place.there / "file", (1_000_000_000, 1_100_000_000))
    place.shell("touch -a file")
    place.saw("modification stays", os.stat(place.there / "file").st_mtime)
    place.shell("touch -m -d '2004-05-06 07:08:09 UTC' file")
    place.saw("set", os.stat(place.there / "file").st_mtime)
