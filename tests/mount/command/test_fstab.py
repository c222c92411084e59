"""The real mount(8) and umount(8), with a line of type fuse.sftpfs in an fstab."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import server_options
from tests.harness.command import COMMAND, assert_gone, daemon_of, environment, family_of
from tests.harness.mounts import REPOSITORY, mountpoints, unmount_lazily
from tests.harness.processes import wait_gone
from tests.sshd import Sshd

GENERIC = (
    "_netdev,nofail,noauto,user,group,x-systemd.automount,x-systemd.idle-timeout=60,X-test=1,"
    "comment=a,noatime,nosuid,nodev,exec,rw"
)


PROGRAM = Path("/usr/local/bin/sftpfs")


class Machine:
    """mount(8) and umount(8) with an fstab of our own."""

    def __init__(self, sshd: Sshd, directory: Path) -> None:
        self.backing = directory / "server"
        self.path = directory / "mnt"
        self.fstab = directory / "fstab"
        self.backing.mkdir()
        self.path.mkdir()
        (self.backing / "hello").write_text("hello\n")
        self.options = ",".join(server_options(sshd))
        self.spec = f"root@127.0.0.1:{self.backing}"
        self.environment = environment()

    def line(self, options: str, kind: str = "fuse.sftpfs", spec: str | None = None) -> None:
        self.fstab.write_text(f"{spec or self.spec}  {self.path}  {kind}  {options}  0  0\n")

    def call(self, *words: str | Path) -> tuple[int, str]:
        done = subprocess.run(
            list(map(str, words)),
            env=self.environment,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stderr

    def mount(self) -> tuple[int, str]:
        return self.call("mount", "--fstab", self.fstab, self.path)


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """``sftpfs`` where mount.fuse looks for it: it takes no PATH from its caller.

    What an administrator has put there is kept aside for the while.
    """
    wrapper = tmp_path_factory.mktemp("bin") / "sftpfs"
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    wrapper.chmod(0o755)
    aside = PROGRAM.with_name("sftpfs.set-aside-by-test")
    if os.path.lexists(PROGRAM) and not os.path.lexists(aside):
        PROGRAM.rename(aside)
    PROGRAM.unlink(missing_ok=True)
    PROGRAM.symlink_to(wrapper)
    try:
        yield
    finally:
        PROGRAM.unlink()
        if os.path.lexists(aside):
            aside.rename(PROGRAM)


@pytest.fixture
def machine(sshd: Sshd, tmp_path: Path) -> Iterator[Machine]:
    made = Machine(sshd, tmp_path)
    yield made
    if str(made.path) in mountpoints():
        unmount_lazily(str(made.path))


@pytest.mark.parametrize(
    "generic", ["defaults", GENERIC, "users,ro", "owner,sync,dirsync", "auto,nouser,relatime"]
)
def test_mount_and_umount(machine: Machine, generic: str) -> None:
    machine.line(f"{generic},{machine.options}")
    assert machine.mount() == (0, "")
    family = family_of(machine.path)
    assert (machine.path / "hello").read_text() == "hello\n"
    if "ro" in generic.split(","):
        with pytest.raises(OSError, match="Read-only"):
            (machine.path / "new").touch()
    else:
        (machine.path / "new").write_bytes(b"n" * 1_000_000)
    assert machine.call("umount", machine.path) == (0, "")
    assert_gone(machine.path, family)
    assert "ro" in generic.split(",") or (machine.backing / "new").stat().st_size == 1_000_000


@pytest.mark.parametrize("kind", ["fuse.sftpfs", "fuse.sshfs"])
@pytest.mark.parametrize(
    ("written", "source", "read_only"), [(r"a\,b\040ro", r"a,b\040ro", False), (r"a\054ro", "a", True)]
)
def test_a_comma_in_a_value_is_written_as_for_sshfs(
    machine: Machine, kind: str, written: str, source: str, read_only: bool
) -> None:
    """mount(8) makes a comma of an octal one before any program sees it: it ends the value."""
    machine.line(f"fsname={written},{machine.options}", kind)
    assert machine.mount() == (0, "")
    family = family_of(machine.path) if kind == "fuse.sftpfs" else set()
    assert mountpoints()[str(machine.path)] == source
    assert bool(os.statvfs(machine.path).f_flag & os.ST_RDONLY) is read_only
    assert machine.call("umount", machine.path) == (0, "")
    assert_gone(machine.path, family)


def test_mounting_again_after_the_process_was_killed(machine: Machine) -> None:
    machine.line(machine.options)
    assert machine.mount() == (0, "")
    family = family_of(machine.path)
    assert (machine.path / "hello").exists()
    os.kill(daemon_of(machine.path), signal.SIGKILL)
    assert not wait_gone(family, 20)
    status, told = machine.mount()
    assert status == 0 and "had lost its process; it was detached" in told
    assert (machine.path / "hello").read_text() == "hello\n"
    family = family_of(machine.path)
    assert machine.call("umount", machine.path) == (0, "")
    assert_gone(machine.path, family)


def test_mount_by_type_without_fstab(machine: Machine) -> None:
    result = machine.call("mount", "-t", "fuse.sftpfs", machine.spec, machine.path, "-o", machine.options)
    assert result == (0, "")
    family = family_of(machine.path)
    assert (machine.path / "hello").exists()
    shown = subprocess.run(
        ["findmnt", "-n", "-o", "FSTYPE,SOURCE", str(machine.path)],
        capture_output=True,
        text=True,
        timeout=20,
    ).stdout
    assert shown.split() == ["fuse.sftpfs", machine.spec]
    assert machine.call("umount", machine.path) == (0, "")
    assert_gone(machine.path, family)


def test_old_form(machine: Machine) -> None:
    machine.line(machine.options, kind="fuse", spec=f"sftpfs#{machine.spec}")
    assert machine.mount() == (0, "")
    family = family_of(machine.path)
    assert (machine.path / "hello").exists()
    assert machine.call("umount", machine.path) == (0, "")
    assert_gone(machine.path, family)


def test_without_home_as_in_a_unit(machine: Machine) -> None:
    del machine.environment["HOME"]
    machine.line(machine.options)
    assert machine.mount() == (0, "")
    family = family_of(machine.path)
    assert machine.call("umount", machine.path) == (0, "")
    assert_gone(machine.path, family)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("port=1", "refused"),
        ("reconect", "unknown option reconect"),
        ("ConnectTimeout=x", "seconds"),
    ],
)
def test_failure_is_told_and_nothing_is_mounted(machine: Machine, options: str, part: str) -> None:
    machine.line(f"{machine.options},{options}" if "port" not in options else options)
    status, errors = machine.mount()
    assert status != 0
    assert part in errors
    assert errors.count("\n") == 1
    assert str(machine.path) not in mountpoints()
