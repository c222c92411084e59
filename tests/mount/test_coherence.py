"""Changes made on the server, seen here: at open, and after the lease."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.kernel import fails_with, opened
from tests.harness.waiting import eventually

SHORT = "dcache_timeout=1"
"""One second: long enough to be a lease, short enough to wait for."""

LEASE_LIMIT = 15.0

ABSENCE_LIMIT = 10.0
"""Seconds until a missing name is asked for again, two at first, and a slow machine; half of a listing's."""


def test_everything_shows_after_the_lease(make_mount: MakeMount, backing: Path) -> None:
    (backing / "gone").write_text("x")
    (backing / "grown").write_text("x")
    (backing / "moded").touch()
    mount = make_mount(SHORT, backing=backing)
    assert sorted(os.listdir(mount.path)) == ["gone", "grown", "moded"]
    assert not os.path.exists(mount.path / "new")
    assert os.stat(mount.path / "grown").st_size == 1
    (mount.backing / "gone").unlink()
    (mount.backing / "new").write_text("made there")
    (mount.backing / "grown").write_text("longer")
    os.chmod(mount.backing / "moded", 0o600)
    eventually(lambda: os.path.exists(mount.path / "new"), LEASE_LIMIT)
    eventually(lambda: not os.path.exists(mount.path / "gone"), LEASE_LIMIT)
    eventually(lambda: os.stat(mount.path / "grown").st_size == 6, LEASE_LIMIT)
    eventually(lambda: os.stat(mount.path / "moded").st_mode & 0o777 == 0o600, LEASE_LIMIT)
    eventually(lambda: sorted(os.listdir(mount.path)) == ["grown", "moded", "new"], LEASE_LIMIT)
    assert (mount.path / "grown").read_text() == "longer"


def test_without_a_cache_everything_shows_at_once(make_mount: MakeMount) -> None:
    mount = make_mount("dir_cache=no")
    assert os.listdir(mount.path) == []
    assert not os.path.exists(mount.path / "f")
    (mount.backing / "f").write_text("1")
    assert os.path.exists(mount.path / "f")
    assert os.listdir(mount.path) == ["f"]
    (mount.backing / "f").write_text("22")
    assert os.stat(mount.path / "f").st_size == 2
    (mount.backing / "f").unlink()
    assert not os.path.exists(mount.path / "f")


def test_open_sees_content_changed_on_the_server(make_mount: MakeMount, backing: Path) -> None:
    """Close-to-open, whatever the leases: also where the size stayed and the mtime is the same second."""
    (backing / "f").touch()
    mount = make_mount(backing=backing)
    for content in ("version 1", "version 2", "version 3 is longer", "v4"):
        (mount.backing / "f").write_text(content)
        assert (mount.path / "f").read_text() == content


def test_open_sees_a_file_replaced_on_the_server(make_mount: MakeMount, backing: Path) -> None:
    (backing / "f").write_text("first")
    mount = make_mount(backing=backing)
    assert (mount.path / "f").read_text() == "first"
    (mount.backing / "tmp").write_text("other")
    os.utime(mount.backing / "tmp", (1_000_000_000, 1_000_000_000))
    os.rename(mount.backing / "tmp", mount.backing / "f")
    assert (mount.path / "f").read_text() == "other"


@pytest.mark.parametrize("through_a_handle", [False, True])
def test_a_change_on_the_server_is_not_hidden_by_a_time_set_here(
    make_mount: MakeMount, backing: Path, through_a_handle: bool
) -> None:
    """As builds do that set every time to one."""
    (backing / "f").write_bytes(b"old")
    os.utime(backing / "f", (1000, 1000))
    mount = make_mount(backing=backing)
    assert (mount.path / "f").read_bytes() == b"old"
    with opened(mount.path / "f", os.O_WRONLY) as fd:
        (backing / "f").write_bytes(b"new")
        os.utime(fd if through_a_handle else mount.path / "f", (1000, 1000))
    assert (mount.path / "f").read_bytes() == b"new"


def test_unchanged_content_survives_reopening(make_mount: MakeMount, backing: Path) -> None:
    data = os.urandom(1 << 20)
    (backing / "f").write_bytes(data)
    os.utime(backing / "f", (1_000_000_000, 1_000_000_000))
    mount = make_mount(backing=backing)
    for _ in range(3):
        assert (mount.path / "f").read_bytes() == data


def test_a_file_growing_on_the_server(make_mount: MakeMount, backing: Path) -> None:
    """tail -f: the handle stays open, the size is asked again and again."""
    (backing / "log").write_bytes(b"one\n")
    mount = make_mount(SHORT, backing=backing)
    with opened(mount.path / "log", os.O_RDONLY) as fd, open(mount.backing / "log", "ab", 0) as server:
        assert os.read(fd, 100) == b"one\n"
        assert os.read(fd, 100) == b""
        for line in (b"two\n", b"three\n"):
            server.write(line)
            eventually(lambda: os.fstat(fd).st_size > os.lseek(fd, 0, os.SEEK_CUR), LEASE_LIMIT)
            assert os.read(fd, 100) == line


def test_many_open_a_file_that_grows_on_the_server(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """Each learns of another version while the others' opens are under way, and it is the same file."""
    (backing / "log").write_bytes(b"line\n")
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    counting_proxy.set_latency(0.01)
    ended = threading.Event()

    def grow() -> None:
        with open(backing / "log", "ab", 0) as log:
            while not ended.wait(0.001):
                log.write(b"line\n")

    def open_often(_number: int) -> None:
        for _ in range(60):
            with opened(mount.path / "log", os.O_RDONLY) as fd:
                assert os.pread(fd, 5, 0) == b"line\n"

    with ThreadPoolExecutor(17) as threads:
        growing = threads.submit(grow)
        try:
            list(threads.map(open_often, range(16)))
        finally:
            ended.set()
            growing.result()
    counting_proxy.set_latency(0)


def test_a_file_shrinking_on_the_server_is_never_padded(make_mount: MakeMount, backing: Path) -> None:
    (backing / "f").write_bytes(b"x" * 1_000_000)
    mount = make_mount(SHORT, backing=backing)
    with opened(mount.path / "f", os.O_RDONLY) as fd:
        assert os.pread(fd, 10, 0) == b"x" * 10
        os.truncate(mount.backing / "f", 500)
        eventually(lambda: os.fstat(fd).st_size == 500, LEASE_LIMIT)
        assert os.pread(fd, 1000, 0) == b"x" * 500
        assert os.pread(fd, 1000, 900_000) == b""


def test_two_mounts_of_one_directory(make_mount: MakeMount) -> None:
    first = make_mount(SHORT)
    second = make_mount(SHORT, backing=first.backing)
    (first.path / "f").write_text("from the first")
    eventually(lambda: os.path.exists(second.path / "f"), LEASE_LIMIT)
    assert (second.path / "f").read_text() == "from the first"
    (second.path / "f").write_text("and from the second")
    assert (first.path / "f").read_text() == "and from the second"


def test_a_local_change_wins_over_a_listing_under_way(make_mount: MakeMount, backing: Path) -> None:
    """Names made and removed here are never undone by what an older listing said."""
    for number in range(50):
        (backing / f"s{number}").touch()
    mount = make_mount(backing=backing)
    for number in range(30):
        (mount.path / f"n{number}").touch()
        os.unlink(mount.path / f"s{number}")
        names = os.listdir(mount.path)
        assert f"n{number}" in names
        assert f"s{number}" not in names
        assert not os.path.exists(mount.path / f"s{number}")


def test_a_file_made_here_and_grown_there_is_followed(make_mount: MakeMount) -> None:
    """With the default lease of 20 s: an open file that changed lately is looked at every second."""
    mount = make_mount()
    (mount.path / "log").write_text("made here\n")
    with open(mount.path / "log") as file:
        assert file.read() == "made here\n"
        assert os.fstat(file.fileno()).st_size == 10
        with open(mount.backing / "log", "a") as there:
            there.write("grown there\n")
        eventually(lambda: os.fstat(file.fileno()).st_size == 22, limit=10.0)
        assert file.read() == "grown there\n"


def test_a_name_made_on_the_server_shows_in_a_directory_that_was_listed(
    make_mount: MakeMount, backing: Path
) -> None:
    (backing / "known").touch()
    mount = make_mount(backing=backing)
    assert os.listdir(mount.path) == ["known"]
    assert not os.path.exists(mount.path / "new")
    (backing / "new").touch()
    eventually(lambda: os.path.exists(mount.path / "new"), ABSENCE_LIMIT)
    assert sorted(os.listdir(mount.path)) == ["known", "new"]


MAKING: dict[str, Callable[[Path], object]] = {
    "exclusive create": lambda path: os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY),
    "mkdir": os.mkdir,
    "symlink": lambda path: os.symlink("target", path),
}


@pytest.mark.parametrize("kind", MAKING)
def test_a_name_that_could_not_be_made_because_it_is_there_is_there(
    make_mount: MakeMount, backing: Path, kind: str
) -> None:
    """As a program that finds its lock taken and looks whose it is."""
    mount = make_mount(backing=backing)
    assert os.listdir(mount.path) == []
    assert not os.path.exists(mount.path / "new")
    (backing / "new").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        MAKING[kind](mount.path / "new")
    assert (mount.path / "new").read_bytes() == b"theirs"


@pytest.mark.parametrize("kind", MAKING)
def test_a_name_that_the_server_gets_between_look_and_making_is_eexist(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path, kind: str
) -> None:
    mount = make_mount("dir_cache=no", "max_conns=1", port=counting_proxy.port, backing=backing)
    counting_proxy.reset()
    counting_proxy.hold_replies()
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(MAKING[kind], mount.path / "f")
        try:
            eventually(lambda: counting_proxy.read().sent, what="the look's answer")
            (backing / "f").write_text("theirs")
        finally:
            counting_proxy.deliver_replies()
        with fails_with(errno.EEXIST):
            making.result(30)
    assert (backing / "f").read_text() == "theirs"
    assert counting_proxy.read().requests.keys() & {"OPEN", "MKDIR", "SYMLINK"}, "the server was to refuse it"


def test_the_size_the_kernel_was_told_long_ago_cuts_no_file(make_mount: MakeMount, backing: Path) -> None:
    """What a listing tells us unasked is news to the kernel, which reads no further than it knows a file."""
    directory = backing / "directory"
    directory.mkdir()
    (directory / "f").write_bytes(b"before")
    os.utime(directory / "f", (5000, 5000))
    mount = make_mount("dcache_timeout=600", backing=backing)
    path = mount.path / "directory" / "f"
    assert os.stat(path).st_size == 6
    with open(directory / "f", "ab") as file:
        file.write(b" and after")
    os.utime(directory / "f", (6000, 6000))
    assert not any(os.path.exists(path.with_name(f"none{number}")) for number in range(40))
    with opened(path, os.O_RDONLY) as fd:
        assert os.read(fd, 10_000) == b"before and after"


SHORTER = (100, 140_000, 270_000)
"""Bytes: within the kernel's first read, its second, and one sent after those were answered."""


@pytest.mark.parametrize("size", SHORTER)
def test_a_file_found_shorter_by_a_read_is_not_filled_up_with_zeros(
    make_mount: MakeMount, backing: Path, size: int
) -> None:
    """One reader, of whom the kernel has several reads under way as the first of them finds out. Of several
    readers at once one may still be padded: what another was told the kernel takes in at its leisure."""
    for number in range(20):
        (backing / f"f{number}").write_bytes(b"x" * 3_000_000)
    mount = make_mount(backing=backing)
    for number in range(20):
        with opened(mount.path / f"f{number}", os.O_RDONLY) as fd:
            (backing / f"f{number}").write_bytes(b"y" * size)
            for offset in (0, 131_072, 262_144, 1 << 20):
                assert b"\0" not in os.pread(fd, 1 << 20, offset)
            assert os.pread(fd, 1 << 20, 0) == b"y" * size


def test_files_of_sys_end_where_their_bytes_do(make_mount: MakeMount) -> None:
    """They are a page by what they tell, and mostly a line."""
    directory = Path("/sys/kernel/mm/transparent_hugepage")
    mount = make_mount(backing=directory)
    for name in ("enabled", "hpage_pmd_size"):
        assert os.stat(mount.path / name).st_size in (4096, 16384, 65536)
        assert (mount.path / name).read_bytes() == (directory / name).read_bytes()


def test_a_name_made_on_the_server_just_after_the_mount(make_mount: MakeMount, backing: Path) -> None:
    mount = make_mount(backing=backing)
    (backing / "new").touch()
    assert os.path.exists(mount.path / "new")


def test_a_name_made_on_the_server_after_a_listing_that_nobody_asked_for(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """Names looked up one by one have the directory listed, and by that the name is missing. So many of them
    that it is not listed as it is looked up."""
    names = [f"old{number}" for number in range(600)]
    (backing / "d").mkdir()
    for name in names:
        (backing / "d" / name).touch()
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    here = mount.path / "d"
    assert os.path.isdir(here)
    counting_proxy.reset()
    assert all(os.path.exists(here / name) for name in names[:3])
    eventually(lambda: "CLOSE" in counting_proxy.read().requests, what="the directory to be listed")
    (backing / "d" / "new").touch()
    assert os.path.exists(here / "new")


def test_names_made_on_the_server_one_after_the_other(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """The first has the directory listed anew, before the next is made."""
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    for number in range(3):
        counting_proxy.reset()
        (backing / f"new{number}").touch()
        assert os.path.exists(mount.path / f"new{number}")
        eventually(lambda: "CLOSE" in counting_proxy.read().requests, what="the directory to be listed")


def test_what_a_listing_made_ahead_does_not_name_is_asked_for_once(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    os.utime(backing, (1_000_000_000, 1_000_000_000))  # long ago, so that it proves the listing still true
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    counting_proxy.reset()
    assert not os.path.exists(mount.path / "missing")
    assert counting_proxy.read().waits == 1
    assert not os.path.exists(mount.path / "another")
    assert counting_proxy.read().waits == 1
