"""Whom a write that the server refuses is told to: handles, not whoever closes a copy of one first."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.command import run
from tests.harness.kernel import fails_with
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually
from tests.sshd import SFTP_SERVER, Sshd

LARGEST = 512 << 10
"""Bytes of the largest file the server takes: a write behind it is refused."""

REFUSED = bytes(LARGEST + 4096)
"""One request of the kernel's, of which the server takes a part."""


@pytest.fixture
def mount(tmp_path: Path, make_mount: MakeMount) -> Iterator[Mount]:
    server = tmp_path / "limited-sftp-server"
    server.write_text(f"#!/bin/sh\ntrap '' XFSZ\nulimit -f {LARGEST // 512}\nexec {SFTP_SERVER}\n")
    server.chmod(0o755)
    with Sshd(tmp_path / "own-sshd", subsystem=str(server)) as limited:
        mount = make_mount(server=limited)
        mount.expect("could not be written")
        yield mount
        mount.close(clean=False)


def duplicated(fd: int) -> None:
    with suppress(OSError):
        os.close(os.dup(fd))


def forked(fd: int) -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def another_program(fd: int) -> None:
    subprocess.run(["true"], check=True, timeout=30)


@pytest.mark.parametrize("closes_a_copy", [duplicated, forked, another_program])
def test_fsync_tells_whatever_closed_a_copy_before(
    mount: Mount, closes_a_copy: Callable[[int], None]
) -> None:
    fd = os.open(mount.path / "file", os.O_WRONLY | os.O_CREAT)
    assert os.write(fd, REFUSED) == len(REFUSED)
    closes_a_copy(fd)
    closes_a_copy(fd)
    with fails_with(errno.EIO):
        os.fsync(fd)
    os.fsync(fd)
    os.close(fd)


def test_close_tells_what_it_told_of_another_copy(mount: Mount) -> None:
    fd = os.open(mount.path / "file", os.O_WRONLY | os.O_CREAT)
    assert os.write(fd, REFUSED) == len(REFUSED)
    copy = os.dup(fd)
    for each in (copy, fd):
        with fails_with(errno.EIO):
            os.close(each)


def test_sync_of_a_file_whose_write_was_refused(mount: Mount) -> None:
    """coreutils' ``sync FILE`` opens it to read."""
    for refused_before in (False, True):
        path = mount.path / f"file{refused_before}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        assert os.write(fd, REFUSED) == len(REFUSED)
        if refused_before:
            eventually(lambda: path.name in mount.log(), 20, "sent, and refused")  # noqa: B023
        assert subprocess.run(["sync", path], capture_output=True, timeout=30).returncode == 1
        with fails_with(errno.EIO):
            os.fsync(fd)
        os.close(fd)
        assert subprocess.run(["sync", path], capture_output=True, timeout=30).returncode == 0


ENDS = """
import os, signal, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(fd, bytes(int(sys.argv[2])))
if sys.argv[3] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] == "closes":
    try:
        os.close(fd)
    except OSError as problem:
        sys.exit(problem.errno)
"""


@pytest.mark.parametrize("ending", ["ends", "killed"])
def test_what_a_program_that_just_ended_lost_is_named(mount: Mount, ending: str) -> None:
    command = [sys.executable, "-c", ENDS, str(mount.path / "unheard"), str(len(REFUSED)), ending]
    subprocess.run(command, check=ending == "ends", timeout=30)
    status, said = run("flush", mount.path)
    assert status == 74 and "unheard" in said


def test_what_a_program_was_told_by_close_is_not_named(mount: Mount) -> None:
    command = [sys.executable, "-c", ENDS, str(mount.path / "heard"), str(len(REFUSED)), "closes"]
    assert subprocess.run(command, check=False, timeout=30).returncode == errno.EIO
    assert run("flush", mount.path) == (0, "")


def test_the_position_stays_where_writes_are_refused(mount: Mount) -> None:
    """Only what had been accepted before the first failure was known leaves its place empty."""
    fd = os.open(mount.path / "file", os.O_WRONLY | os.O_CREAT)
    assert os.write(fd, bytes(LARGEST)) == LARGEST
    os.fsync(fd)
    assert os.write(fd, b"accepted") == 8
    another_program(fd)
    for _ in range(3):
        with fails_with(errno.EIO):
            os.write(fd, b"refused")
        assert os.lseek(fd, 0, os.SEEK_CUR) == LARGEST + 8
    os.close(fd)
