"""``idmap=name`` against a server whose users have other numbers than the same ones here."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.kernel import fails_with
from tests.sshd import SFTP_SERVER, Sshd

PASSWD = """root:x:0:0::/root:/bin/sh
somebody:x:2:2::/:/bin/sh
daemon:x:7001:7101::/:/bin/sh
stranger:x:7003:7103::/:/bin/sh
"""
GROUP = "root:x:0:\nsomegroup:x:2:\ndaemon:x:7101:\nstrangers:x:7103:\n"

DAEMON = 1
"""uid and gid of daemon on this machine, as on every Debian; 2 is bin."""


def server_with_users(directory: Path, arguments: str, login: str = "exec") -> Sshd:
    """An sshd whose sftp-server finds other users and groups in /etc, run by ``login``."""
    directory.mkdir()
    (directory / "passwd").write_text(PASSWD)
    (directory / "group").write_text(GROUP)
    program = directory / "sftp-server"
    program.write_text(
        "#!/bin/sh\n"
        "exec unshare -m sh -c '"
        f"mount --bind {directory}/passwd /etc/passwd && mount --bind {directory}/group /etc/group && "
        f"{login} {SFTP_SERVER} {arguments}'\n"
    )
    program.chmod(0o755)
    return Sshd(directory / "sshd", subsystem=str(program))


@pytest.fixture(scope="module", params=["extension", "listing"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """With users-groups-by-id@openssh.com, and without: then the lines of listings tell."""
    arguments = "" if request.param == "extension" else "-P users-groups-by-id"
    with server_with_users(tmp_path_factory.mktemp("users") / request.param, arguments) as running:
        yield running


def owner(path: Path) -> tuple[int, int]:
    seen = os.lstat(path)
    return seen.st_uid, seen.st_gid


def make_files(backing: Path) -> None:
    """``ours`` of daemon, ``theirs`` of one who is nobody here, ``nameless`` of one who has no name there."""
    for name, uid, gid in (("ours", 7001, 7101), ("theirs", 7003, 7103), ("nameless", 7999, 7999)):
        (backing / name).touch()
        os.chown(backing / name, uid, gid)


def test_owners_are_shown_by_name(make_mount: MakeMount, backing: Path, server: Sshd) -> None:
    make_files(backing)
    (backing / "sub").mkdir()
    (backing / "sub" / "deep").touch()
    os.chown(backing / "sub" / "deep", 7001, 7101)
    mount = make_mount("idmap=name", backing=backing, server=server)
    assert owner(mount.path / "sub" / "deep") == (DAEMON, DAEMON)
    assert owner(mount.path / "ours") == (DAEMON, DAEMON)
    assert owner(mount.path / "theirs") == (7003, 7103)
    assert owner(mount.path / "nameless") == (7999, 7999)
    assert owner(mount.path) == (0, 0)
    (mount.path / "made").touch()
    assert owner(mount.path / "made") == owner(mount.backing / "made") == (0, 0)


def test_chown_goes_back_by_name(make_mount: MakeMount, backing: Path, server: Sshd) -> None:
    make_files(backing)
    (backing / "f").touch()
    mount = make_mount("idmap=name", backing=backing, server=server)
    os.listdir(mount.path)
    os.chown(mount.path / "f", DAEMON, DAEMON)
    assert owner(mount.backing / "f") == (7001, 7101)
    assert owner(mount.path / "f") == (DAEMON, DAEMON)
    os.chown(mount.path / "f", -1, 0)
    assert owner(mount.backing / "f") == (7001, 0)


def test_a_number_that_is_somebody_elses_there_is_refused(
    make_mount: MakeMount, backing: Path, server: Sshd
) -> None:
    """User 2 is bin here and somebody there: bin has no number on the server."""
    (backing / "f").touch()
    (backing / "of-2").touch()
    os.chown(backing / "of-2", 2, 2)
    mount = make_mount("idmap=name", backing=backing, server=server)
    for uid, gid in ((2, -1), (-1, 2)):
        with fails_with(errno.EPERM):
            os.chown(mount.path / "f", uid, gid)
    assert owner(mount.backing / "f") == (0, 0)


def test_unmapped_owners_are_an_error_where_asked_for(
    make_mount: MakeMount, backing: Path, server: Sshd
) -> None:
    make_files(backing)
    mount = make_mount("idmap=name", "nomap=error", backing=backing, server=server)
    assert owner(mount.path / "ours") == (DAEMON, DAEMON)
    with fails_with(errno.EPERM):
        os.stat(mount.path / "theirs")
    with fails_with(errno.EPERM):
        os.chown(mount.path / "ours", 2, -1)


def test_names_are_asked_for_once(
    make_mount: MakeMount, backing: Path, counting_proxy: CountingProxy
) -> None:
    for directory in range(5):
        (backing / f"d{directory}").mkdir()
        for number in range(20):
            path = backing / f"d{directory}" / f"f{number}"
            path.touch()
            os.chown(path, number, number)
    mount = make_mount("idmap=name", "dir_cache=no", backing=backing, port=counting_proxy.port)

    def look_at_all() -> dict[str, int]:
        counting_proxy.reset()
        for directory in range(5):
            for entry in os.scandir(mount.path / f"d{directory}"):
                entry.stat(follow_symlinks=False)
        return counting_proxy.read().requests

    assert look_at_all()["users-groups-by-id@openssh.com"] >= 1
    again = look_at_all()
    assert again["READDIR"] >= 5 and "users-groups-by-id@openssh.com" not in again


def test_a_note_says_who_will_own_what_is_created(make_mount: MakeMount, tmp_path: Path) -> None:
    """The login is stranger (7003), whose home must be where he may go: not below pytest's directory."""
    with TemporaryDirectory() as name:
        home = Path(name)
        os.chown(home, 7003, 7103)
        login = f"cd {home} && exec setpriv --reuid=7003 --regid=7103 --clear-groups"
        with server_with_users(tmp_path / "users", "", login) as server:
            check_notes(make_mount, home, server)


def check_notes(make_mount: MakeMount, home: Path, server: Sshd) -> None:
    """Each mount is closed while its server is there."""
    for option, words in (
        ("idmap=none", "belong to uid 7003"),
        ("allow_other", "other users create here will belong to root (uid 0)"),
    ):
        mount = make_mount(option, backing=home, server=server)
        mount.expect("note: files")
        assert words in mount.log()
        (mount.path / "f").touch()
        assert owner(mount.backing / "f") == (7003, 7103)
        mount.close()
    for option in ("idmap=name", "idmap=user"):
        mount = make_mount(option, backing=home, server=server)
        assert "note: " not in mount.log()
        assert owner(mount.path / "f") == owner(mount.path) == (0, 0)
        mount.close()
