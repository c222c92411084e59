"""The front killed with -9: its processes end, and the next mount takes the mountpoint over."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sftpfs.errors import Failure
from tests.conftest import server_options
from tests.harness.command import assert_gone, daemon_of, family_of, run
from tests.harness.mounts import mountpoints, unmount_lazily
from tests.harness.processes import wait_gone
from tests.sshd import Sshd

DETACHED = "had lost its process; it was detached"


class Site:
    """A directory on the server, a mountpoint, and the words to mount one on the other."""

    def __init__(self, sshd: Sshd, directory: Path) -> None:
        self.backing = directory / "server"
        self.path = directory / "mnt"
        self.backing.mkdir()
        self.path.mkdir()
        (self.backing / "hello").write_text("hello\n")
        self.words = [f"root@127.0.0.1:{self.backing}", self.path, "-F", "none"]
        self.words += ["-o", ",".join(server_options(sshd))]

    def mount(self, *more: str) -> str:
        """As a daemon; what was told."""
        status, told = run(*self.words, *more)
        assert status == 0, told
        assert (self.path / "hello").read_text() == "hello\n"
        return told

    def kill(self) -> None:
        """The front alone; what it started ends by itself."""
        family = family_of(self.path)
        assert len(family) > 1
        os.kill(daemon_of(self.path), signal.SIGKILL)
        left = wait_gone(family, 20)
        assert not left, left

    def unmount(self) -> None:
        """As a person does."""
        family = family_of(self.path)
        subprocess.run(["umount", str(self.path)], check=True, timeout=30)
        assert_gone(self.path, family)


@pytest.fixture
def site(sshd: Sshd, tmp_path: Path) -> Iterator[Site]:
    made = Site(sshd, tmp_path)
    yield made
    while str(made.path) in mountpoints():
        unmount_lazily(str(made.path))


@pytest.mark.parametrize("transport", [(), ("-o", "ssh_command=ssh -F none")], ids=["ours", "openssh"])
def test_the_next_mount_takes_over(site: Site, transport: tuple[str, ...]) -> None:
    """Also where the kernel still believes what it knows of the dead mount's root."""
    assert site.mount(*transport) == ""
    os.stat(site.path)
    site.kill()
    with pytest.raises(OSError) as raised:
        os.listdir(site.path)
    assert raised.value.errno == errno.ENOTCONN
    told = site.mount(*transport)
    assert DETACHED in told and str(site.path) in told and told.count("\n") == 1
    site.unmount()


def test_killed_in_the_middle_of_a_copy(site: Site) -> None:
    site.mount()
    failures: list[OSError] = []

    def copy() -> None:
        try:
            with open(site.path / "big", "wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 20))
        except OSError as problem:
            failures.append(problem)

    copying = threading.Thread(target=copy)
    copying.start()
    while not (site.backing / "big").exists() and copying.is_alive():
        pass
    site.kill()
    copying.join(30)
    assert failures and not copying.is_alive()
    assert DETACHED in site.mount()
    site.unmount()


def test_another_directory_takes_over_too(site: Site, tmp_path: Path) -> None:
    site.mount()
    site.kill()
    other = tmp_path / "other"
    other.mkdir()
    (other / "hello").write_text("hello\n")
    site.words[0] = f"root@127.0.0.1:{other}"
    assert DETACHED in site.mount()
    site.unmount()


def test_a_living_mount_is_not_touched(site: Site) -> None:
    site.mount()
    status, told = run(*site.words)
    assert status == Failure.MOUNTPOINT.value and "already mounted" in told
    assert (site.path / "hello").read_text() == "hello\n"
    site.unmount()


def test_a_mount_that_does_not_answer_is_not_touched(site: Site) -> None:
    """The kernel itself knows what the mountpoint is: it asks nobody before we do."""
    site.mount()
    front = daemon_of(site.path)
    os.stat(site.path)
    os.kill(front, signal.SIGSTOP)
    try:
        status, told = run(*site.words)
    finally:
        os.kill(front, signal.SIGCONT)
    assert status == Failure.MOUNTPOINT.value and "does not answer" in told and told.count("\n") == 1
    assert (site.path / "hello").read_text() == "hello\n"
    site.unmount()
