"""The directory that was checked is mounted over, and the mount is found wherever it is by then."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sftpfs.errors import Failure
from sftpfs.host.daemon import exit_status
from tests.conftest import MakeMount
from tests.harness import processes
from tests.harness.command import Foreground, ended, say, started
from tests.harness.counting import CountingProxy
from tests.harness.machine import NOBODY, Machine
from tests.harness.mounts import mountpoints
from tests.harness.waiting import eventually

REFUSED = exit_status(Failure.MOUNTPOINT)


def holds(pid: int, path: Path) -> bool:
    """Has the process, or one below it, ``path`` open: the mountpoint was checked?"""
    for each in {pid, *processes.descendants([pid], processes.table())}:
        try:
            links = [os.readlink(f"/proc/{each}/fd/{name}") for name in os.listdir(f"/proc/{each}/fd")]
        except OSError:
            continue
        if str(path) in links:
            return True
    return False


@pytest.fixture
def slow(counting_proxy: CountingProxy) -> Iterator[CountingProxy]:
    """A server that takes its time to answer, until it is told to ``resume``."""
    counting_proxy.pause()
    yield counting_proxy
    counting_proxy.resume()


@pytest.mark.parametrize("part", ["mnt", "home"])
def test_a_link_put_in_its_place_while_the_server_is_asked(
    slow: CountingProxy, backing: Path, tmp_path: Path, part: str
) -> None:
    """Whoever may rename the mountpoint, or what it is in, has nothing mounted over another directory."""
    path = tmp_path / "home/mnt"
    other = tmp_path / "etc"
    path.mkdir(parents=True)
    (other / "mnt").mkdir(parents=True)
    (other / "passwd").write_text("root's own")
    with Foreground(path, f"127.0.0.1:{backing}", path, "-o", f"directport={slow.port}") as mount:
        eventually(lambda: holds(mount.process.pid, path), what="checked")
        swapped = path if part == "mnt" else path.parent
        swapped.rename(tmp_path / "moved")
        swapped.symlink_to(other)
        slow.resume()
        status, told = mount.finish()
    assert status == REFUSED
    assert f"{path} became another directory while the server was asked; nothing is mounted" in told
    assert [point for point in mountpoints() if point.startswith(str(tmp_path))] == []
    assert sorted(os.listdir(other)) == ["mnt", "passwd"]


def test_of_two_commands_at_one_moment_one_mounts(slow: CountingProxy, backing: Path, tmp_path: Path) -> None:
    path = tmp_path / "mnt"
    path.mkdir()
    words = (f"127.0.0.1:{backing}", path, "-o", f"directport={slow.port}")
    with ExitStack() as stack:
        commands = [stack.enter_context(started(*words)) for _ in range(3)]
        for command in commands:
            eventually(lambda pid=command.pid: holds(pid, path), what="checked")  # type: ignore[misc]
        slow.resume()
        outcomes = [ended(command) for command in commands]
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    assert len([line for line in lines if line.split()[4] == str(path)]) == 1
    subprocess.run(["fusermount3", "-u", path], check=True)
    assert sorted(outcome.status for outcome in outcomes) == [0, REFUSED, REFUSED]
    told = [outcome.stderr for outcome in outcomes if outcome.status]
    assert all(f"was mounted on {path} meanwhile" in line for line in told), told


def test_a_plain_user_s_mount_that_is_led_elsewhere_is_taken_off(backing: Path, tmp_path: Path) -> None:
    """fusermount3 goes by names: it mounts where the directory is by then, and that is not kept."""
    backing.chmod(0o755)
    with CountingProxy() as proxy, Machine() as machine:
        home = machine.directory("/mnt/home", 65534)
        machine.directory("/mnt/home/mnt", 65534)
        proxy.pause()
        words = (f"127.0.0.1:{backing}", "/mnt/home/mnt", "-o", f"directport={proxy.port}")
        with machine.start("/mnt/bin/sftpfs", *words, user=NOBODY) as command:
            eventually(lambda: holds(command.pid, Path("/mnt/home/mnt")), what="checked")
            machine.outside(home).rename(machine.outside("/mnt/moved"))
            machine.directory("/mnt/home/mnt", 65534)
            proxy.resume()
            _, told = command.communicate(timeout=40)
        assert command.returncode == REFUSED, told
        assert "became another directory" in told
        assert machine.mounts() == {}


def test_a_mount_is_found_under_the_name_it_has_now(
    proxy: CountingProxy, backing: Path, tmp_path: Path
) -> None:
    """A directory above it was renamed: it serves, says how it is, and a signal takes it off."""
    path = tmp_path / "home/mnt"
    path.mkdir(parents=True)
    (backing / "f").write_text("x")
    with Foreground(path, f"127.0.0.1:{backing}", path, "-o", f"directport={proxy.port}") as mount:
        mount.wait_mounted()
        path.parent.rename(tmp_path / "moved")
        path.mkdir(parents=True)
        (path / "another").touch()
        now = tmp_path / "moved/mnt"
        assert (now / "f").read_text() == "x"
        assert say("status", now).status == 0
        with subprocess.Popen(["sleep", "60"], cwd=now) as sleeper:
            busy = say("umount", now)
            assert busy.status == REFUSED
            assert f"{now} is in use by sleep ({sleeper.pid})" in busy.stderr
            sleeper.kill()
        mount.signal(signal.SIGTERM)
        assert mount.finish()[0] == 0
    assert str(now) not in mountpoints()
    assert os.listdir(now) == []
    assert os.listdir(path) == ["another"]


def test_what_is_mounted_over_it_is_left_alone(make_mount: MakeMount) -> None:
    mount = make_mount()
    over = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mount.path]
    subprocess.run(over, check=True)
    try:
        (mount.path / "in the other").touch()
        mount.expect("is in use by")
        os.kill(mount.pid, signal.SIGTERM)
        mount.process.wait(20)
        assert os.listdir(mount.path) == ["in the other"]
    finally:
        subprocess.run(["umount", mount.path], check=True)
