"""A server that stops answering: every operation ends with an errno, and the mount can be taken down."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from sftpfs.host.daemon import DATA_LOST_STATUS
from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.mounts import Mount, in_time
from tests.harness.waiting import eventually
from tests.sshd import Sshd

pytestmark = pytest.mark.limit(180)

TIMEOUT = 3.0
SLACK = 12.0
"""Seconds on top of the deadline on a busy machine: what is tested is that operations end."""

OPTIONS = (f"timeout={TIMEOUT:g}", "dir_cache=no")


@pytest.fixture
def private_sshd(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A server of this test's own, to be stopped."""
    with Sshd(tmp_path / "own-sshd") as server:
        yield server


Action = Callable[[Path], object]

ATTEMPTS: dict[str, Action] = {
    "stat": lambda path: os.stat(path / "f"),
    "stat of a missing name": lambda path: os.stat(path / "missing"),
    "listdir": lambda path: os.listdir(path / "d"),
    "open": lambda path: os.open(path / "f", os.O_RDONLY),
    "create": lambda path: os.open(path / "new", os.O_CREAT | os.O_WRONLY),
    "mkdir": lambda path: os.mkdir(path / "new"),
    "unlink": lambda path: os.unlink(path / "f"),
    "rmdir": lambda path: os.rmdir(path / "d"),
    "rename": lambda path: os.rename(path / "f", path / "new"),
    "chmod": lambda path: os.chmod(path / "f", 0o600),
    "truncate": lambda path: os.truncate(path / "f", 0),
    "utime": lambda path: os.utime(path / "f", (1, 1)),
    "symlink": lambda path: os.symlink("a", path / "new"),
    "readlink": lambda path: os.readlink(path / "link"),
    "link": lambda path: os.link(path / "f", path / "new"),
    "statvfs": os.statvfs,
}
"""An operation of every kind, each in a directory of its own: the kernel holds a lock of the directory over
each lookup and change in it, so operations on one directory wait for each other before they reach us."""


def prepare(directory: Path) -> None:
    """What the attempts work on, and the same in the root."""
    for place in (directory, *(directory / f"for {name}" for name in ATTEMPTS)):
        (place / "d").mkdir(parents=True)
        (place / "f").write_bytes(b"x" * 10_000)
        (place / "link").symlink_to("f")


@contextmanager
def places(mount: Mount) -> Iterator[dict[str, Path]]:
    """The attempts' directories by open descriptors: no step of a path walk is shared between them."""
    with ExitStack() as stack:
        found = {}
        for name in ATTEMPTS:
            fd = os.open(mount.path / f"for {name}", os.O_PATH | os.O_DIRECTORY)
            stack.callback(os.close, fd)
            found[name] = Path(f"/proc/self/fd/{fd}")
        yield found


def assert_all_end(where: dict[str, Path]) -> None:
    """Every attempt ends, with an error, within the deadline; all run at once."""
    with concurrent.futures.ThreadPoolExecutor(len(ATTEMPTS)) as pool:
        waiting = {
            name: pool.submit(in_time, partial(action, where[name]), TIMEOUT + SLACK)
            for name, action in ATTEMPTS.items()
        }
        for name, future in waiting.items():
            outcome, _ = future.result()
            assert isinstance(outcome, OSError), f"{name} gave {outcome!r}"
            assert outcome.errno, name


def test_a_frozen_sshd(private_sshd: Sshd, make_mount: MakeMount, backing: Path) -> None:
    prepare(backing)
    mount = make_mount(*OPTIONS, server=private_sshd, backing=backing)
    mount.expect(".")
    try:
        with places(mount) as where:
            private_sshd.freeze()
            assert_all_end(where)
        assert str(mount.path) in Path("/proc/self/mounts").read_text()
        mount.unmount()
    finally:
        private_sshd.thaw()


def mounted(make_mount: MakeMount, proxy: CountingProxy, backing: Path) -> Mount:
    """A mount over the proxy of a prepared directory, which may log what it likes."""
    prepare(backing)
    mount = make_mount(*OPTIONS, port=proxy.port, backing=backing)
    mount.expect(".")
    return mount


def test_operations_that_were_pending_end(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """They were sent before the server froze; the replies never come."""
    mount = mounted(make_mount, counting_proxy, backing)
    with places(mount) as where:
        counting_proxy.set_latency(3600)
        assert_all_end(where)
    mount.unmount()


def test_new_operations_in_a_hole_end_and_the_mount_comes_down(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    mount = mounted(make_mount, counting_proxy, backing)
    with places(mount) as where:
        counting_proxy.pause()
        assert_all_end(where)
    mount.unmount()


def test_reads_of_an_open_file_end(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    (backing / "big").write_bytes(b"x" * (64 << 20))
    mount = mounted(make_mount, counting_proxy, backing)
    fd = os.open(mount.path / "big", os.O_RDONLY)
    assert os.pread(fd, 4096, 0) == b"x" * 4096
    counting_proxy.pause()
    outcome, _ = in_time(lambda: os.pread(fd, 4096, 60 << 20), TIMEOUT + SLACK)
    assert isinstance(outcome, OSError), "never an end of file"
    in_time(lambda: os.close(fd), TIMEOUT + SLACK)
    mount.unmount()


def test_writes_end_and_the_error_is_told(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    mount = mounted(make_mount, counting_proxy, backing)
    fd = os.open(mount.path / "f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"arrives")
    os.fsync(fd)
    counting_proxy.pause()

    def write_much() -> int:
        return sum(os.write(fd, b"x" * (1 << 20)) for _ in range(100))

    wrote, _ = in_time(write_much, TIMEOUT + SLACK)
    synced, _ = in_time(lambda: os.fsync(fd), TIMEOUT + SLACK)
    assert isinstance(wrote, OSError) or isinstance(synced, OSError)
    assert isinstance(synced, OSError) or isinstance(wrote, OSError), "data lost without a word"
    in_time(lambda: os.close(fd), TIMEOUT + SLACK)
    mount.ends_with.add(DATA_LOST_STATUS)  # where part of it was told by close alone (P9)
    in_time(mount.unmount, 2 * (TIMEOUT + SLACK))
    assert mount.process.returncode == (DATA_LOST_STATUS if "data lost: " in mount.log() else 0)


def test_a_small_write_into_a_hole_fails_at_fsync_or_close(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    mount = mounted(make_mount, counting_proxy, backing)
    fd = os.open(mount.path / "f", os.O_CREAT | os.O_WRONLY)
    counting_proxy.pause()
    outcomes = [
        in_time(action, TIMEOUT + SLACK)[0]
        for action in (lambda: os.write(fd, b"lost"), lambda: os.fsync(fd), lambda: os.close(fd))
    ]
    assert any(isinstance(outcome, OSError) for outcome in outcomes), outcomes
    mount.unmount()


def test_the_mount_works_again_after_a_short_hole(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """Shorter than the deadline: nobody notices but by the wait."""
    (backing / "f").write_text("content")
    mount = make_mount("timeout=30", "dir_cache=no", port=counting_proxy.port, backing=backing)
    counting_proxy.pause()
    timer = threading.Timer(1.0, counting_proxy.resume)
    timer.start()
    outcome, _ = in_time((mount.path / "f").read_text, 40)
    timer.join()
    assert outcome == "content"


def test_a_connection_cut_is_an_error_not_an_end_of_file(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """Each read gives the right bytes or fails; never short, never zeros."""
    size = 32 << 20
    block = os.urandom(1 << 20)
    (backing / "big").write_bytes(block * (size // len(block)))
    mount = mounted(make_mount, counting_proxy, backing)
    fd = os.open(mount.path / "big", os.O_RDONLY)
    try:
        for offset in range(0, size, len(block)):
            if offset == size // 4:
                counting_proxy.cut()
            outcome, _ = in_time(lambda offset=offset: os.pread(fd, len(block), offset), TIMEOUT + SLACK)  # type: ignore[misc]
            if isinstance(outcome, OSError):
                break
            assert outcome == block, f"wrong bytes at {offset}"
    finally:
        in_time(lambda: os.close(fd), TIMEOUT + SLACK)
    assert str(mount.path) in Path("/proc/self/mounts").read_text()


def test_killed_sftp_servers_leave_a_mount_that_answers(
    private_sshd: Sshd, make_mount: MakeMount, backing: Path
) -> None:
    prepare(backing)
    mount = make_mount(*OPTIONS, server=private_sshd, backing=backing)
    mount.expect(".")
    eventually(private_sshd.session_pids)
    private_sshd.drop_connections()
    outcome, _ = in_time(lambda: os.stat(mount.path / "f"), TIMEOUT + SLACK)
    assert isinstance(outcome, (OSError, os.stat_result))
    assert str(mount.path) in Path("/proc/self/mounts").read_text()
    mount.unmount()
