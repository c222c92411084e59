"""A server that stops answering: every operation ends with an errno, and the mount can be taken down."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.mounts import Mount, in_time
from tests.harness.waiting import eventually
from tests.sshd import Sshd

pytestmark = pytest.mark.limit(180)

TIMEOUT = 3.0
SLACK = 20.0
"""Seconds on top of the deadline on a busy machine: what is tested is that operations end."""

OPTIONS = (f"timeout={TIMEOUT:g}", "dir_cache=no")


@pytest.fixture
def private_sshd(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A server of this test's own, to be stopped."""
    with Sshd(tmp_path / "own-sshd") as server:
        yield server


def attempts(mount: Mount) -> dict[str, Callable[[], object]]:
    """An operation of every kind on what ``prepare`` made."""
    path = mount.path
    return {
        "stat": lambda: os.stat(path / "f"),
        "stat missing": lambda: os.stat(path / "missing"),
        "listdir": lambda: os.listdir(path / "d"),
        "open": lambda: os.open(path / "f", os.O_RDONLY),
        "create": lambda: os.open(path / "new", os.O_CREAT | os.O_WRONLY),
        "mkdir": lambda: os.mkdir(path / "newdir"),
        "unlink": lambda: os.unlink(path / "f2"),
        "rmdir": lambda: os.rmdir(path / "d2"),
        "rename": lambda: os.rename(path / "f3", path / "f4"),
        "chmod": lambda: os.chmod(path / "f", 0o600),
        "truncate": lambda: os.truncate(path / "f", 0),
        "utime": lambda: os.utime(path / "f", (1, 1)),
        "symlink": lambda: os.symlink("a", path / "l"),
        "readlink": lambda: os.readlink(path / "link"),
        "link": lambda: os.link(path / "f", path / "hard"),
        "statvfs": lambda: os.statvfs(path),
    }


def prepare(directory: Path) -> None:
    """What the attempts work on."""
    for name in ("f", "f2", "f3"):
        (directory / name).write_bytes(b"x" * 10_000)
    for name in ("d", "d2"):
        (directory / name).mkdir()
    (directory / "link").symlink_to("f")


def assert_all_end(mount: Mount) -> None:
    """Every attempt ends, with an error, within the deadline; all run at once."""
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        waiting = {
            name: pool.submit(in_time, action, TIMEOUT + SLACK) for name, action in attempts(mount).items()
        }
        for name, future in waiting.items():
            outcome, _ = future.result()
            assert isinstance(outcome, OSError), f"{name} gave {outcome!r}"
            assert outcome.errno, name


def test_a_frozen_sshd(private_sshd: Sshd, make_mount: MakeMount, tmp_path: Path) -> None:
    backing = tmp_path / "backing"
    backing.mkdir()
    prepare(backing)
    mount = make_mount(*OPTIONS, server=private_sshd, backing=backing)
    mount.expect(".")
    private_sshd.freeze()
    try:
        assert_all_end(mount)
        assert str(mount.path) in Path("/proc/self/mounts").read_text()
        mount.unmount()
    finally:
        private_sshd.thaw()


def frozen(make_mount: MakeMount, proxy: CountingProxy) -> Mount:
    """A mount over the proxy, prepared."""
    mount = make_mount(*OPTIONS, port=proxy.port)
    mount.expect(".")
    prepare(mount.backing)
    return mount


def test_operations_that_were_pending_end(make_mount: MakeMount, counting_proxy: CountingProxy) -> None:
    """They were sent before the server froze; the replies never come."""
    mount = frozen(make_mount, counting_proxy)
    counting_proxy.set_latency(3600)
    assert_all_end(mount)
    mount.unmount()


def test_new_operations_in_a_hole_end_and_the_mount_comes_down(
    make_mount: MakeMount, counting_proxy: CountingProxy
) -> None:
    mount = frozen(make_mount, counting_proxy)
    counting_proxy.pause()
    assert_all_end(mount)
    mount.unmount()


def test_reads_of_an_open_file_end(make_mount: MakeMount, counting_proxy: CountingProxy) -> None:
    mount = make_mount(*OPTIONS, port=counting_proxy.port)
    mount.expect(".")
    (mount.backing / "big").write_bytes(b"x" * (64 << 20))
    fd = os.open(mount.path / "big", os.O_RDONLY)
    assert os.pread(fd, 4096, 0) == b"x" * 4096
    counting_proxy.pause()
    outcome, _ = in_time(lambda: os.pread(fd, 4096, 60 << 20), TIMEOUT + SLACK)
    assert isinstance(outcome, OSError), "never an end of file"
    in_time(lambda: os.close(fd), TIMEOUT + SLACK)
    mount.unmount()


def test_writes_end_and_the_error_is_told(make_mount: MakeMount, counting_proxy: CountingProxy) -> None:
    mount = make_mount(*OPTIONS, port=counting_proxy.port)
    mount.expect(".")
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
    in_time(mount.unmount, 2 * (TIMEOUT + SLACK))


def test_a_small_write_into_a_hole_fails_at_fsync_or_close(
    make_mount: MakeMount, counting_proxy: CountingProxy
) -> None:
    mount = make_mount(*OPTIONS, port=counting_proxy.port)
    mount.expect(".")
    fd = os.open(mount.path / "f", os.O_CREAT | os.O_WRONLY)
    counting_proxy.pause()
    outcomes = [
        in_time(action, TIMEOUT + SLACK)[0]
        for action in (lambda: os.write(fd, b"lost"), lambda: os.fsync(fd), lambda: os.close(fd))
    ]
    assert any(isinstance(outcome, OSError) for outcome in outcomes), outcomes
    mount.unmount()


def test_the_mount_works_again_after_a_short_hole(
    make_mount: MakeMount, counting_proxy: CountingProxy
) -> None:
    """Shorter than the deadline: nobody notices but by the wait."""
    mount = make_mount("timeout=30", "dir_cache=no", port=counting_proxy.port)
    (mount.backing / "f").write_text("content")
    counting_proxy.pause()
    timer = threading.Timer(1.0, counting_proxy.resume)
    timer.start()
    outcome, _ = in_time((mount.path / "f").read_text, 40)
    timer.join()
    assert outcome == "content"


def test_a_connection_cut_is_an_error_not_an_end_of_file(
    make_mount: MakeMount, counting_proxy: CountingProxy
) -> None:
    """Each read gives the right bytes or fails; never short, never zeros."""
    mount = make_mount(*OPTIONS, port=counting_proxy.port)
    mount.expect(".")
    size = 32 << 20
    block = os.urandom(1 << 16)
    (mount.backing / "big").write_bytes(block * (size // len(block)))
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
    private_sshd: Sshd, make_mount: MakeMount, tmp_path: Path
) -> None:
    backing = tmp_path / "backing"
    backing.mkdir()
    prepare(backing)
    mount = make_mount(*OPTIONS, server=private_sshd, backing=backing)
    mount.expect(".")
    eventually(private_sshd.session_pids)
    private_sshd.drop_connections()
    outcome, _ = in_time(lambda: os.stat(mount.path / "f"), TIMEOUT + SLACK)
    assert isinstance(outcome, (OSError, os.stat_result))
    assert str(mount.path) in Path("/proc/self/mounts").read_text()
    mount.unmount()
