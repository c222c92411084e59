"""Mounting over what its own process needs: refused in one line, or what lies there is reached still."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sftpfs.errors import Failure
from sftpfs.host import covered_files
from sftpfs.host.covered_files import Held
from sftpfs.host.daemon import exit_status
from tests.harness.command import Foreground, run, say
from tests.harness.link import FaultyLink
from tests.harness.mounts import in_time
from tests.harness.namespaces import apart
from tests.harness.outage import LOSS
from tests.sshd import Sshd

REFUSED = exit_status(Failure.MOUNTPOINT)

APART = apart()
"""Should it be mounted there all the same, nobody else sees it."""


@pytest.mark.parametrize(
    "path", ["/", "//", "/dev/..", "/dev", "/etc", "/proc", "/sys", "//proc/", "/proc/self"]
)
def test_what_the_machine_needs_is_not_covered(path: str) -> None:
    status, told = run("root@127.0.0.1:/nowhere", path, "-F", "none", "-p", "1", prefix=APART)
    assert status == REFUSED
    assert len(told.splitlines()) == 1 and "would hide what this machine needs" in told


def test_a_mountpoint_is_found_by_two_slashes(tmp_path: Path) -> None:
    found = say("umount", f"/{tmp_path}")
    assert found.status == REFUSED and f"no sftpfs is mounted at /{tmp_path}" in found.stderr


def test_the_program_itself_is_not_covered() -> None:
    """Nobody could start its fork server again, and what is started there would be the server's."""
    for path in {sys.prefix, os.path.dirname(os.path.realpath(sys.executable)), "/usr"}:
        status, told = run("root@127.0.0.1:/nowhere", path, "-F", "none", "-p", "1", prefix=APART)
        assert status == REFUSED
        assert len(told.splitlines()) == 1 and "would hide" in told and "which the mount needs" in told


def test_ssh_is_not_kept_from_its_files(tmp_path: Path) -> None:
    """A program of its own reads them by their names."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (tmp_path / "passwd").write_text(f"root:x:0:0:root:{home}:/bin/sh\n")
    script = f'mount --bind {tmp_path}/passwd /etc/passwd; exec "$@"'
    words = ["root@127.0.0.1:/nowhere", home, "-o", "ssh_command=ssh"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    status, told = run(*words, env=env, prefix=apart(script))
    assert status == REFUSED and "ssh's configuration and keys" in told


@pytest.fixture
def link(sshd: Sshd) -> Iterator[FaultyLink]:
    with FaultyLink(sshd) as made:
        yield made


def test_a_home_with_key_and_known_hosts_is_covered_and_the_mount_comes_back(
    link: FaultyLink, tmp_path: Path
) -> None:
    """They are read beneath the mount at each connection, by links and through ssh_config as well."""
    backing, real = tmp_path / "server", tmp_path / "real"
    home = tmp_path / "home"
    backing.mkdir()
    (real / "keys").mkdir(parents=True)
    home.symlink_to(real)
    given = dict(link.ssh_options())
    shutil.copy(given["IdentityFile"], real / "keys/id")
    (real / ".ssh").symlink_to("keys")
    shutil.copy(given["UserKnownHostsFile"], real / "keys/known")
    (real / "keys/more.conf").write_text(f"UserKnownHostsFile {home}/.ssh/known\n")
    config = real / "keys/config"
    config.write_text(f"Include {home}/.ssh/more.conf\nIdentityFile {home}/.ssh/id\nIdentitiesOnly yes\n")
    words = [f"{link.user}@127.0.0.1:{backing}", home, "-p", str(link.port), "-F", home / ".ssh/config"]
    words += ["-o", "StrictHostKeyChecking=yes,GlobalKnownHostsFile=none,IdentityAgent=none,timeout=20"]
    with Foreground(real, *words) as mount:
        mount.wait_mounted()
        assert os.listdir(home) == []
        link.cut()
        outcome, _ = in_time(lambda: (home / "new").write_text("made after the loss"), 60)
        assert outcome == len("made after the loss"), outcome
        assert (backing / "new").read_text() == "made after the loss"
        assert say("umount", home).status == 0
        status, told = mount.finish()
    assert status == 0
    assert [line for line in told.splitlines() if "WARNING" in line and LOSS.split("|")[0] not in line] == []


@pytest.fixture
def covered(tmp_path: Path) -> Iterator[Path]:
    """A directory that is held, and files elsewhere in which the same names are other files."""
    path = tmp_path / "real/home"
    (path / "in").mkdir(parents=True)
    (path / "in/file").write_text("beneath")
    before = covered_files.held()
    covered_files.hold(Held(str(path), os.open(path, os.O_PATH)))
    held = covered_files.held()
    assert held is not None
    yield path
    os.close(held.fd)
    covered_files._held = before


def test_the_way_past_a_mount(covered: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real/./home")
    (covered / "absolute").symlink_to(tmp_path / "link/in")
    (covered / "loop").symlink_to(covered / "loop")
    held = covered_files.held()
    assert held == Held(str(covered), held.fd if held else -1)
    moved = covered.rename(tmp_path / "moved")  # what is reached by the descriptor, not by the name
    covered.mkdir()
    for name in ("in/file", "../home/in/file", "absolute/file", "in/../in/file"):
        for way in (covered, tmp_path / "link"):
            assert Path(covered_files.reach(f"{way}/{name}")).read_text() == "beneath"
    covered_files.reach(f"{covered}/loop")
    for name in (f"{tmp_path}/real/other", f"{covered}beside", "/etc/passwd", "relative", "/"):
        assert covered_files.reach(name) == name
    moved.rename(tmp_path / "back")


def test_no_socket_below_the_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount over the directory of the sockets would be asked for them by itself."""
    from sftpfs.control import socket_location

    directory = tmp_path / "run/sftpfs"
    directory.parent.mkdir()
    monkeypatch.setattr(socket_location, "directories", lambda uid: [str(directory)])
    assert socket_location.make_directory() == str(directory)
    before = covered_files.held()
    covered_files.hold(Held(str(tmp_path / "run"), os.open(tmp_path / "run", os.O_PATH)))
    held = covered_files.held()
    assert held is not None
    try:
        with pytest.raises(OSError):
            socket_location.make_directory()
    finally:
        os.close(held.fd)
        covered_files._held = before
