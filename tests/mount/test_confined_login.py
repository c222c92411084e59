"""Whose files a login's own are, where its home is root's: an account that sshd confines (ChrootDirectory).

The login is games, who mounts is nobody: their numbers differ, and with ``allow_other`` the kernel judges by
the owners shown before the server is asked.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.machine import NOBODY, Machine, identity
from tests.sshd import Sshd

LOGIN = pwd.getpwnam("games")
NOBODY_ID = 65534
MOUNT = "/mnt/here"


@pytest.fixture
def cage() -> Iterator[Path]:
    """A directory sshd accepts for ChrootDirectory, as nobody but root may write to its parents, with one
    of the login's in it, and others'."""
    made = Path(tempfile.mkdtemp(dir="/run", prefix="sftpfs-test-"))
    made.chmod(0o755)
    inside = made / "cage"
    for name, owner in (("upload", LOGIN.pw_uid), ("alien", 1), ("roots", 0)):
        (inside / name).mkdir(parents=True)
        os.chown(inside / name, owner, owner)
    os.chown(inside / "upload", LOGIN.pw_uid, LOGIN.pw_gid)
    (inside / "upload" / "old").write_text("old")
    os.chown(inside / "upload" / "old", LOGIN.pw_uid, LOGIN.pw_gid)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Where nobody may let others in to what it mounts."""
    with Machine() as made:
        made.write("/mnt/fuse.conf", "user_allow_other\n")
        assert made.run("mount", "--bind", "/mnt/fuse.conf", "/etc/fuse.conf")[0] == 0
        made.directory(MOUNT, NOBODY_ID)
        yield made


@pytest.fixture
def confined(cage: Path) -> Iterator[Sshd]:
    extra = f"ChrootDirectory {cage / 'cage'}\nForceCommand internal-sftp"
    with Sshd(cage / "sshd", config_extra=extra, subsystem="internal-sftp") as server:
        server.user = LOGIN.pw_name
        yield server


def mount(machine: Machine, server: Sshd, directory: str, *options: str, user: bool = True) -> str:
    """What is said as nobody mounts ``directory`` of the login."""
    keys = identity(machine, server.client_key, server.known_hosts, NOBODY_ID, "nobody")
    words = ",".join([keys, f"port={server.port}", *options, *([] if user else [f"User={server.user}"])])
    source = f"{server.user + '@' if user else ''}{server.host}:{directory}"
    command = ("/mnt/bin/sftpfs", "-F", "none", source, MOUNT, "-o", words)
    status, output, errors = machine.run(*command, user=NOBODY)
    assert status == 0, errors
    return output + errors


def owners(machine: Machine, *names: str) -> dict[str, int]:
    """uid of each of ``names`` below the mountpoint, as shown."""
    shown = machine.run("stat", "-c", "%u", *(f"{MOUNT}/{name}" for name in names), user=NOBODY)
    assert shown[0] == 0, shown
    return dict(zip(names, map(int, shown[1].split()), strict=True))


def write(machine: Machine, name: str) -> int:
    """The status of a shell that writes to ``name`` below the mountpoint."""
    return machine.run("sh", "-c", f"echo new >> {MOUNT}/{name}", user=NOBODY)[0]


@pytest.mark.parametrize("user", [True, False], ids=["named", "by User"])
@pytest.mark.parametrize("directory", ["/", "/upload"])
def test_ones_own_files_can_be_written_before_any_was_made(
    machine: Machine, confined: Sshd, cage: Path, directory: str, user: bool
) -> None:
    said = mount(machine, confined, directory, "allow_other", user=user)
    assert "permission bits" not in said
    place = "upload/" if directory == "/" else ""
    if directory == "/":
        shown = owners(machine, ".", "upload", "alien", "roots")
        assert shown == {".": 0, "upload": NOBODY_ID, "alien": 1, "roots": 0}
    assert write(machine, place + "old") == 0 == write(machine, place + "new")
    upload = cage / "cage" / "upload"
    assert ((upload / "old").read_text(), (upload / "new").read_text()) == ("oldnew\n", "new\n")
    assert {path.name for path in (cage / "cage").iterdir()} == {"upload", "alien", "roots"}


def test_nothing_is_tried_where_the_kernel_does_not_judge(
    machine: Machine, confined: Sshd, cage: Path
) -> None:
    """Nothing passes for the user's then; the server decides, and a file that is made tells."""
    before = {path: path.stat().st_ctime_ns for path in cage.glob("cage/*")}
    mount(machine, confined, "/")
    assert owners(machine, ".", "upload", "roots") == {".": 0, "upload": LOGIN.pw_uid, "roots": 0}
    assert {path: path.stat().st_ctime_ns for path in cage.glob("cage/*")} == before
    assert write(machine, "upload/old") == 0 == write(machine, "upload/new")
    assert owners(machine, "upload", "roots") == {"upload": NOBODY_ID, "roots": 0}


def test_names_tell_where_the_server_has_them(machine: Machine, confined: Sshd, cage: Path) -> None:
    """Nothing is tried then."""
    (cage / "cage" / "etc").mkdir()
    shutil.copy("/etc/passwd", cage / "cage" / "etc" / "passwd")
    before = {path: path.stat().st_ctime_ns for path in cage.glob("cage/*")}
    mount(machine, confined, "/", "allow_other")
    assert owners(machine, ".", "upload", "roots") == {".": 0, "upload": NOBODY_ID, "roots": 0}
    assert {path: path.stat().st_ctime_ns for path in cage.glob("cage/*")} == before


def test_who_cannot_be_told_is_nobody_and_a_line_says_so(
    machine: Machine, confined: Sshd, cage: Path
) -> None:
    """Nothing that is seen is the login's."""
    os.chown(cage / "cage" / "upload", 2, 2)
    said = mount(machine, confined, "/", "allow_other")
    assert "the server does not show which files are the login's own" in said
    assert owners(machine, ".", "upload") == {".": 0, "upload": 2}


def test_a_home_that_is_another_ones_is_told_by_the_servers_process(machine: Machine, cage: Path) -> None:
    """Where the account is not confined."""
    shown = cage / "cage"
    with Sshd(cage / "sshd", subsystem="internal-sftp") as server:
        server.user = LOGIN.pw_name
        mount(machine, server, str(shown), "allow_other")
        assert owners(machine, ".", "upload", "alien") == {".": 0, "upload": NOBODY_ID, "alien": 1}
        assert write(machine, "upload/old") == 0
