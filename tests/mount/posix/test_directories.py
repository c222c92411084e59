"""Directories on the mount: make, list, remove; big ones."""

from __future__ import annotations

import errno
import os
import stat
import subprocess

import pytest

from tests.conftest import Place
from tests.harness.kernel import fails_with

MANY = 5000


def test_mkdir_makes_an_empty_directory_on_the_server(place: Place) -> None:
    os.mkdir(place.here / "d", 0o750)
    assert stat.S_ISDIR(os.stat(place.there / "d").st_mode)
    assert os.listdir(place.here / "d") == []
    assert stat.S_ISDIR(os.stat(place.here / "d").st_mode)


@pytest.mark.parametrize("kind", ["directory", "file", "symlink", "dangling"])
def test_mkdir_of_a_taken_name_is_eexist(place: Place, kind: str) -> None:
    taken = place.there / "taken"
    if kind == "directory":
        taken.mkdir()
    elif kind == "file":
        taken.touch()
    else:
        taken.symlink_to("." if kind == "symlink" else "nowhere")
    with fails_with(errno.EEXIST):
        os.mkdir(place.here / "taken")


def test_mkdir_below_a_missing_directory_is_enoent(place: Place) -> None:
    with fails_with(errno.ENOENT):
        os.mkdir(place.here / "missing" / "d")


def test_mkdir_below_a_file_is_enotdir(place: Place) -> None:
    (place.there / "f").touch()
    with fails_with(errno.ENOTDIR):
        os.mkdir(place.here / "f" / "d")


def test_rmdir_removes_an_empty_directory(place: Place) -> None:
    os.mkdir(place.here / "d")
    os.rmdir(place.here / "d")
    assert not os.path.lexists(place.there / "d")
    with fails_with(errno.ENOENT):
        os.stat(place.here / "d")
    with fails_with(errno.ENOENT):
        os.rmdir(place.here / "d")


def test_rmdir_of_a_directory_with_content_is_enotempty(place: Place) -> None:
    (place.there / "d").mkdir()
    (place.there / "d" / "f").touch()
    with fails_with(errno.ENOTEMPTY):
        os.rmdir(place.here / "d")
    assert (place.there / "d" / "f").exists()


def test_rmdir_of_a_file_is_enotdir_and_unlink_of_a_directory_eisdir(place: Place) -> None:
    (place.there / "f").touch()
    (place.there / "d").mkdir()
    with fails_with(errno.ENOTDIR):
        os.rmdir(place.here / "f")
    with fails_with(errno.EISDIR):
        os.unlink(place.here / "d")


def test_rmdir_right_after_unlink_of_an_open_file(place: Place) -> None:
    """No hidden file is left in the directory."""
    os.mkdir(place.here / "d")
    with open(place.here / "d" / "f", "wb") as file:
        file.write(b"x")
        os.unlink(place.here / "d" / "f")
        os.rmdir(place.here / "d")
    assert not (place.there / "d").exists()


def test_listing_twice_gives_the_same(place: Place) -> None:
    for name in ("a", "b", "c"):
        (place.there / name).touch()
    (place.there / "d").mkdir()
    first = os.listdir(place.here)
    assert sorted(first) == ["a", "b", "c", "d"]
    assert os.listdir(place.here) == first


def test_rewinddir_starts_again(place: Place) -> None:
    for number in range(10):
        (place.there / str(number)).touch()
    with os.scandir(place.here) as entries:
        first = [entry.name for entry in entries]
    fd = os.open(place.here, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert sorted(os.listdir(fd)) == sorted(first)
        assert sorted(os.listdir(fd)) == sorted(first)
    finally:
        os.close(fd)


def test_a_listing_tells_types_and_inode_numbers(place: Place) -> None:
    (place.there / "f").touch()
    (place.there / "d").mkdir()
    (place.there / "l").symlink_to("f")
    with os.scandir(place.here) as entries:
        found = {entry.name: entry for entry in entries}
        assert found["f"].is_file(follow_symlinks=False)
        assert found["d"].is_dir(follow_symlinks=False)
        assert found["l"].is_symlink()
        for name, entry in found.items():
            assert entry.inode() == os.lstat(place.here / name).st_ino


def test_a_listing_has_dot_and_dotdot(place: Place) -> None:
    words = subprocess.run(
        ["ls", "-a", place.here], capture_output=True, check=True, timeout=30
    ).stdout.split()
    assert words == [b".", b".."]


def test_local_changes_show_in_the_next_listing(place: Place) -> None:
    assert os.listdir(place.here) == []
    (place.here / "f").write_bytes(b"")
    os.mkdir(place.here / "d")
    os.symlink("x", place.here / "l")
    assert sorted(os.listdir(place.here)) == ["d", "f", "l"]
    os.rename(place.here / "f", place.here / "g")
    os.rmdir(place.here / "d")
    os.unlink(place.here / "l")
    assert os.listdir(place.here) == ["g"]


def test_names_with_a_common_prefix_are_untouched(place: Place) -> None:
    """A rename or unlink of ``a`` changes neither ``ab`` nor ``a.b`` nor what is below them."""
    for name in ("a", "ab", "a.b", "a b"):
        (place.here / name).mkdir()
        (place.here / name / "f").write_text(name)
    os.rename(place.here / "a", place.here / "z")
    (place.here / "ab" / "f").unlink()
    (place.here / "ab").rmdir()
    assert sorted(os.listdir(place.here)) == ["a b", "a.b", "z"]
    assert (place.here / "a.b" / "f").read_text() == "a.b"
    assert (place.here / "a b" / "f").read_text() == "a b"
    assert (place.here / "z" / "f").read_text() == "a"
    with fails_with(errno.ENOENT):
        os.stat(place.here / "a" / "f")


@pytest.mark.limit(240)
def test_a_directory_of_five_thousand(place: Place) -> None:
    names = {f"file-with-a-name-{number:05}" for number in range(MANY)}
    (place.there / "big").mkdir()
    for name in names:
        (place.there / "big" / name).touch()
    with os.scandir(place.here / "big") as entries:
        listed = [entry.name for entry in entries]
    assert len(listed) == MANY
    assert set(listed) == names
    subprocess.run(["rm", "-rf", place.here / "big"], check=True, timeout=200)
    assert not (place.there / "big").exists()


def test_removing_while_listing_misses_nothing(place: Place) -> None:
    (place.there / "d").mkdir()
    for number in range(600):
        (place.there / "d" / str(number)).touch()
    with os.scandir(place.here / "d") as entries:
        seen = 0
        for entry in entries:
            os.unlink(entry.path)
            seen += 1
    assert seen == 600
    assert os.listdir(place.there / "d") == []


def test_renaming_while_listing_brings_no_old_name_back(place: Place) -> None:
    """A listing tells the kernel of names: one that has been renamed meanwhile is not among them."""
    (place.there / "d").mkdir()
    names = [f"{'n' * 60}{number}" for number in range(600)]
    for name in names:
        (place.there / "d" / name).touch()
    directory = place.here / "d"
    with os.scandir(directory) as entries:
        first = next(entries).name
        last = next(name for name in reversed(names) if name != first)
        for name in names:
            if name != first:
                os.rename(directory / name, directory / f"new {name}")
        os.link(directory / first, directory / f"new {first}")
        os.unlink(directory / first)
        listed = [entry.name for entry in entries]
    for name in {*names, last}:
        assert not os.path.lexists(directory / name), name
    assert len(listed) < 600  # the listing was under way, not all read before
    assert sorted(os.listdir(directory)) == sorted(f"new {name}" for name in names)


def test_fsync_of_a_directory_succeeds(place: Place) -> None:
    fd = os.open(place.here, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
