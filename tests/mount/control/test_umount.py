"""``sftpfs umount``: what is under way arrives, who is inside is told, and what --force loses is said."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from sftpfs.errors import Failure
from sftpfs.host.daemon import DATA_LOST_STATUS, exit_status
from tests.conftest import MakeMount
from tests.harness.command import COMMAND, Terminal, ended, environment, say, started
from tests.harness.counting import CountingProxy
from tests.harness.mounts import Mount, mountpoints
from tests.harness.waiting import eventually

IN_USE = exit_status(Failure.MOUNTPOINT)

WRITE_AND_CLOSE = """
import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
sys.stdin.readline()
os.write(fd, b"x" * int(sys.argv[2]))
print("written", flush=True)
os.close(fd)
"""


def write_without_a_server(path: Path, size: int, proxy: CountingProxy) -> subprocess.Popen[str]:
    """A program that has written and waits in close(2) for a server that does not answer."""
    program = subprocess.Popen(
        [sys.executable, "-c", WRITE_AND_CLOSE, str(path), str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdin is not None and program.stdout is not None
    eventually(path.exists, what="opened")
    proxy.pause()
    program.stdin.write("\n")
    program.stdin.flush()
    assert program.stdout.readline() == "written\n"
    return program


def gone(mount: Mount) -> bool:
    """Neither mounted nor run."""
    return str(mount.path) not in mountpoints() and mount.process.poll() is not None


def test_umount_ends_the_mount(make_mount: MakeMount) -> None:
    mount = make_mount()
    (mount.path / "f").write_text("x")
    assert say("umount", mount.path) == (0, "", "")
    assert mount.process.wait(20) == 0
    assert gone(mount)
    assert (mount.backing / "f").read_text() == "x"
    again = say("umount", mount.path)
    assert again.status == IN_USE
    assert "no sftpfs is mounted at" in again.stderr


def test_umount_names_who_is_inside(make_mount: MakeMount) -> None:
    mount = make_mount()
    with subprocess.Popen(["sleep", "60"], cwd=mount.path) as sleeper:
        try:
            found = say("umount", mount.path)
            assert found.status == IN_USE
            assert f"{mount.path} is in use by sleep ({sleeper.pid}); end that" in found.stderr
            assert os.listdir(mount.path) == []
        finally:
            sleeper.kill()
    assert say("umount", mount.path).status == 0
    assert mount.process.wait(20) == 0


def test_umount_shows_what_is_left_to_do(make_mount: MakeMount, counting_proxy: CountingProxy) -> None:
    mount = make_mount("timeout=100", port=counting_proxy.port)
    with write_without_a_server(mount.path / "f", 2 << 20, counting_proxy) as program:
        with Terminal("umount", mount.path) as terminal:
            terminal.wait_for("2.00 MiB in 1 file to go")
            terminal.type("\x03")
            terminal.wait_for("interrupted")
            assert terminal.finish() == 130
        assert str(mount.path) in mountpoints()
        with started("umount", mount.path) as command:
            counting_proxy.resume()
            assert program.wait(20) == 0
            found = ended(command)
    if found.status == IN_USE:  # the program was not yet gone
        found = say("umount", mount.path)
    assert found.status == 0, found.stderr
    assert mount.process.wait(20) == 0
    assert (mount.backing / "f").stat().st_size == 2 << 20


def test_umount_by_force_says_what_is_lost(make_mount: MakeMount, counting_proxy: CountingProxy) -> None:
    mount = make_mount(port=counting_proxy.port)
    mount.expect("could not be written|data lost|not all data")
    with write_without_a_server(mount.path / "f", 2 << 20, counting_proxy) as program:
        found = say("umount", "--force", mount.path)
        assert found.status == DATA_LOST_STATUS
        assert f"lost: {mount.backing / 'f'}, 2.00 MiB that the server does not have" in found.stderr
        assert mount.process.wait(20) == DATA_LOST_STATUS
        assert program.wait(20) != 0  # its close(2) failed
    assert gone(mount)
    mount.close(clean=False)


@pytest.mark.parametrize("way", ["force", "three signals"])
def test_the_end_by_force_tells_what_an_unmount_told_before(
    make_mount: MakeMount, counting_proxy: CountingProxy, way: str
) -> None:
    """The file is open still, and its program was told nothing."""
    mount = make_mount("timeout=2", port=counting_proxy.port)
    mount.expect("could not be written|data lost|cut off|connection|cannot be reached")
    told = re.compile(rf"not written: {mount.backing / 'f'}: .*; saved in ")
    file = os.open(mount.path / "f", os.O_CREAT | os.O_WRONLY)
    try:
        os.fsync(file)
        counting_proxy.pause()
        os.write(file, bytes(2 << 20))
        first = say("umount", mount.path)
        assert first.status == DATA_LOST_STATUS and "stays mounted" in first.stderr
        assert told.search(first.stderr)
        if way == "force":
            second = say("umount", "--force", mount.path)
            assert second.status == DATA_LOST_STATUS and told.search(second.stderr)
        else:
            mount.process.send_signal(signal.SIGTERM)
            eventually(lambda: str(mount.path) not in mountpoints(), 20, "detached")
            for number in (signal.SIGINT, signal.SIGHUP):
                with suppress(ProcessLookupError):
                    mount.process.send_signal(number)
        assert mount.process.wait(20) == DATA_LOST_STATUS
    finally:
        with suppress(OSError):  # what it is open on is gone
            os.close(file)
    assert f"data lost: {mount.backing / 'f'}: " in mount.log()
    mount.close(clean=False)


def test_umount_of_a_mount_whose_process_was_killed(make_mount: MakeMount) -> None:
    mount = make_mount()
    mount.kill()
    mount.process.wait(20)
    found = say("umount", mount.path)
    assert found.status == 0
    assert "was gone; it is unmounted" in found.stderr
    assert gone(mount)
    mount.close(clean=False)


def test_umount_from_within_does_not_meet_itself(make_mount: MakeMount) -> None:
    mount = make_mount()
    done = subprocess.run(
        [*COMMAND, "umount", "."],
        env=environment(),
        cwd=mount.path,
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert mount.process.wait(20) == 0
    assert gone(mount)
