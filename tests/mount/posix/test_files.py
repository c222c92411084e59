"""File content: read, write, append, holes, unlink while open."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import sys

import pytest

from tests.conftest import Place
from tests.harness.kernel import fails_with, opened, read_all

GIB = 1 << 30


def pattern(size: int, seed: int = 1) -> bytes:
    """Bytes that repeat nowhere."""
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 131072, 261120, 1048577, 5 << 20])
def test_written_here_read_there_and_back(place: Place, size: int) -> None:
    data = pattern(size)
    (place.here / "f").write_bytes(data)
    assert (place.there / "f").read_bytes() == data
    assert (place.here / "f").read_bytes() == data
    assert os.stat(place.here / "f").st_size == size


@pytest.mark.parametrize("size", [0, 1, 4097, 131073, 5 << 20])
def test_written_there_read_here(place: Place, size: int) -> None:
    data = pattern(size)
    (place.there / "f").write_bytes(data)
    assert (place.here / "f").read_bytes() == data


def test_reads_anywhere(place: Place) -> None:
    data = pattern(3 << 20)
    (place.there / "f").write_bytes(data)
    chance = random.Random(2)
    with opened(place.here / "f", os.O_RDONLY) as fd:
        for _ in range(200):
            offset, size = chance.randrange(len(data) + 1000), chance.randrange(1, 200_000)
            assert os.pread(fd, size, offset) == data[offset : offset + size]


def test_reads_backwards(place: Place) -> None:
    data = pattern(2 << 20)
    (place.there / "f").write_bytes(data)
    with opened(place.here / "f", os.O_RDONLY) as fd:
        for offset in range(len(data) - 65536, -1, -65536):
            assert os.pread(fd, 65536, offset) == data[offset : offset + 65536]


def test_writes_anywhere(place: Place) -> None:
    size = 1 << 20
    expected = bytearray(pattern(size))
    (place.there / "f").write_bytes(expected)
    chance = random.Random(3)
    with opened(place.here / "f", os.O_RDWR) as fd:
        for turn in range(300):
            offset, length = chance.randrange(size + 100_000), chance.randrange(1, 30_000)
            data = chance.randbytes(length)
            if offset > len(expected):
                expected.extend(bytes(offset - len(expected)))
            expected[offset : offset + length] = data
            assert os.pwrite(fd, data, offset) == length
            if turn % 7 == 0:
                at = chance.randrange(len(expected))
                assert os.pread(fd, 50_000, at) == expected[at : at + 50_000]
        assert os.fstat(fd).st_size == len(expected)
        assert read_all(fd) == expected
    assert (place.there / "f").read_bytes() == expected


def test_many_small_writes(place: Place) -> None:
    data = pattern(300_000)
    with opened(place.here / "f", os.O_CREAT | os.O_WRONLY) as fd:
        for start in range(0, len(data), 777):
            os.write(fd, data[start : start + 777])
    assert (place.there / "f").read_bytes() == data


def test_two_handles_see_each_other(place: Place) -> None:
    with (
        opened(place.here / "f", os.O_CREAT | os.O_RDWR) as first,
        opened(place.here / "f", os.O_RDWR) as second,
    ):
        os.pwrite(first, b"one", 0)
        assert os.pread(second, 10, 0) == b"one"
        os.pwrite(second, b"two", 3)
        assert os.pread(first, 10, 0) == b"onetwo"
        assert os.fstat(first).st_size == 6


def test_append(place: Place) -> None:
    (place.here / "f").write_bytes(b"begin ")
    with open(place.here / "f", "ab") as file:
        file.write(b"middle ")
    with opened(place.here / "f", os.O_WRONLY | os.O_APPEND) as fd:
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"end")
    assert (place.there / "f").read_bytes() == b"begin middle end"
    assert (place.here / "f").read_bytes() == b"begin middle end"


def test_append_by_two_handles_in_turn(place: Place) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with opened(place.here / "f", flags) as first, opened(place.here / "f", flags) as second:
        for number in range(20):
            os.write(first, b"a%02d" % number)
            os.write(second, b"b%02d" % number)
    expected = b"".join(b"a%02db%02d" % (number, number) for number in range(20))
    assert (place.there / "f").read_bytes() == expected


def test_seeking_past_the_end_leaves_a_hole_of_zeros(place: Place) -> None:
    with open(place.here / "f", "wb") as file:
        file.write(b"head")
        file.seek(1 << 20)
        file.write(b"tail")
    expected = b"head" + bytes((1 << 20) - 4) + b"tail"
    assert (place.there / "f").read_bytes() == expected
    assert (place.here / "f").read_bytes() == expected


def test_a_hole_is_zeros_while_the_file_is_open(place: Place) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.pwrite(fd, b"tail", 300_000)
        assert os.pread(fd, 400_000, 0) == bytes(300_000) + b"tail"


def test_past_four_gibibytes(place: Place) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.pwrite(fd, b"low", 0)
        os.pwrite(fd, b"high", 5 * GIB)
        assert os.fstat(fd).st_size == 5 * GIB + 4
        assert os.pread(fd, 100, 5 * GIB) == b"high"
        assert os.pread(fd, 100, 4 * GIB) == bytes(100)
    assert os.stat(place.there / "f").st_size == 5 * GIB + 4
    with open(place.there / "f", "rb") as file:
        file.seek(5 * GIB)
        assert file.read() == b"high"
    with open(place.here / "f", "rb") as file:
        file.seek(5 * GIB - 3)
        assert file.read() == b"\0\0\0high"


def test_exclusive_create(place: Place) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY):
        pass
    with fails_with(errno.EEXIST):
        os.open(place.here / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    (place.there / "there").write_text("kept")
    with fails_with(errno.EEXIST):
        os.open(place.here / "there", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_TRUNC)
    assert (place.there / "there").read_text() == "kept"


def test_exclusive_create_of_a_name_just_taken_on_the_server(place: Place) -> None:
    """The name is known to be missing here when the server takes it: the server decides."""
    assert not os.path.exists(place.here / "f")
    (place.there / "f").write_text("theirs")
    with fails_with(errno.EEXIST):
        os.open(place.here / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert (place.there / "f").read_text() == "theirs"


def test_create_without_exclusive_opens_what_is_there(place: Place) -> None:
    (place.there / "f").write_text("kept")
    with opened(place.here / "f", os.O_CREAT | os.O_RDWR) as fd:
        assert os.read(fd, 10) == b"kept"


def test_open_with_truncate(place: Place) -> None:
    (place.there / "f").write_text("old and long")
    with opened(place.here / "f", os.O_WRONLY | os.O_TRUNC) as fd:
        assert os.fstat(fd).st_size == 0
        assert os.stat(place.there / "f").st_size == 0
        os.write(fd, b"new")
    assert (place.there / "f").read_text() == "new"


def test_open_of_a_missing_file_is_enoent(place: Place) -> None:
    with fails_with(errno.ENOENT):
        os.open(place.here / "missing", os.O_RDONLY)


def test_open_of_a_directory_for_writing_is_eisdir(place: Place) -> None:
    os.mkdir(place.here / "d")
    with fails_with(errno.EISDIR):
        os.open(place.here / "d", os.O_WRONLY)


def test_reading_a_write_only_descriptor_is_ebadf(place: Place) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"x")
        with fails_with(errno.EBADF):
            os.read(fd, 1)


def test_writing_a_read_only_descriptor_is_ebadf(place: Place) -> None:
    (place.there / "f").touch()
    with opened(place.here / "f", os.O_RDONLY) as fd, fails_with(errno.EBADF):
        os.write(fd, b"x")


def test_partial_writes_through_a_write_only_descriptor_keep_the_rest(place: Place) -> None:
    """No page is read for a write of part of it, and none is zeroed."""
    data = bytearray(pattern(20_000))
    (place.there / "f").write_bytes(data)
    with opened(place.here / "f", os.O_WRONLY) as fd:
        os.pwrite(fd, b"####", 5001)
    data[5001:5005] = b"####"
    assert (place.there / "f").read_bytes() == data


def test_unlink_while_open(place: Place) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"still ")
        os.unlink(place.here / "f")
        assert os.listdir(place.here) == []
        with fails_with(errno.ENOENT):
            os.stat(place.here / "f")
        os.write(fd, b"here")
        assert os.pread(fd, 100, 0) == b"still here"
        assert os.fstat(fd).st_size == 10
    assert os.listdir(place.there) == []


def test_a_removed_file_is_opened_again(place: Place) -> None:
    """As cat /dev/stdin does, with a file that was removed after it was opened."""
    with opened(place.here / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"still here")
        os.unlink(place.here / "f")
        with opened(f"/proc/self/fd/{fd}", os.O_RDONLY) as again:
            assert os.fstat(again).st_nlink == 0
            assert os.read(again, 100) == b"still here"
        with opened(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_TRUNC) as again:
            os.write(again, b"new")
        assert os.pread(fd, 100, 0) == b"new"
    assert os.listdir(place.there) == []


def test_the_file_that_was_replaced_is_opened_again(place: Place) -> None:
    """The first handle may go before the second does."""
    (place.here / "f").write_bytes(b"old")
    fd = os.open(place.here / "f", os.O_RDONLY)
    try:
        (place.here / "g").write_bytes(b"newer")
        os.rename(place.here / "g", place.here / "f")
        with opened(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECT) as again:
            os.close(fd)
            fd = -1
            assert os.pread(again, 100, 0) == b"old"
            with fails_with(errno.ESTALE), opened(f"/proc/self/fd/{again}", os.O_RDWR):
                pass
    finally:
        if fd >= 0:
            os.close(fd)
    assert (place.here / "f").read_bytes() == b"newer"


def test_unlink_while_open_then_the_name_again(place: Place) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_RDWR) as old:
        os.write(old, b"old")
        os.unlink(place.here / "f")
        (place.here / "f").write_bytes(b"newer")
        assert os.pread(old, 100, 0) == b"old"
        os.pwrite(old, b"OLD", 0)
        assert (place.here / "f").read_bytes() == b"newer"
        assert os.fstat(old).st_ino != os.stat(place.here / "f").st_ino
    assert (place.there / "f").read_bytes() == b"newer"


def test_truncate_and_chmod_of_an_unlinked_open_file(place: Place) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"0123456789")
        os.unlink(place.here / "f")
        os.ftruncate(fd, 4)
        os.fchmod(fd, 0o600)
        assert os.fstat(fd).st_size == 4
        assert os.pread(fd, 10, 0) == b"0123"


def test_fsync_puts_the_data_on_the_server_before_close(place: Place) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"on the server")
        os.fsync(fd)
        assert (place.there / "f").read_bytes() == b"on the server"
        os.write(fd, b" twice")
        os.fdatasync(fd)
        assert (place.there / "f").read_bytes() == b"on the server twice"


def test_close_puts_the_data_on_the_server(place: Place) -> None:
    data = pattern(3 << 20)
    fd = os.open(place.here / "f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, data)
    os.close(fd)
    assert hashlib.sha256((place.there / "f").read_bytes()).digest() == hashlib.sha256(data).digest()


def test_close_of_a_duplicate_puts_the_data_on_the_server(place: Place) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"data")
        os.close(os.dup(fd))
        assert (place.there / "f").read_bytes() == b"data"


def test_size_and_mtime_follow_a_write_at_once(place: Place) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_WRONLY) as fd:
        os.utime(fd, (1000, 1000))
        os.write(fd, b"12345")
        seen = os.stat(place.here / "f")
        assert seen.st_size == 5
        assert seen.st_mtime > 1_000_000
        os.write(fd, b"678")
        assert os.stat(place.here / "f").st_size == 8
    assert os.stat(place.here / "f").st_size == 8


def test_mtime_is_the_same_before_and_after_close(place: Place) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"x")
        during = os.fstat(fd).st_mtime
    assert os.stat(place.here / "f").st_mtime == during
    assert int(os.stat(place.there / "f").st_mtime) == int(during)


MAPPED = """
import mmap, os, sys
path, size = sys.argv[1], int(sys.argv[2])
fd = os.open(path, os.O_RDWR)
with mmap.mmap(fd, size) as view:
    assert view[:4] == b"begi" and view[size - 1 :] == b"x", bytes(view[:8])
    assert view.find(b"needle") == 70_000
    view[5:9] = b"WROT"
    view[size - 4 : size] = b"TAIL"
    view.flush()
    assert os.pread(fd, 4, 5) == b"WROT"
    with open(sys.argv[3], "rb") as other:
        there = other.read() if sys.argv[3] != path else view[:]
    view[100:103] = b"end"
os.close(fd)
"""


def test_shared_memory_map(place: Place) -> None:
    """Reads, writes with msync, and writes left to the last close. In a process of its own: a page fault
    that hangs would hold the interpreter."""
    size = 200_000
    data = bytearray(b"begin" + b"x" * (size - 5))
    data[70_000:70_006] = b"needle"
    (place.there / "f").write_bytes(data)
    command = [sys.executable, "-c", MAPPED, place.here / "f", str(size), place.there / "f"]
    subprocess.run(command, check=True, timeout=60)
    data[5:9], data[size - 4 :], data[100:103] = b"WROT", b"TAIL", b"end"
    assert (place.there / "f").read_bytes() == data
    assert (place.here / "f").read_bytes() == data


def test_a_program_runs_from_the_mount(place: Place) -> None:
    (place.there / "program").write_text("#!/bin/sh\necho ran $1\n")
    (place.there / "program").chmod(0o755)
    done = subprocess.run([place.here / "program", "well"], capture_output=True, check=True, timeout=30)
    assert done.stdout == b"ran well\n"


def test_copy_file_range_and_sendfile(place: Place) -> None:
    data = pattern(1 << 20)
    (place.there / "source").write_bytes(data)
    with opened(place.here / "source", os.O_RDONLY) as source:
        with opened(place.here / "sent", os.O_CREAT | os.O_WRONLY) as sink:
            sent = 0
            while sent < len(data):
                sent += os.sendfile(sink, source, sent, len(data) - sent)
        with opened(place.here / "copied", os.O_CREAT | os.O_WRONLY) as sink:
            copied = 0
            while copied < len(data):
                copied += os.copy_file_range(source, sink, len(data) - copied, copied, copied)
    assert (place.there / "sent").read_bytes() == data
    assert (place.there / "copied").read_bytes() == data
