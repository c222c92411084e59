"""What can happen to a mount over a real sshd: the link, the server, its disk, the machine.

Every row of the table in SEMANTICS names its test, here or beside this file. Each shows the right bytes
or an errno in time, and that the mount works afterwards.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.kernel import fails_with
from tests.harness.link import FaultyLink
from tests.harness.mounts import Mount, in_time
from tests.harness.outage import LOSS, OUTAGE, answers, works
from tests.harness.waiting import eventually
from tests.sshd import SFTP_SERVER, Sshd

pytestmark = pytest.mark.limit(120)

MIB = 1 << 20
TIMEOUT = 3.0
SLACK = 20.0
"""Seconds on top of a deadline on a busy machine: what is tested is that operations end."""


AT_ONCE = ("dir_cache=no", "ServerAliveInterval=1", "ServerAliveCountMax=1")
"""What is tested is the server's answer, not a lease; a silent connection is dead after two seconds."""

DIRECTIONS = ["up", "down"]
"""Cut on the way up the server never got the request; on the way down it did it, and nobody was told."""

BLOCK = bytes(range(256)) * 4096


def content(size: int) -> bytes:
    """Bytes that differ from MiB to MiB."""
    return b"".join(number.to_bytes(8, "big") + BLOCK[8:] for number in range(size // MIB))


@pytest.fixture
def link(sshd: Sshd) -> Iterator[FaultyLink]:
    with FaultyLink(sshd) as running:
        yield running


@pytest.fixture
def mounted(link: FaultyLink, make_mount: MakeMount, backing: Path) -> Callable[..., Mount]:
    """A mount over the link, gone before it."""

    def make(*options: str, expect: str = LOSS) -> Mount:
        mount = make_mount(*AT_ONCE, *options, server=link, backing=backing)
        mount.expect(expect)
        return mount

    return make


# the link


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_reset_mid_read(
    mounted: Callable[..., Mount], link: FaultyLink, backing: Path, direction: str
) -> None:
    (backing / "big").write_bytes(content(24 * MIB))
    mount = mounted()
    link.order("cut", direction, 5 * MIB if direction == "down" else 2000)
    assert (mount.path / "big").read_bytes() == content(24 * MIB)
    assert not link.ordered()
    works(mount)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_reset_mid_write(mounted: Callable[..., Mount], link: FaultyLink, direction: str) -> None:
    mount = mounted()
    link.order("cut", direction, 5 * MIB if direction == "up" else 1000)
    (mount.path / "big").write_bytes(content(24 * MIB))
    assert (mount.backing / "big").read_bytes() == content(24 * MIB), "close acknowledged it"
    assert not link.ordered()
    works(mount)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_reset_mid_fsync(mounted: Callable[..., Mount], link: FaultyLink, direction: str) -> None:
    mount = mounted()
    with open(mount.path / "file", "wb", buffering=0) as file:
        file.write(b"first ")
        os.fsync(file.fileno())
        file.write(b"second")
        link.order("cut", direction)
        os.fsync(file.fileno())
        assert not link.ordered()
        assert (mount.backing / "file").read_bytes() == b"first second"
    works(mount)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_reset_mid_rename(
    mounted: Callable[..., Mount], link: FaultyLink, backing: Path, direction: str
) -> None:
    (backing / "old").write_bytes(b"content")
    (backing / "new").write_bytes(b"replaced")
    mount = mounted("dcache_timeout=60")
    assert (mount.path / "old").stat().st_size == 7, "what is leased is not asked for"
    with open(mount.path / "old", "rb") as file:
        link.order("cut", direction)
        os.rename(mount.path / "old", mount.path / "new")
        assert file.read() == b"content"
    assert not link.ordered()
    assert os.listdir(backing) == ["new"]
    assert (mount.path / "new").read_bytes() == b"content"
    works(mount)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_reset_mid_readdir(
    mounted: Callable[..., Mount], link: FaultyLink, backing: Path, direction: str
) -> None:
    names = {f"name {number}" for number in range(2000)}
    for name in names:
        (backing / name).touch()
    mount = mounted()
    link.order("cut", direction, 100_000 if direction == "down" else 200)
    assert set(os.listdir(mount.path)) == names
    assert not link.ordered()
    works(mount)


@pytest.mark.parametrize("action", ["corrupt", "duplicate", "drop"])
def test_bytes_changed_on_the_way_are_found_out(
    mounted: Callable[..., Mount], link: FaultyLink, backing: Path, action: str
) -> None:
    """SSH's integrity check ends the connection, on whichever side; neither file has a wrong byte."""
    (backing / "big").write_bytes(content(8 * MIB))
    mount = mounted()
    link.order(action, "down", 3 * MIB)
    assert (mount.path / "big").read_bytes() == content(8 * MIB)
    assert not link.ordered()
    link.order(action, "up", 3 * MIB)
    (mount.path / "copy").write_bytes(content(8 * MIB))
    assert not link.ordered()
    assert (backing / "copy").read_bytes() == content(8 * MIB)
    works(mount)


def test_a_hole_within_the_deadline(mounted: Callable[..., Mount], link: FaultyLink, backing: Path) -> None:
    """Long enough for the keepalive to give the connection up; who waits gets what he asked for."""
    (backing / "file").write_bytes(b"as it was")
    mount = mounted("timeout=60")
    with open(mount.path / "file", "r+b", buffering=0) as file:
        link.pause()
        results: list[object] = []

        def use() -> None:
            file.write(b"AS")
            os.fsync(file.fileno())
            results.append(os.listdir(mount.path))

        user = threading.Thread(target=use, daemon=True)
        user.start()
        eventually(lambda: "is lost" in mount.log(), SLACK, "the keepalive missed")
        assert user.is_alive()
        link.resume()
        user.join(60)
        assert results == [["file"]]
    assert (backing / "file").read_bytes() == b"AS it was"
    works(mount)


def test_a_hole_beyond_the_deadline(mounted: Callable[..., Mount], link: FaultyLink, backing: Path) -> None:
    (backing / "file").write_bytes(b"as it was")
    mount = mounted(f"timeout={TIMEOUT:g}", expect=OUTAGE)
    with open(mount.path / "file", "rb", buffering=0) as file:
        link.pause()
        for action in (lambda: os.stat(mount.path / "file"), lambda: os.listdir(mount.path)):
            outcome, _ = in_time(action, TIMEOUT + SLACK)
            assert isinstance(outcome, OSError) and outcome.errno in (errno.ETIMEDOUT, errno.EIO)
        link.resume()
        eventually(lambda: answers(mount, TIMEOUT + SLACK), SLACK, "the mount back")
        assert file.read() == b"as it was"
    works(mount)


# the server's disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB and 20 files, mounted before its server starts, which has its own mounts."""
    path = tmp_path / "small"
    path.mkdir()
    options = "size=1m,nr_inodes=20"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def small_server(small_disk: Path, tmp_path: Path) -> Iterator[Sshd]:
    with Sshd(tmp_path / "own-sshd") as server:
        yield server


def test_the_servers_disk_is_full(small_server: Sshd, small_disk: Path, make_mount: MakeMount) -> None:
    mount = make_mount(*AT_ONCE, server=small_server, backing=small_disk)
    mount.expect("could not be written|are lost")
    with open(mount.path / "kept", "wb", buffering=0) as file:
        file.write(b"kept")
        os.fsync(file.fileno())
    fd = os.open(mount.path / "big", os.O_CREAT | os.O_WRONLY)
    os.write(fd, bytes(2 * MIB))
    with fails_with(errno.ENOSPC):
        os.fsync(fd)
    os.close(fd)
    fd = os.open(mount.path / "big", os.O_WRONLY | os.O_APPEND)
    with fails_with(errno.ENOSPC):
        for _ in range(200):
            os.write(fd, bytes(MIB))  # told as the answers come
        raise AssertionError("200 times the size of the disk")
    with suppress(OSError):
        os.fsync(fd)  # what was under way as the first failure was told failed too
    os.close(fd)
    assert os.stat(mount.path / "big").st_size == os.stat(small_disk / "big").st_size <= MIB
    for number in range(20):
        try:
            (mount.path / f"file {number}").touch()
        except OSError as failed:
            assert failed.errno == errno.ENOSPC
            break
    else:
        raise AssertionError("more files than there is room for")
    with fails_with(errno.ENOSPC):
        os.mkdir(mount.path / "directory")
    assert (mount.path / "kept").read_bytes() == b"kept"
    os.unlink(mount.path / "big")
    works(mount)


def test_a_directory_made_unreadable(tmp_path: Path, make_mount: MakeMount, backing: Path) -> None:
    """The server is root without the right to pass over modes, as a user's would be."""
    capabilities = "-dac_override,-dac_read_search"
    limited = f"setpriv --bounding-set {capabilities} --inh-caps {capabilities} {SFTP_SERVER}"
    (backing / "d").mkdir()
    names = {f"name {number}" for number in range(500)}
    for name in names:
        (backing / "d" / name).write_bytes(b"content")
    with Sshd(tmp_path / "own-sshd", subsystem=limited) as server:
        mount = make_mount(*AT_ONCE, server=server, backing=backing)
        directory = mount.path / "d"
        try:
            with os.scandir(directory) as listing, open(directory / "name 7", "rb") as file:
                first = next(listing).name
                os.chmod(backing / "d", 0)
                assert {first, *(entry.name for entry in listing)} == names, "what was begun is finished"
                assert file.read() == b"content", "what is open stays open"
            with fails_with(errno.EACCES):
                os.listdir(directory)
            with fails_with(errno.EACCES):
                (directory / "name 8").read_bytes()
            with fails_with(errno.EACCES):
                (directory / "new").touch()
        finally:
            os.chmod(backing / "d", 0o755)
        assert set(os.listdir(directory)) == names
        works(mount)


# the machine


def test_the_machine_was_suspended(tmp_path: Path, make_mount: MakeMount, backing: Path) -> None:
    """All our processes are stopped until the server has given the session up."""
    (backing / "file").write_bytes(b"as it was")
    with Sshd(tmp_path / "own-sshd", config_extra="ClientAliveInterval 1\nClientAliveCountMax 1") as server:
        mount = make_mount(*AT_ONCE, server=server, backing=backing)
        mount.expect(LOSS)
        with open(mount.path / "file", "r+b", buffering=0) as file:

            def all_given_up() -> bool:
                for pid in mount.family():  # again and again: one may just have been forked
                    os.kill(pid, signal.SIGSTOP)
                return not server.session_pids()

            try:
                eventually(all_given_up, 30, "the server's end of the session")
            finally:
                for pid in mount.family():
                    os.kill(pid, signal.SIGCONT)
            file.write(b"AS")
            os.fsync(file.fileno())
            assert os.listdir(mount.path) == ["file"]
            assert (backing / "file").read_bytes() == b"AS it was"
        works(mount)


def test_two_mounts_and_a_log_that_is_followed(
    mounted: Callable[..., Mount], link: FaultyLink, make_mount: MakeMount, sshd: Sshd, backing: Path
) -> None:
    """One mount writes a file and appends to a log, the other writes another file and reads what is new in
    the log; the first loses its connection again and again."""
    (backing / "log").touch()
    writing = mounted("timeout=60")
    reading = make_mount(*AT_ONCE, server=sshd, backing=backing)
    lines = [b"line %d\n" % number for number in range(60)]
    found: list[bytes] = []
    failed: list[BaseException] = []

    def append() -> None:
        try:
            with (
                open(writing.path / "log", "ab", buffering=0) as log,
                open(writing.path / "ours", "wb") as own,
            ):
                for number, line in enumerate(lines):
                    if number % 20 == 10:
                        link.cut()
                    log.write(line)
                    os.fsync(log.fileno())
                    own.write(line * 1000)
        except BaseException as problem:
            failed.append(problem)

    appending = threading.Thread(target=append, daemon=True)
    appending.start()
    with open(reading.path / "log", "rb", buffering=0) as log, open(reading.path / "theirs", "wb") as own:

        def more() -> bool:
            while part := log.read(4096):
                found.append(part)
                own.write(part)
            return bool(failed) or b"".join(found).endswith(lines[-1])

        eventually(more, 60, "the last line")
    appending.join(60)
    assert not failed
    assert b"".join(found) == b"".join(lines) == (backing / "log").read_bytes()
    assert (backing / "theirs").read_bytes() == b"".join(lines)
    assert (backing / "ours").read_bytes() == b"".join(line * 1000 for line in lines)
    works(writing)
    works(reading)
