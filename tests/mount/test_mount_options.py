"""Options that change what a mount shows: owners, read-only, caches, direct I/O."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.kernel import fails_with, opened
from tests.harness.waiting import eventually


def test_uid_gid_and_umask(make_mount: MakeMount, backing: Path) -> None:
    """libfuse's meaning of umask: every mode is 0777 without those bits."""
    (backing / "f").touch()
    os.chmod(backing / "f", 0o666)
    (backing / "d").mkdir()
    mount = make_mount("uid=1234", "gid=2345", "umask=027", backing=backing)
    seen = os.stat(mount.path / "f")
    assert (seen.st_uid, seen.st_gid) == (1234, 2345)
    assert stat.S_IMODE(seen.st_mode) == 0o750
    assert stat.S_IMODE(os.stat(mount.path / "d").st_mode) == 0o750
    assert os.stat(mount.path).st_uid == 1234


def test_idmap_none_shows_the_servers_ids(make_mount: MakeMount, backing: Path) -> None:
    (backing / "f").touch()
    os.chown(backing / "f", 4321, 5432)
    mount = make_mount("idmap=none", backing=backing)
    seen = os.stat(mount.path / "f")
    assert (seen.st_uid, seen.st_gid) == (4321, 5432)
    os.chown(mount.path / "f", 11, 22)
    seen = os.stat(mount.backing / "f")
    assert (seen.st_uid, seen.st_gid) == (11, 22)


def test_idmap_file_translates_both_ways(make_mount: MakeMount, backing: Path, tmp_path: Path) -> None:
    """Lines of ``name:remote id``; the name is looked up here."""
    (tmp_path / "uids").write_text("daemon:7001\n")
    (tmp_path / "gids").write_text("daemon:7002\n")
    (backing / "f").touch()
    os.chown(backing / "f", 7001, 7002)
    (backing / "g").touch()
    mount = make_mount(
        "idmap=file", f"uidfile={tmp_path}/uids", f"gidfile={tmp_path}/gids", "nomap=ignore", backing=backing
    )
    seen = os.stat(mount.path / "f")
    assert (seen.st_uid, seen.st_gid) == (1, 1)
    os.chown(mount.path / "g", 1, 1)
    seen = os.stat(mount.backing / "g")
    assert (seen.st_uid, seen.st_gid) == (7001, 7002)


def test_what_is_created_and_may_not_be_shown_is_not_left_open(
    make_mount: MakeMount, backing: Path, tmp_path: Path
) -> None:
    """The new file is the login's, who has no name here: the program gets no descriptor it could close."""
    for ids in ("uids", "gids"):
        (tmp_path / ids).write_text("daemon:7001\n")
    os.chown(backing, 7001, 7001)
    mount = make_mount(
        "idmap=file", f"uidfile={tmp_path}/uids", f"gidfile={tmp_path}/gids", "nomap=error", backing=backing
    )
    with fails_with(errno.EPERM):
        os.open(mount.path / "new", os.O_CREAT | os.O_WRONLY)
    assert (backing / "new").exists()

    def is_closed() -> bool:
        return not any(_leads_to(link, backing / "new") for link in Path("/proc").glob("[0-9]*/fd/*"))

    eventually(is_closed, 10.0, "nobody has the file open")


def _leads_to(link: Path, path: Path) -> bool:
    try:
        return os.readlink(link) == str(path)
    except OSError:
        return False  # closed meanwhile


def test_read_only(make_mount: MakeMount, backing: Path) -> None:
    (backing / "f").write_text("readable")
    mount = make_mount("ro", backing=backing)
    assert (mount.path / "f").read_text() == "readable"
    attempts = [
        lambda: os.open(mount.path / "f", os.O_WRONLY),
        lambda: os.open(mount.path / "new", os.O_CREAT | os.O_WRONLY),
        lambda: os.unlink(mount.path / "f"),
        lambda: os.mkdir(mount.path / "d"),
        lambda: os.rename(mount.path / "f", mount.path / "g"),
        lambda: os.chmod(mount.path / "f", 0o600),
        lambda: os.truncate(mount.path / "f", 0),
        lambda: os.symlink("a", mount.path / "l"),
    ]
    for attempt in attempts:
        with fails_with(errno.EROFS):
            attempt()
    assert (mount.backing / "f").read_text() == "readable"
    assert os.listdir(mount.backing) == ["f"]


@pytest.mark.parametrize("option", ["direct_io", "sshfs_sync", "no_readahead", "dir_cache=no", "max_conns=1"])
def test_content_is_right_with(make_mount: MakeMount, option: str) -> None:
    mount = make_mount(option)
    data = os.urandom(3_000_001)
    (mount.path / "f").write_bytes(data)
    assert (mount.backing / "f").read_bytes() == data
    assert (mount.path / "f").read_bytes() == data
    with opened(mount.path / "f", os.O_RDWR) as fd:
        os.pwrite(fd, b"changed", 1_000_000)
        assert os.pread(fd, 9, 999_999) == data[999_999:1_000_000] + b"changed" + data[1_000_007:1_000_008]
    assert (mount.backing / "f").read_bytes() == data[:1_000_000] + b"changed" + data[1_000_007:]
    assert os.listdir(mount.path) == ["f"]


def test_direct_io_sees_every_change_through_an_open_handle(make_mount: MakeMount, backing: Path) -> None:
    (backing / "f").write_bytes(b"one")
    mount = make_mount("direct_io", "dcache_timeout=0", backing=backing)
    with opened(mount.path / "f", os.O_RDONLY) as fd:
        assert os.pread(fd, 10, 0) == b"one"
        (mount.backing / "f").write_bytes(b"three")
        assert os.pread(fd, 10, 0) == b"three"


def test_synchronous_writes_are_on_the_server_when_write_returns(make_mount: MakeMount) -> None:
    mount = make_mount("sshfs_sync")
    with opened(mount.path / "f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"there")
        assert (mount.backing / "f").read_bytes() == b"there"


def test_disable_hardlink(make_mount: MakeMount, backing: Path) -> None:
    (backing / "f").touch()
    mount = make_mount("disable_hardlink", backing=backing)
    for _ in range(2):  # sshfs says ENOSYS, of which the kernel makes the same, and remembers it
        with fails_with(errno.EPERM):
            os.link(mount.path / "f", mount.path / "g")
    assert os.listdir(mount.backing) == ["f"]


def as_nobody(*command: object) -> subprocess.CompletedProcess[bytes]:
    """Run as an ordinary user."""
    wrapped = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *map(str, command)]
    return subprocess.run(wrapped, capture_output=True, timeout=30, check=False)


def test_another_user_is_kept_out(make_mount: MakeMount, tmp_path: Path) -> None:
    mount = make_mount()
    open_the_way(tmp_path)
    (mount.backing / "f").touch()
    assert as_nobody("ls", mount.path).returncode != 0


def test_allow_other_lets_in_by_the_permission_bits(
    make_mount: MakeMount, backing: Path, tmp_path: Path
) -> None:
    os.chmod(backing, 0o755)
    (backing / "open").write_text("everybody")
    os.chmod(backing / "open", 0o644)
    (backing / "shut").write_text("root only")
    os.chmod(backing / "shut", 0o600)
    mount = make_mount("allow_other", backing=backing)
    open_the_way(tmp_path)
    eventually(lambda: as_nobody("ls", mount.path).returncode == 0, 30)
    assert as_nobody("cat", mount.path / "open").stdout == b"everybody"
    assert as_nobody("cat", mount.path / "shut").returncode != 0
    assert as_nobody("touch", mount.path / "new").returncode != 0
    assert sorted(os.listdir(mount.backing)) == ["open", "shut"]


def open_the_way(path: Path) -> None:
    """Let other users pass down to ``path`` (pytest makes its directories private)."""
    for directory in (path, *path.parents):
        if directory.stat().st_mode & 0o001 == 0:
            directory.chmod(directory.stat().st_mode | 0o011)


def test_the_shown_source_and_type(make_mount: MakeMount) -> None:
    mount = make_mount("fsname=a-name")
    line = next(
        line for line in Path("/proc/self/mounts").read_text().splitlines() if str(mount.path) in line
    )
    source, _, kind, *_ = line.split()
    assert source == "a-name"
    assert kind == ("fuse.sshfs" if "sshfs" in sys.argv else "fuse.sftpfs")


def test_a_mount_of_a_single_connection_by_tcp(make_mount: MakeMount, counting_proxy) -> None:  # type: ignore[no-untyped-def]
    mount = make_mount("max_conns=1", port=counting_proxy.port)
    (mount.path / "f").write_bytes(b"x" * 1_000_000)
    assert (mount.backing / "f").stat().st_size == 1_000_000
    assert counting_proxy.read().requests["OPEN"] >= 1
