"""Modes, times, link counts, inode numbers."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Place
from tests.harness.kernel import UTIME_OMIT, opened, umask, utimensat
from tests.harness.waiting import eventually
from tests.semantics.statements import states

LEASE_LIMIT = 15.0


@states(
    "A1",
    "A new file or directory has exactly the mode asked for, whatever the server's umask: set-ID and sticky "
    "bits included, as far as the server keeps them.",
)
@pytest.mark.parametrize("mode", [0o666, 0o640, 0o777, 0o4711, 0o2770, 0o1777])
def test_modes_of_new_files(place: Place, mode: int) -> None:
    """The server of the tests has a umask of 022. Linux's mkdir takes no set-ID bits."""
    with umask(0):
        os.close(os.open(place.here / "f", os.O_CREAT | os.O_WRONLY, mode))
        os.mkdir(place.here / "d", mode)
    for side in (place.here, place.there):
        assert stat.S_IMODE(os.stat(side / "f").st_mode) == mode
        assert stat.S_IMODE(os.stat(side / "d").st_mode) == mode & ~(stat.S_ISUID | stat.S_ISGID)


@states("A3", "`chown` of one id leaves the other, and clears set-ID bits if the server does.")
def test_chown_of_a_set_id_file(place: Place) -> None:
    for side, name in ((place.here, "f"), (place.there, "g")):
        (side / name).touch()
        os.chown(side / name, 5, 6)
        os.chmod(side / name, 0o6755)
        os.chown(side / name, 7, -1)
    here, there = os.stat(place.here / "f"), os.stat(place.there / "g")
    assert (here.st_uid, here.st_gid) == (there.st_uid, there.st_gid) == (7, 6)
    assert here.st_mode == os.stat(place.there / "f").st_mode == there.st_mode


@states(
    "A4",
    "Times on the server are whole seconds from 1970 to 2106; others are clamped to that range, and "
    "fractions are cut off.",
)
@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (-1.0, 0),
        (-(10**6), 0),
        (0.0, 0),
        (2**31, 2**31),
        (2**32 - 1, 2**32 - 1),
        (2**32, 2**32 - 1),
        (2**33 + 5, 2**32 - 1),
    ],
)
def test_the_range_of_times(place: Place, asked: float, shown: int) -> None:
    (place.here / "f").touch()
    os.utime(place.here / "f", (asked, asked))
    for side in (place.here, place.there):
        seen = os.stat(side / "f")
        assert (seen.st_atime_ns, seen.st_mtime_ns) == (shown * 10**9, shown * 10**9)


@states(
    "A19",
    "If a time is set here on a file that was made or written here, this mount shows its fraction "
    "for as long as the server reports that second and the file keeps its inode number (`A13`).",
)
def test_fractions_that_were_set(place: Place) -> None:
    path = place.here / "f"
    path.write_bytes(b"made here")
    os.utime(path, ns=(1_500_000_000_250_000_001, 1_500_000_000_750_000_003))
    os.rename(path, place.here / "g")
    seen, there = os.stat(place.here / "g"), os.stat(place.there / "g")
    assert (seen.st_atime_ns, seen.st_mtime_ns) == (1_500_000_000_250_000_001, 1_500_000_000_750_000_003)
    assert there.st_mtime_ns == 1_500_000_000_000_000_000
    utimensat(place.here / "g", (7, 5), (0, UTIME_OMIT))
    seen = os.stat(place.here / "g")
    assert (seen.st_atime_ns, seen.st_mtime_ns) == (7_000_000_005, 1_500_000_000_750_000_003)
    (place.here / "g").write_bytes(b"written")
    assert os.stat(place.here / "g").st_mtime_ns % 10**9 == 0


@states(
    "A20",
    "A time within the server's present second, or in the future, is shown as whole seconds: what is"
    " written next is dated by the second, and would look older.",
)
def test_a_fraction_of_the_present(place: Place) -> None:
    path = place.here / "f"
    path.touch()
    for time_ns in (time.time_ns(), time.time_ns() + 10**13 + 5):
        os.utime(path, ns=(time_ns, time_ns))
        assert os.stat(path).st_mtime_ns == time_ns // 10**9 * 10**9
    os.utime(path)
    assert os.stat(path).st_mtime_ns % 10**9 == 0


@pytest.mark.parametrize("known", [False, True])
def test_copying_what_is_newer_copies_once(place: Place, tmp_path: Path, known: bool) -> None:
    """Also onto files that an earlier mount copied, which have whole seconds, also of ctime after chmod:
    of those coreutils tries how fine their times are, of an even second by two of them."""
    source, target = tmp_path / "source", place.here / "target"
    source.mkdir()
    for number in range(6):
        (source / f"{number}").write_bytes(b"x")
        time_ns = (1_500_000_000 + number) * 10**9 + 123_456_789
        os.utime(source / f"{number}", ns=(time_ns, time_ns))
    copy = ["cp", "-a", "-u", "-v", "-T", source, place.there / "target" if known else target]
    subprocess.run(copy, check=True, stdout=subprocess.DEVNULL)
    if known:
        for number in range(6):
            os.utime(place.there / "target" / f"{number}", (1_500_000_000 + number,) * 2)
            os.chmod(target / f"{number}", 0o600)
    for _ in range(2):
        again = subprocess.run([*copy[:-1], target], check=True, capture_output=True, text=True)
        assert not again.stdout


@states("A8", "`chmod`, `chown` and `utimens` on a symbolic link never touch its target:")
def test_changes_of_a_link(place: Place) -> None:
    (place.here / "target").touch()
    os.utime(place.here / "target", (1_000_000_000, 1_000_000_000))
    os.symlink("target", place.here / "link")
    before = os.stat(place.there / "target")
    utimensat(place.here / "link", (7, 0), (8, 0), follow=False)
    utimensat(place.here / "link", (9, 0), (0, UTIME_OMIT), follow=False)
    os.lchown(place.here / "link", 5, 6)
    seen = os.lstat(place.there / "link")
    assert (seen.st_mtime, seen.st_uid, seen.st_gid) == (8, 5, 6)
    after = os.stat(place.there / "target")
    assert (after.st_mode, after.st_uid, after.st_mtime, after.st_ctime_ns) == (
        before.st_mode,
        before.st_uid,
        before.st_mtime,
        before.st_ctime_ns,
    )


def changes(path: Path, other: Path) -> list[Callable[[], object]]:
    """One change after the other; those of the name ``path`` leave it there."""
    return [
        lambda: os.chmod(path, 0o600),
        lambda: os.chmod(path, 0o600),
        lambda: os.utime(path, (4_000_000_000, 4_000_000_000)),
        lambda: os.utime(path, (5, 5)),
        lambda: os.chown(path, 1, 1),
        lambda: os.truncate(path, 10),
        lambda: path.write_bytes(b"content"),
        lambda: os.link(path, other),
        lambda: os.unlink(other),
        lambda: (os.rename(path, other), os.rename(other, path)),
    ]


@states("A9", "ctime moves with every change made here and never goes back.")
def test_ctime(place: Place) -> None:
    path = place.here / "f"
    path.touch()
    last = os.stat(path).st_ctime_ns
    for number, change in enumerate(changes(path, place.here / "g")):
        change()
        seen = os.stat(path).st_ctime_ns
        assert seen > last, f"change {number}"
        last = seen
    with opened(path, os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b"more")
        assert os.stat(path).st_ctime_ns > last
        last = os.stat(path).st_ctime_ns
    assert os.stat(path).st_ctime_ns >= last
    directory = os.stat(place.here).st_ctime_ns
    os.unlink(path)
    assert os.stat(place.here).st_ctime_ns > directory


def test_ctime_moves_for_who_does_not_write_too(place: Place) -> None:
    """While the writer has it open, and nothing was sent: a backup compares by ctime."""
    path = place.here / "f"
    (place.there / "f").write_bytes(b"as it was")
    os.utime(place.there / "f", (1_000_000_000, 1_000_000_000))
    before = os.stat(path)
    program = (
        "import os, sys; fd = os.open(sys.argv[1], os.O_WRONLY); os.write(fd, b'changed!!'); "
        "os.write(1, b'.'); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.read(1) == b"."
        assert path.read_bytes() == b"changed!!"
        seen = os.stat(path)
        writer.communicate(timeout=30)
    assert seen.st_ctime_ns > before.st_ctime_ns
    assert seen.st_ctime_ns >= seen.st_mtime_ns
    assert os.stat(path).st_ctime_ns >= seen.st_ctime_ns


def test_ctime_moves_where_another_client_sets_the_time_back(place: Place) -> None:
    (place.there / "f").write_bytes(b"as it was")
    before = os.stat(place.here / "f").st_ctime_ns
    (place.there / "f").write_bytes(b"changed")
    os.utime(place.there / "f", (1_000_000_000, 1_000_000_000))
    (place.here / "f").read_bytes()
    assert os.stat(place.here / "f").st_mtime == 1_000_000_000
    assert os.stat(place.here / "f").st_ctime_ns > before


@states(
    "A10",
    "Link counts come from OpenSSH's listings, where the line agrees with the attributes, and from our own "
    "`link` and `unlink`; otherwise 1.",
)
def test_link_counts(place: Place) -> None:
    (place.there / "there").touch()
    for name in ("second", "third"):
        os.link(place.there / "there", place.there / name)
    (place.there / "directory" / "inner").mkdir(parents=True)
    os.listdir(place.here)
    assert os.stat(place.here / "third").st_nlink == 3
    counted = os.stat(place.there / "directory").st_nlink
    assert os.stat(place.here / "directory").st_nlink == counted
    (place.here / "directory" / "another").mkdir()
    assert os.stat(place.here / "directory").st_nlink == os.stat(place.there / "directory").st_nlink
    os.rename(place.here / "directory" / "another", place.here / "moved")
    os.rmdir(place.here / "directory" / "inner")
    assert os.stat(place.here / "directory").st_nlink == os.stat(place.there / "directory").st_nlink
    (place.here / "here").touch()
    assert os.stat(place.here / "here").st_nlink == 1
    os.link(place.here / "here", place.here / "linked")
    assert os.stat(place.here / "here").st_nlink == 2
    os.unlink(place.here / "here")
    assert os.stat(place.here / "linked").st_nlink == 1


@states("A11", "An open file without a name shows a link count of 0.")
@pytest.mark.parametrize("how", ["unlink", "rename"])
def test_link_count_of_a_file_without_a_name(place: Place, how: str) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"content")
        if how == "unlink":
            os.unlink(place.here / "f")
        else:
            (place.here / "g").touch()
            os.rename(place.here / "g", place.here / "f")
        assert os.fstat(fd).st_nlink == 0
        os.fsync(fd)
        assert (os.fstat(fd).st_nlink, os.fstat(fd).st_size) == (0, 7)


@states(
    "A13",
    "Inode numbers are given by the mount, stay as long as a file is known here, and are never given to "
    "another file while the mount lives.",
)
def test_inode_numbers(place: Place) -> None:
    seen = set()
    for number in range(50):
        path = place.here / f"f{number}"
        path.touch()
        inode = os.stat(path).st_ino
        assert inode not in seen
        seen.add(inode)
        os.rename(path, place.here / "renamed")
        assert os.stat(place.here / "renamed").st_ino == inode
        (place.here / "renamed").write_text("changed")
        assert os.stat(place.here / "renamed").st_ino == inode
        os.unlink(place.here / "renamed")


@states(
    "A15",
    "Two names that were linked on the server show two inode numbers: SFTP does not say that they "
    "are one file.",
)
def test_names_linked_on_the_server(place: Place) -> None:
    (place.there / "a").write_text("first")
    os.link(place.there / "a", place.there / "b")
    assert os.stat(place.here / "a").st_ino != os.stat(place.here / "b").st_ino
    (place.here / "a").write_text("written through a")
    eventually(lambda: (place.here / "b").read_text() == "written through a", LEASE_LIMIT)
