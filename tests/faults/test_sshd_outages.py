"""A real sshd that loses its sessions, is stopped, or freezes, under a mount."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.mounts import Mount, in_time
from tests.harness.outage import LOSS, OUTAGE, answers, works
from tests.harness.waiting import eventually
from tests.sshd import Sshd

pytestmark = pytest.mark.limit(120)

TIMEOUT = 3.0
SLACK = 12.0
"""Seconds on top of a deadline on a busy machine: what is tested is that operations end."""

MIB = 1 << 20

AT_ONCE = "dir_cache=no"
"""What is tested is the server's answer, not a lease."""


@pytest.fixture
def own_sshd(tmp_path: Path) -> Iterator[Sshd]:
    """A server of this test's own, to be stopped."""
    with Sshd(tmp_path / "own-sshd") as server:
        yield server


def content(size: int) -> bytes:
    """Bytes that differ everywhere."""
    return random.Random(size).randbytes(size)


def digest(path: Path) -> str:
    """Checksum of a whole file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def over_ssh(make_mount: MakeMount, server: Sshd, backing: Path, *options: str, expect: str = LOSS) -> Mount:
    mount = make_mount(AT_ONCE, *options, server=server, backing=backing)
    mount.expect(expect)
    return mount


def test_killed_sessions_of_sshd_are_not_noticed(
    own_sshd: Sshd, make_mount: MakeMount, backing: Path
) -> None:
    data = content(48 * MIB)
    (backing / "big").write_bytes(data)
    mount = over_ssh(make_mount, own_sshd, backing)
    with (
        open(mount.path / "big", "rb", buffering=0) as source,
        open(mount.path / "copy", "wb", buffering=0) as copy,
    ):
        for number in range(48):
            if number in (10, 30):
                own_sshd.drop_connections()
            assert copy.write(source.read(MIB)) == MIB
    assert digest(backing / "copy") == hashlib.sha256(data).hexdigest()
    assert mount.log().count("the connection is back") >= 2
    works(mount)


WRITER = """
import os, sys
with open(sys.argv[1], "r+b", buffering=0) as file:
    print("open", flush=True)
    sys.stdin.readline()
    file.write(b"AS")
    os.fsync(file.fileno())
print("written", flush=True)
"""


def test_an_sshd_stopped_and_started_again(own_sshd: Sshd, make_mount: MakeMount, backing: Path) -> None:
    """The file is a process's of its own: every process we start would flush one of ours as it begins."""
    (backing / "file").write_bytes(b"as it was")
    mount = over_ssh(make_mount, own_sshd, backing, "timeout=30")
    command = [sys.executable, "-c", WRITER, str(mount.path / "file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        own_sshd.stop()
        writer.stdin.write("go\n")
        writer.stdin.flush()
        time.sleep(2)
        own_sshd.start()
        assert os.listdir(mount.path) == ["file"]
        assert writer.stdout.readline() == "written\n"
    assert (backing / "file").read_bytes() == b"AS it was"
    works(mount)


def test_a_frozen_sshd_beyond_the_deadline(own_sshd: Sshd, make_mount: MakeMount, backing: Path) -> None:
    (backing / "file").write_bytes(content(MIB))
    mount = over_ssh(make_mount, own_sshd, backing, f"timeout={TIMEOUT:g}", expect=OUTAGE)
    with open(mount.path / "file", "rb", buffering=0) as file:
        own_sshd.freeze()
        try:
            for action in (lambda: os.stat(mount.path / "file"), lambda: os.pread(file.fileno(), 4096, 4096)):
                outcome, _ = in_time(action, TIMEOUT + SLACK)
                assert isinstance(outcome, OSError)
        finally:
            own_sshd.thaw()
        eventually(lambda: answers(mount, TIMEOUT + SLACK), SLACK, what="the mount back")
        assert os.pread(file.fileno(), 4096, 4096) == content(MIB)[4096:8192]
    works(mount)
