"""Changes of mode, times and owner on a file being written: what they cost, and what the server has."""

from __future__ import annotations

import errno
import functools
import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.kernel import fails_with, opened
from tests.harness.mounts import Mount
from tests.harness.outage import LOSS
from tests.harness.waiting import eventually

FILES = 20
OLD = 1_000_000_000
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


@pytest.fixture
def mount(make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path) -> Mount:
    """A mount over one connection, the names in its root known."""
    made = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    os.listdir(made.path)
    return made


def like_tar(path: Path, data: bytes, *, mode: int = 0o640, created: int = 0o600) -> None:
    """The calls GNU tar makes for one file."""
    with opened(path, NEW_FILE, created) as fd:
        if data:
            os.write(fd, data)
        os.utime(fd, (OLD, OLD))
        os.fchown(fd, os.getuid(), os.getgid())
        os.fchmod(fd, mode)
        shown = os.fstat(fd)
        assert (stat.S_IMODE(shown.st_mode), shown.st_size, int(shown.st_mtime)) == (mode, len(data), OLD)


def has(path: Path, data: bytes, mode: int = 0o640, mtime: int = OLD) -> None:
    """``path`` has exactly this."""
    found = os.stat(path)
    assert path.read_bytes() == data
    assert (oct(stat.S_IMODE(found.st_mode)), int(found.st_mtime)) == (oct(mode), mtime)


@pytest.mark.parametrize("data", [b"", b"x" * 4096, b"y" * 700_000], ids=["empty", "small", "large"])
def test_what_tar_does_is_two_waits(mount: Mount, counting_proxy: CountingProxy, data: bytes) -> None:
    counting_proxy.reset()
    like_tar(mount.path / "f", data)
    count = counting_proxy.read()
    assert count.waits <= 2, count.trace
    assert count.requests["FSETSTAT"] == 1
    has(mount.backing / "f", data)
    has(mount.path / "f", data)


def test_a_file_over_several_connections(make_mount: MakeMount) -> None:
    mount = make_mount()
    data = os.urandom(24 << 20)
    like_tar(mount.path / "f", data)
    has(mount.backing / "f", data)
    has(mount.path / "f", data)


def test_untar_is_two_waits_a_file(mount: Mount, counting_proxy: CountingProxy, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(FILES):
        (source / f"file{number}").write_bytes(b"%d" % number * 100)
        os.chmod(source / f"file{number}", 0o640 if number % 2 else 0o755)
        os.utime(source / f"file{number}", (OLD + number, OLD + number))
    names = [f"file{number}" for number in range(FILES)]
    archive = tmp_path / "archive.tar"
    subprocess.run(["tar", "cf", archive, "-C", source, *names], check=True)
    os.mkdir(mount.path / "d")  # nothing is known to be in it for longer than this takes
    counting_proxy.reset()
    subprocess.run(["tar", "xpf", archive, "-C", mount.path / "d"], check=True, timeout=60)
    count = counting_proxy.read()
    # Should the machine be slow, what is believed missing is asked for again after two seconds.
    assert count.waits <= 2 * FILES + 2, f"{count.waits} waits: {count.trace}"
    for number in range(FILES):
        has(
            mount.backing / "d" / f"file{number}",
            b"%d" % number * 100,
            0o640 if number % 2 else 0o755,
            OLD + number,
        )


def test_copying_with_attributes_is_two_waits_a_file(
    mount: Mount, counting_proxy: CountingProxy, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"copied")
    os.chmod(source, 0o640)
    os.utime(source, (OLD, OLD))
    counting_proxy.reset()
    subprocess.run(["cp", "-a", source, mount.path / "f"], check=True, timeout=60)
    count = counting_proxy.read()
    assert count.waits <= 2, count.trace
    has(mount.backing / "f", b"copied")


def test_mode_is_exact_for_no_wait_of_its_own(mount: Mount, counting_proxy: CountingProxy) -> None:
    """The server's umask takes bits off that our own leaves."""
    old = os.umask(0)
    try:
        counting_proxy.reset()
        with opened(mount.path / "f", NEW_FILE, 0o666) as fd:
            os.write(fd, b"data")
            assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o666
        count = counting_proxy.read()
    finally:
        os.umask(old)
    assert count.waits <= 2, count.trace
    assert stat.S_IMODE(os.stat(mount.backing / "f").st_mode) == 0o666


def test_fsync_brings_the_change(mount: Mount) -> None:
    with opened(mount.path / "f", NEW_FILE, 0o600) as fd:
        os.write(fd, b"data")
        os.utime(fd, (OLD, OLD))
        os.fchmod(fd, 0o640)
        os.fsync(fd)
        has(mount.backing / "f", b"data")


def test_a_change_reaches_the_server_without_a_flush(mount: Mount) -> None:
    with opened(mount.path / "f", NEW_FILE, 0o600) as fd:
        os.fchmod(fd, 0o640)
        there = mount.backing / "f"
        eventually(lambda: stat.S_IMODE(os.stat(there).st_mode) == 0o640, what="the mode on the server")


def test_a_write_after_utimes_moves_mtime(mount: Mount) -> None:
    with opened(mount.path / "f", NEW_FILE, 0o600) as fd:
        os.write(fd, b"data")
        os.utime(fd, (OLD, OLD))
        os.write(fd, b"more")
        assert os.fstat(fd).st_mtime > OLD + 1000
    found = os.stat(mount.backing / "f")
    assert (mount.backing / "f").read_bytes() == b"datamore"
    assert int(found.st_atime) == OLD and found.st_mtime > OLD + 1000


def test_utimes_after_close(mount: Mount) -> None:
    like_tar(mount.path / "f", b"data")
    os.utime(mount.path / "f", (5, 6))
    os.chmod(mount.path / "f", 0o604)
    has(mount.backing / "f", b"data", 0o604, 6)


def test_changes_by_path_and_by_another_handle(mount: Mount) -> None:
    path, there = mount.path / "f", mount.backing / "f"
    with opened(path, NEW_FILE, 0o600) as fd:
        os.write(fd, b"data")
        os.fchmod(fd, 0o200)
        os.chmod(path, 0o640)
        with opened(path, os.O_RDWR) as other:
            assert stat.S_IMODE(os.stat(there).st_mode) == 0o640, "an open goes by the mode on the server"
            os.pwrite(other, b"DA", 0)
            os.utime(other, (OLD, OLD))
        has(there, b"DAta")
        os.fchmod(fd, 0o600)
        os.rename(path, mount.path / "g")
        assert stat.S_IMODE(os.stat(mount.path / "g").st_mode) == 0o600
    has(mount.backing / "g", b"DAta", 0o600)


def test_truncating_after_utimes_moves_mtime(mount: Mount) -> None:
    with opened(mount.path / "f", NEW_FILE, 0o600) as fd:
        os.write(fd, b"data")
        os.fchmod(fd, 0o640)
        os.utime(fd, (OLD, OLD))
        os.ftruncate(fd, 2)
    found = os.stat(mount.backing / "f")
    assert found.st_mtime > OLD + 1000 and found.st_size == 2 and stat.S_IMODE(found.st_mode) == 0o640


def test_special_bits_and_owners_are_set_at_once(mount: Mount) -> None:
    there = mount.backing / "f"
    with opened(mount.path / "f", NEW_FILE, 0o600) as fd:
        os.fchmod(fd, 0o711)
        os.fchmod(fd, 0o4711)
        assert stat.S_IMODE(os.stat(there).st_mode) == 0o4711
        os.fchown(fd, os.getuid(), os.getgid())
        assert stat.S_IMODE(os.stat(there).st_mode) == 0o711, "chown clears set-user-ID"
        os.fchmod(fd, 0o640)
        os.fchown(fd, 1234, 1234)
        assert (os.stat(there).st_uid, os.stat(there).st_gid) == (1234, 1234)
    has(there, b"", mtime=int(os.stat(there).st_mtime))


def test_an_unlinked_file_keeps_its_change(mount: Mount) -> None:
    with opened(mount.path / "f", NEW_FILE, 0o600) as fd:
        os.write(fd, b"data")
        os.fchmod(fd, 0o640)
        os.unlink(mount.path / "f")
        os.utime(fd, (OLD, OLD))
        os.fsync(fd)
        assert (stat.S_IMODE(os.fstat(fd).st_mode), int(os.fstat(fd).st_mtime)) == (0o640, OLD)


def test_a_change_on_its_way_survives_a_lost_connection(mount: Mount, counting_proxy: CountingProxy) -> None:
    fd = os.open(mount.path / "f", NEW_FILE, 0o600)
    os.fchmod(fd, 0o640)
    mount.expect(LOSS)
    counting_proxy.cut()
    os.close(fd)
    assert stat.S_IMODE(os.stat(mount.backing / "f").st_mode) == 0o640


def test_a_change_the_server_never_got_fails_the_close(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    mount = make_mount("max_conns=1", "no_reconnect", port=counting_proxy.port, backing=backing)
    mount.expect(LOSS + "|inode .* mode or times could not be set")
    path = mount.path / "f"
    fd = os.open(path, NEW_FILE, 0o600)
    os.fchmod(fd, 0o640)
    counting_proxy.cut()
    with fails_with(errno.EIO):
        os.close(fd)
    shown = functools.partial(os.stat, path)
    eventually(lambda: stat.S_IMODE(shown().st_mode) == 0o600, what="the server's mode, shown again")


def test_permission_is_taken_away_at_once(mount: Mount) -> None:
    with opened(mount.path / "f", NEW_FILE, 0o644) as fd:
        os.fchmod(fd, 0o600)
        assert stat.S_IMODE(os.stat(mount.backing / "f").st_mode) == 0o600
