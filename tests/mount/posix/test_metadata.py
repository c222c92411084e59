"""Modes, owners, links, special files, statvfs."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from tests.conftest import Place
from tests.harness.kernel import fails_with, umask


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o644, 0o777, 0o4755, 0o2750, 0o1777])
def test_chmod(place: Place, mode: int) -> None:
    (place.here / "f").touch()
    os.chmod(place.here / "f", mode)
    assert stat.S_IMODE(os.stat(place.there / "f").st_mode) == mode
    assert stat.S_IMODE(os.stat(place.here / "f").st_mode) == mode


def test_chmod_of_a_directory_and_by_descriptor(place: Place) -> None:
    os.mkdir(place.here / "d")
    os.chmod(place.here / "d", 0o710)
    assert stat.S_IMODE(os.stat(place.there / "d").st_mode) == 0o710
    with open(place.here / "f", "wb") as file:
        os.fchmod(file.fileno(), 0o612)
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o612
    assert stat.S_IMODE(os.stat(place.there / "f").st_mode) == 0o612


def test_chmod_leaves_the_rest(place: Place) -> None:
    (place.there / "f").write_bytes(b"12345")
    os.chown(place.there / "f", 1234, 2345)
    os.utime(place.there / "f", (1_000_000_000, 1_100_000_000))
    os.chmod(place.here / "f", 0o640)
    seen = os.stat(place.there / "f")
    assert (seen.st_size, seen.st_uid, seen.st_gid) == (5, 1234, 2345)
    assert (seen.st_atime, seen.st_mtime) == (1_000_000_000, 1_100_000_000)


def test_chown_of_each_id_alone_and_of_both(place: Place) -> None:
    (place.here / "f").touch()
    for uid, gid, expected in [(1001, -1, (1001, 0)), (-1, 1002, (1001, 1002)), (1003, 1004, (1003, 1004))]:
        os.chown(place.here / "f", uid, gid)
        for side in (place.there, place.here):
            seen = os.stat(side / "f")
            assert (seen.st_uid, seen.st_gid) == expected


def test_chown_of_a_symlink_leaves_its_target(place: Place) -> None:
    (place.there / "f").touch()
    os.symlink("f", place.here / "l")
    os.lchown(place.here / "l", 1001, 1002)
    seen = os.lstat(place.there / "l")
    assert (seen.st_uid, seen.st_gid) == (1001, 1002)
    assert os.stat(place.there / "f").st_uid == 0


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o666, 0o600, 0o755, 0o777])
def test_a_new_file_has_exactly_the_mode_asked_for(place: Place, mask: int, mode: int) -> None:
    """The client's umask once, the server's not at all."""
    with umask(mask):
        os.close(os.open(place.here / "f", os.O_CREAT | os.O_WRONLY, mode))
        os.mkdir(place.here / "d", mode)
    for name in ("f", "d"):
        for side in (place.there, place.here):
            assert stat.S_IMODE(os.stat(side / name).st_mode) == mode & ~mask, name


def test_a_read_only_file_is_created_and_written(place: Place) -> None:
    """git does this for its objects."""
    fd = os.open(place.here / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444)
    os.write(fd, b"object")
    os.close(fd)
    assert (place.there / "f").read_bytes() == b"object"
    assert stat.S_IMODE(os.stat(place.there / "f").st_mode) == 0o444


def test_access(place: Place) -> None:
    (place.here / "f").touch()
    os.chmod(place.here / "f", 0o644)
    assert os.access(place.here / "f", os.F_OK | os.R_OK | os.W_OK)
    assert not os.access(place.here / "missing", os.F_OK)
    os.chmod(place.here / "f", 0o755)
    assert os.access(place.here / "f", os.X_OK)


def test_hard_link(place: Place) -> None:
    (place.here / "a").write_text("one")
    os.link(place.here / "a", place.here / "b")
    assert os.path.samefile(place.there / "a", place.there / "b")
    assert os.stat(place.here / "a").st_ino == os.stat(place.here / "b").st_ino
    assert os.stat(place.there / "a").st_nlink == 2
    (place.here / "b").write_text("changed")
    assert (place.here / "a").read_text() == "changed"
    os.unlink(place.here / "a")
    assert (place.here / "b").read_text() == "changed"
    assert (place.there / "b").read_text() == "changed"


def test_hard_link_counts(place: Place) -> None:
    (place.here / "a").write_text("one")
    os.link(place.here / "a", place.here / "b")
    assert os.stat(place.here / "a").st_nlink == 2
    os.unlink(place.here / "a")
    assert os.stat(place.here / "b").st_nlink == 1


def test_hard_link_over_an_existing_name_is_eexist(place: Place) -> None:
    (place.here / "a").write_text("a")
    (place.here / "b").write_text("b")
    with fails_with(errno.EEXIST):
        os.link(place.here / "a", place.here / "b")
    assert (place.there / "b").read_text() == "b"


def test_mknod_of_a_regular_file(place: Place) -> None:
    with umask(0o027):
        os.mknod(place.here / "f", stat.S_IFREG | 0o666)
    for side in (place.there, place.here):
        seen = os.stat(side / "f")
        assert stat.S_ISREG(seen.st_mode)
        assert stat.S_IMODE(seen.st_mode) == 0o640
        assert seen.st_size == 0
    with fails_with(errno.EEXIST):
        os.mknod(place.here / "f", stat.S_IFREG | 0o666)


def test_special_files_are_shown(place: Place) -> None:
    os.mkfifo(place.there / "fifo")
    assert stat.S_ISFIFO(os.stat(place.here / "fifo").st_mode)


def test_statvfs_equals_the_backing_filesystem(place: Place) -> None:
    """Free space may move between the two looks, the size may not."""
    here, there = os.statvfs(place.here), os.statvfs(place.there)
    assert here.f_blocks * here.f_frsize == there.f_blocks * there.f_frsize
    assert here.f_files == there.f_files
    assert here.f_namemax == there.f_namemax
    slack = 2 << 30
    assert abs(here.f_bavail * here.f_frsize - there.f_bavail * there.f_frsize) < slack
    assert abs(here.f_bfree * here.f_frsize - there.f_bfree * there.f_frsize) < slack


def test_extended_attributes_are_refused_cleanly(place: Place) -> None:
    (place.here / "f").touch()
    with fails_with(errno.EOPNOTSUPP):
        os.getxattr(place.here / "f", "user.x")
    with fails_with(errno.EOPNOTSUPP):
        os.setxattr(place.here / "f", "user.x", b"1")


def test_metadata_there_shows_here(place: Place) -> None:
    (place.there / "f").write_bytes(b"123")
    os.chmod(place.there / "f", 0o6751)
    os.chown(place.there / "f", 77, 88)
    os.chmod(place.there / "f", 0o6751)
    os.utime(place.there / "f", (1_234_567_890, 1_234_567_891))
    seen = os.stat(place.here / "f")
    assert stat.S_IMODE(seen.st_mode) == 0o6751
    assert (seen.st_uid, seen.st_gid, seen.st_size) == (77, 88, 3)
    assert (seen.st_atime, seen.st_mtime) == (1_234_567_890, 1_234_567_891)


def test_block_count_fits_the_size(place: Place) -> None:
    """du counts blocks of 512 bytes."""
    (place.there / "f").write_bytes(b"x" * 10_000)
    seen = os.stat(place.here / "f")
    assert seen.st_blocks * 512 >= 10_000
    assert seen.st_blksize >= 4096
