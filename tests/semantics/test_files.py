"""File content: what other handles, other clients and the server's limits do to it."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import subprocess

import pytest

from tests.conftest import Place
from tests.harness.kernel import fails_with, opened
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually
from tests.semantics.statements import states

TIB = 1 << 40


@states("F3", "`O_TRUNC` on a file that is open elsewhere here empties it for that handle, too.")
def test_truncating_open_of_an_open_file(place: Place) -> None:
    (place.here / "f").write_bytes(b"content")
    with opened(place.here / "f", os.O_RDWR) as first:
        assert os.pread(first, 100, 0) == b"content"
        with opened(place.here / "f", os.O_WRONLY | os.O_TRUNC) as second:
            assert os.pread(first, 100, 0) == b""
            os.write(second, b"new")
            assert os.pread(first, 100, 0) == b"new"
            assert os.fstat(first).st_ino == os.fstat(second).st_ino
    assert (place.there / "f").read_bytes() == b"new"


@states(
    "F6",
    "`posix_fallocate` makes the file as long as asked, by a zero in each 4 KiB and nothing between; "
    "it reserves no room.",
)
def test_posix_fallocate(place: Place) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"begin")
        os.posix_fallocate(fd, 0, 20_000)
        assert os.fstat(fd).st_size == 20_000
    assert (place.there / "f").read_bytes() == b"begin".ljust(20_000, b"\0")
    with opened(place.here / "g", os.O_CREAT | os.O_WRONLY) as fd:
        with opened(place.there / "g", os.O_WRONLY) as theirs:
            os.pwrite(theirs, b"theirs", 9000)
        os.posix_fallocate(fd, 0, 40_000)
    assert (place.there / "g").read_bytes() == (bytes(9000) + b"theirs").ljust(40_000, b"\0")


@states("F7", "`fallocate` is `EOPNOTSUPP`; `SEEK_DATA` and `SEEK_HOLE` take the whole file for data.")
def test_fallocate_and_seek_hole(place: Place) -> None:
    (place.there / "f").write_bytes(b"x")
    os.truncate(place.there / "f", 1 << 20)
    for how in (["--length", "5000"], ["--punch-hole", "--length", "4096"]):
        done = subprocess.run(["fallocate", *how, place.here / "f"], capture_output=True, timeout=30)
        assert done.returncode != 0
    with opened(place.here / "f", os.O_RDONLY) as fd:
        assert os.lseek(fd, 10, os.SEEK_DATA) == 10
        assert os.lseek(fd, 10, os.SEEK_HOLE) == 1 << 20
        with fails_with(errno.ENXIO):
            os.lseek(fd, 1 << 20, os.SEEK_DATA)


@states(
    "F8",
    "`O_DIRECT` bypasses our cache: a write is on the server when it returns, and a read returns "
    "what the server has now.",
)
def test_direct_handles(place: Place) -> None:
    (place.there / "f").write_bytes(b"1" * 4096)
    with opened(place.here / "f", os.O_RDWR | os.O_DIRECT) as fd, mmap.mmap(-1, 8192) as buffer:
        assert os.preadv(fd, [buffer], 0) == 4096
        (place.there / "f").write_bytes(b"2" * 6000)
        assert os.preadv(fd, [buffer], 0) == 6000
        assert buffer[:6000] == b"2" * 6000
        buffer[:] = b"3" * 8192
        assert os.pwritev(fd, [buffer], 0) == 8192
        assert (place.there / "f").read_bytes() == b"3" * 8192


@states("D3", "With `O_SYNC` or `O_DSYNC` each write is on the server when it returns.")
@pytest.mark.parametrize("flag", [os.O_SYNC, os.O_DSYNC])
def test_synchronous_handles(place: Place, flag: int) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_WRONLY | flag) as fd:
        for count in range(1, 4):
            os.write(fd, b"line\n")
            assert (place.there / "f").read_bytes() == b"line\n" * count


@states("F9", "Offsets past 4 GiB and up to the server's own limit (16 TiB on ext4) work.")
def test_offsets_of_terabytes(place: Place) -> None:
    offset = 15 * TIB + 12345
    with opened(place.here / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.pwrite(fd, b"far away", offset)
        os.fsync(fd)
        assert os.fstat(fd).st_size == offset + 8
        assert os.pread(fd, 100, offset - 2) == b"\0\0far away"
    with opened(place.there / "f", os.O_RDONLY) as fd:
        assert os.pread(fd, 100, offset) == b"far away"


@states(
    "F10",
    "A size or an offset that the server refuses is `EFBIG`: at `truncate`, or at the `fsync` or `close` "
    "after a write.",
)
def test_sizes_the_server_refuses(place: Place) -> None:
    if isinstance(place.mount, Mount):
        place.mount.expect("could not be written and are lost")
    with opened(place.here / "f", os.O_CREAT | os.O_RDWR) as fd:
        with fails_with(errno.EFBIG):
            os.ftruncate(fd, (1 << 63) - 1)
        with fails_with(errno.EFBIG):
            os.truncate(place.here / "f", 1 << 60)
        with fails_with(errno.EFBIG):
            os.pwrite(fd, b"x", 1 << 62)
            os.fsync(fd)
    assert os.stat(place.there / "f").st_size == 0


@states("F11", "Programs run from the mount, and a program that runs cannot be written to (`ETXTBSY`).")
def test_a_running_program(place: Place) -> None:
    shutil.copy(shutil.which("sleep") or "/bin/sleep", place.here / "program")
    with subprocess.Popen([place.here / "program", "60"]) as process:
        try:
            eventually(lambda: os.readlink(f"/proc/{process.pid}/exe") == str(place.here / "program"))
            with fails_with(errno.ETXTBSY):
                os.open(place.here / "program", os.O_WRONLY)
        finally:
            process.kill()


@states(
    "F12",
    "A file replaced on the server keeps its old content for a program that has it open here; the "
    "name gets another inode with the next `open` or the end of the lease.",
)
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_TRUNC])
def test_a_file_replaced_on_the_server(place: Place, flags: int) -> None:
    (place.there / "f").write_bytes(b"old content")
    with opened(place.here / "f", os.O_RDWR) as old:
        (place.there / "g").write_bytes(b"the new one")
        os.utime(place.there / "g", (1_000_000_000, 1_000_000_000))
        os.rename(place.there / "g", place.there / "f")
        with opened(place.here / "f", flags) as new:
            assert os.pread(new, 100, 0) == (b"" if flags & os.O_TRUNC else b"the new one")
            assert os.fstat(new).st_ino != os.fstat(old).st_ino
        assert os.pread(old, 100, 0) == b"old content"
        assert os.fstat(old).st_size == 11
        os.pwrite(old, b"OLD", 0)
        os.fsync(old)
        assert os.pread(old, 100, 0) == b"OLD content"
    assert (place.there / "f").read_bytes() == (b"" if flags & os.O_TRUNC else b"the new one")


@states(
    "F13",
    "A file removed on the server keeps its content for a program that has it open here, as long as "
    "the connection lives.",
)
def test_a_file_removed_on_the_server(place: Place) -> None:
    data = os.urandom(3 << 20)
    (place.there / "f").write_bytes(data)
    with opened(place.here / "f", os.O_RDONLY) as fd:
        assert os.pread(fd, 10, 0) == data[:10]
        (place.there / "f").unlink()
        assert not os.path.exists(place.here / "f") or os.listdir(place.here) == []
        assert os.pread(fd, len(data), 0) == data


@states(
    "M2",
    "A mapped file that is removed, or over which another is renamed here, stays mapped with its own "
    "content.",
)
@pytest.mark.parametrize("how", ["unlink", "rename"])
def test_a_mapped_file_that_loses_its_name(place: Place, how: str) -> None:
    (place.here / "f").write_bytes(b"a" * 8192)
    with opened(place.here / "f", os.O_RDWR) as fd, mmap.mmap(fd, 8192) as view:
        if how == "unlink":
            os.unlink(place.here / "f")
        else:
            (place.here / "g").write_bytes(b"b" * 8192)
            os.rename(place.here / "g", place.here / "f")
        assert view[:] == b"a" * 8192
        view[:3] = b"xyz"
        view.flush()
        assert os.pread(fd, 4, 0) == b"xyza"
    assert [path.read_bytes() for path in place.there.iterdir()] == ([b"b" * 8192] if how == "rename" else [])
