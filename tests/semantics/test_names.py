"""Names and directories."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import Place
from tests.harness.kernel import fails_with
from tests.semantics.statements import states

_libc = ctypes.CDLL(None, use_errno=True)


_BUFFER = 2048
"""Bytes asked for at once: the C library would take a megabyte, and hold most of a listing itself."""


class Lister:
    """getdents64(2) on one open directory, a few entries at a time; ``position`` is what telldir(3) tells."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = ctypes.create_string_buffer(_BUFFER)
        self.position = 0

    def read(self, count: int = 1 << 30) -> list[str]:
        """At most ``count`` further names, ``.`` and ``..`` left out."""
        names: list[str] = []
        while len(names) < count:
            os.lseek(self._fd, self.position, os.SEEK_SET)
            size = _libc.getdents64(self._fd, self._buffer, _BUFFER)
            assert size >= 0, os.strerror(ctypes.get_errno())
            if not size:
                break
            names += self._names(size, count - len(names))
        return names

    def _names(self, size: int, count: int) -> list[str]:
        names: list[str] = []
        start = 0
        while start < size and len(names) < count:
            _, self.position, length = struct.unpack_from("=QqH", self._buffer, start)
            name = self._buffer.raw[start + 19 : start + length].split(b"\0")[0]
            if name not in (b".", b".."):
                names.append(os.fsdecode(name))
            start += length
        return names


@contextmanager
def listing(path: Path) -> Iterator[Lister]:
    """``path`` opened to be listed."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Lister(fd)
    finally:
        os.close(fd)


def fill(directory: Path, count: int = 2000) -> set[str]:
    """Files in a directory that nobody here has looked at yet."""
    names = {f"entry{number:05}" for number in range(count)}
    for name in names:
        (directory / name).touch()
    return names


@states(
    "N14",
    "A listing is a snapshot: it has no entry twice, it misses nothing that stays, it leaves out "
    "what is removed after it was taken, and what is made after it shows in the next one.",
)
def test_an_open_listing_while_names_come_and_go(place: Place) -> None:
    names = fill(place.there)
    with listing(place.here) as lister:
        seen = lister.read(100)
        gone = sorted(names - set(seen))[-500:]
        for name in gone:
            os.unlink(place.here / name)
        for number in range(50):
            (place.here / f"added{number}").touch()
        seen += lister.read()
    assert len(seen) == len(set(seen))
    assert set(seen) == names - set(gone)
    added = {f"added{number}" for number in range(50)}
    assert set(os.listdir(place.here)) == names - set(gone) | added


@states("N15", "`telldir` and `seekdir` lead back to the same entry, whatever was added or removed since.")
def test_seekdir(place: Place) -> None:
    fill(place.there)
    with listing(place.here) as lister:
        before = lister.read(700)
        position = lister.position
        after = lister.read()
        for name in before[:300]:
            os.unlink(place.here / name)
        for number in range(300):
            (place.here / f"added{number}").touch()
        lister.position = position
        assert lister.read() == after


@states("N16", "Two listers of one directory do not disturb each other, although one removes what it lists.")
def test_two_listers(place: Place) -> None:
    names = fill(place.there)
    with listing(place.here) as remover, listing(place.here) as reader:
        read = reader.read(1000)
        removed = []
        while some := remover.read(100):
            removed += some
            for name in some:
                os.unlink(place.here / name)
        assert sorted(removed) == sorted(names)
        read += reader.read()
        assert len(read) == len(set(read))
        assert set(read) <= names
    assert os.listdir(place.here) == os.listdir(place.there) == []


@states("N3", "A directory may be renamed over an empty directory; over one with content it is `ENOTEMPTY`.")
def test_rename_over_a_directory(place: Place) -> None:
    (place.here / "full" / "inner").mkdir(parents=True)
    (place.here / "other" / "child").mkdir(parents=True)
    with fails_with(errno.ENOTEMPTY, errno.EEXIST):
        os.rename(place.here / "other", place.here / "full")
    os.rmdir(place.here / "full" / "inner")
    os.rename(place.here / "other", place.here / "full")
    assert os.listdir(place.here) == ["full"]
    assert os.listdir(place.there / "full") == ["child"]


@states(
    "N8",
    "A rename that changes only the case of a name is a rename like any other, if the server keeps "
    "cases apart.",
)
def test_rename_of_case_only(place: Place) -> None:
    (place.here / "Readme").write_text("text")
    os.rename(place.here / "Readme", place.here / "README")
    assert os.listdir(place.here) == os.listdir(place.there) == ["README"]
    assert (place.here / "README").read_text() == "text"
    assert not os.path.exists(place.here / "Readme")


@states("N13", "`O_TMPFILE` is `EOPNOTSUPP`.")
def test_nameless_files(place: Place) -> None:
    with fails_with(errno.EOPNOTSUPP):
        os.open(place.here, os.O_TMPFILE | os.O_RDWR)
