"""rename in all its forms."""

from __future__ import annotations

import errno
import os

import pytest

from tests.conftest import MakeMount, Place
from tests.harness.kernel import RENAME_EXCHANGE, RENAME_NOREPLACE, fails_with, opened, read_all, renameat2


def test_rename(place: Place) -> None:
    (place.here / "a").write_text("content")
    os.mkdir(place.here / "d")
    os.rename(place.here / "a", place.here / "b")
    os.rename(place.here / "b", place.here / "d" / "c")
    assert os.listdir(place.there) == ["d"]
    assert (place.there / "d" / "c").read_text() == "content"
    assert (place.here / "d" / "c").read_text() == "content"
    with fails_with(errno.ENOENT):
        os.stat(place.here / "a")


def test_rename_over_an_existing_file(place: Place) -> None:
    (place.here / "a").write_text("new")
    (place.here / "b").write_text("the old one")
    os.rename(place.here / "a", place.here / "b")
    assert os.listdir(place.here) == ["b"]
    assert (place.here / "b").read_text() == "new"
    assert (place.there / "b").read_text() == "new"
    assert os.stat(place.here / "b").st_size == 3


def test_rename_over_an_open_file_keeps_what_was_open(place: Place) -> None:
    (place.there / "b").write_text("the old one")
    with opened(place.here / "b", os.O_RDWR) as fd:
        assert os.pread(fd, 3, 0) == b"the"
        (place.here / "a").write_text("new")
        os.rename(place.here / "a", place.here / "b")
        assert read_all(fd) == b"the old one"
        assert os.fstat(fd).st_size == 11
        os.pwrite(fd, b"THE", 0)
        assert (place.here / "b").read_text() == "new"
    assert (place.there / "b").read_text() == "new"


def test_rename_while_open(place: Place) -> None:
    with opened(place.here / "a", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"before ")
        os.rename(place.here / "a", place.here / "b")
        os.write(fd, b"after")
        assert read_all(fd) == b"before after"
        assert os.stat(place.here / "b").st_size == 12
        assert os.stat(place.here / "b").st_ino == os.fstat(fd).st_ino
    assert (place.there / "b").read_text() == "before after"
    assert os.listdir(place.there) == ["b"]


def test_rename_of_a_directory_keeps_open_files_and_children(place: Place) -> None:
    os.makedirs(place.here / "a" / "deep")
    (place.here / "a" / "deep" / "f").write_bytes(b"x" * 300_000)
    inode = os.stat(place.here / "a" / "deep" / "f").st_ino
    with (
        opened(place.here / "a" / "deep" / "f", os.O_RDWR) as fd,
        opened(place.here / "a" / "deep", os.O_RDONLY | os.O_DIRECTORY) as directory,
    ):
        os.rename(place.here / "a", place.here / "z")
        os.pwrite(fd, b"after the rename", 0)
        os.fsync(fd)
        assert (place.there / "z" / "deep" / "f").read_bytes()[:16] == b"after the rename"
        assert os.stat(place.here / "z" / "deep" / "f").st_ino == inode
        os.close(os.open("new", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=directory))
        assert sorted(os.listdir(directory)) == ["f", "new"]
    assert sorted(os.listdir(place.there / "z" / "deep")) == ["f", "new"]
    with fails_with(errno.ENOENT):
        os.stat(place.here / "a" / "deep" / "f")


def test_rename_twice_with_children_in_memory(place: Place) -> None:
    """A child's path is right after its parents moved several times."""
    os.makedirs(place.here / "a" / "b" / "c")
    (place.here / "a" / "b" / "c" / "f").write_text("1")
    os.rename(place.here / "a" / "b", place.here / "b2")
    os.rename(place.here / "a", place.here / "a2")
    os.rename(place.here / "b2", place.here / "a2" / "b3")
    (place.here / "a2" / "b3" / "c" / "f").write_text("2")
    assert (place.there / "a2" / "b3" / "c" / "f").read_text() == "2"
    os.mkdir(place.here / "a")
    assert os.listdir(place.here / "a") == []


def test_rename_of_a_directory_over_an_empty_one(place: Place) -> None:
    os.makedirs(place.here / "a" / "child")
    os.mkdir(place.here / "b")
    os.rename(place.here / "a", place.here / "b")
    assert os.listdir(place.here) == ["b"]
    assert os.listdir(place.here / "b") == ["child"]


def test_rename_over_a_directory_with_content_is_enotempty(place: Place) -> None:
    os.mkdir(place.here / "a")
    os.makedirs(place.here / "b" / "child")
    with fails_with(errno.ENOTEMPTY, errno.EEXIST):
        os.rename(place.here / "a", place.here / "b")
    assert sorted(os.listdir(place.there)) == ["a", "b"]


def test_rename_between_kinds(place: Place) -> None:
    (place.here / "f").write_text("x")
    os.mkdir(place.here / "d")
    with fails_with(errno.EISDIR):
        os.rename(place.here / "f", place.here / "d")
    with fails_with(errno.ENOTDIR):
        os.rename(place.here / "d", place.here / "f")
    assert (place.there / "f").read_text() == "x"
    assert (place.there / "d").is_dir()


def test_rename_of_a_directory_into_itself_is_einval(place: Place) -> None:
    os.makedirs(place.here / "d" / "e")
    with fails_with(errno.EINVAL):
        os.rename(place.here / "d", place.here / "d" / "e" / "f")


def test_rename_of_a_missing_name_is_enoent(place: Place) -> None:
    with fails_with(errno.ENOENT):
        os.rename(place.here / "missing", place.here / "b")


def test_rename_of_a_hard_link_over_its_other_name_keeps_both(place: Place) -> None:
    """rename(2): nothing happens where both names are one file."""
    (place.here / "a").write_text("one")
    os.link(place.here / "a", place.here / "b")
    os.rename(place.here / "a", place.here / "b")
    assert sorted(os.listdir(place.there)) == ["a", "b"]
    assert sorted(os.listdir(place.here)) == ["a", "b"]
    assert (place.here / "a").read_text() == "one"


def test_rename_of_a_symlink_moves_the_link(place: Place) -> None:
    (place.here / "f").write_text("target")
    os.symlink("f", place.here / "l")
    os.rename(place.here / "l", place.here / "m")
    assert os.readlink(place.there / "m") == "f"
    assert (place.there / "f").read_text() == "target"


def test_noreplace_over_an_existing_name_is_eexist(place: Place) -> None:
    (place.here / "a").write_text("a")
    (place.here / "b").write_text("b")
    with fails_with(errno.EEXIST):
        renameat2(place.here / "a", place.here / "b", RENAME_NOREPLACE)
    assert (place.there / "a").read_text() == "a"
    assert (place.there / "b").read_text() == "b"


def test_noreplace_over_a_name_just_taken_on_the_server_is_eexist(place: Place) -> None:
    (place.here / "a").write_text("a")
    assert not os.path.exists(place.here / "b")
    (place.there / "b").write_text("theirs")
    with fails_with(errno.EEXIST):
        renameat2(place.here / "a", place.here / "b", RENAME_NOREPLACE)
    assert (place.there / "b").read_text() == "theirs"


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_noreplace_to_a_free_name(place: Place, kind: str) -> None:
    if kind == "file":
        (place.here / "a").write_text("a")
    else:
        os.mkdir(place.here / "a")
    renameat2(place.here / "a", place.here / "b", RENAME_NOREPLACE)
    assert os.listdir(place.there) == ["b"]
    assert os.listdir(place.here) == ["b"]


def test_exchange_is_refused_and_changes_nothing(place: Place) -> None:
    (place.here / "a").write_text("a")
    (place.here / "b").write_text("b")
    with fails_with(errno.EINVAL):
        renameat2(place.here / "a", place.here / "b", RENAME_EXCHANGE)
    assert (place.there / "a").read_text() == "a"
    assert (place.there / "b").read_text() == "b"


def test_atomic_save(place: Place) -> None:
    """A reader sees the old content or the new, whatever the moment."""
    (place.here / "f").write_text("version 0")
    for number in range(1, 6):
        with open(place.here / "f.tmp", "w") as file:
            file.write(f"version {number}")
            file.flush()
            os.fsync(file.fileno())
        os.rename(place.here / "f.tmp", place.here / "f")
        assert (place.there / "f").read_text() == f"version {number}"
        assert (place.here / "f").read_text() == f"version {number}"
    assert os.listdir(place.here) == ["f"]


def test_rename_of_a_directory_while_it_is_looked_at_in_the_background(place: Place) -> None:
    """What was asked under the old path, and answered after the rename, says nothing of what moved."""
    for number in range(100):
        (place.there / str(number)).mkdir()
    for number in range(100):
        here = place.here / str(number)
        os.makedirs(here / "a" / "deep")
        (here / "a" / "deep" / "f").write_bytes(b"x" * 300_000)
        with opened(here / "a" / "deep", os.O_RDONLY | os.O_DIRECTORY) as directory:
            os.rename(here / "a", here / "z")
            (here / "z" / "deep" / "f").write_bytes(b"after the rename")
            os.close(os.open("new", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=directory))
            assert sorted(os.listdir(directory)) == ["f", "new"]
        assert sorted(os.listdir(place.there / str(number) / "z" / "deep")) == ["f", "new"]


def test_a_listing_that_a_rename_of_the_directory_overtakes_is_whole(place: Place) -> None:
    """The server leaves out what it does not find under the old path. Many tries: it takes a listing
    in the background at the wrong moment."""
    for number in range(150):
        ready, there = place.there.parent / "ready", place.there / str(number)
        (ready / "old").mkdir(parents=True)
        (ready / "old" / "inner").touch()
        ready.rename(there)
        here = place.here / str(number)
        os.stat(here)
        os.rename(here / "old", here / "new")
        assert os.listdir(here) == ["new"]
        assert os.listdir(here / "new") == ["inner"]


def test_listing_a_directory_gone_from_the_server_is_no_empty_listing(make_mount: MakeMount) -> None:
    mount = make_mount("dir_cache=no")  # else it may have been listed ahead, while it was there
    (mount.backing / "d").mkdir()
    with opened(mount.path / "d", os.O_RDONLY | os.O_DIRECTORY) as directory:
        (mount.backing / "d").rename(mount.backing / "elsewhere")
        with fails_with(errno.ESTALE):
            os.listdir(directory)
