"""Every way a mount can fail: its own status, one line, nothing left mounted."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sftpfs.errors import Failure
from sftpfs.host.daemon import INTERRUPTED_STATUS
from tests.conftest import server_options
from tests.harness.command import Terminal, environment, family_of, run
from tests.harness.mounts import mountpoints
from tests.harness.namespaces import apart
from tests.harness.processes import wait_gone
from tests.sshd import Sshd, free_port, generate_key


@pytest.fixture
def mountpoint(tmp_path: Path) -> Iterator[Path]:
    """An empty directory; nothing may be mounted on it at the end."""
    path = tmp_path / "mnt"
    path.mkdir()
    yield path
    assert str(path) not in mountpoints()


def options(sshd: Sshd, **changed: str | Path | int) -> str:
    """``-o`` text that gets in, but for what is ``changed``."""
    words = dict(word.split("=", 1) for word in server_options(sshd))
    words.update({name: str(value) for name, value in changed.items()})
    return ",".join(f"{name}={value}" for name, value in words.items())


def check(result: tuple[int, str], failure: Failure, *parts: str) -> None:
    status, errors = result
    assert status == failure.value, errors
    assert errors.startswith("sftpfs: ")
    assert errors.count("\n") == 1, errors
    for part in parts:
        assert part in errors


def test_name_not_found(sshd: Sshd, mountpoint: Path) -> None:
    check(
        run("no-such-host.invalid:", mountpoint, "-F", "none"), Failure.NAME_NOT_FOUND, "no-such-host.invalid"
    )


def test_refused(sshd: Sshd, mountpoint: Path) -> None:
    result = run("127.0.0.1:", mountpoint, "-F", "none", "-o", options(sshd, port=free_port()))
    check(result, Failure.REFUSED, "127.0.0.1", "refused")


def test_statuses_are_the_same_with_opensshs_client(sshd: Sshd, mountpoint: Path, tmp_path: Path) -> None:
    stranger = generate_key(tmp_path / "stranger")
    for host, text, failure in (
        ("root@no-such-host.invalid:", options(sshd), Failure.NAME_NOT_FOUND),
        ("root@127.0.0.1:", options(sshd, port=free_port()), Failure.REFUSED),
        ("root@127.0.0.1:", options(sshd, UserKnownHostsFile=tmp_path / "no"), Failure.HOST_KEY_UNKNOWN),
        ("root@127.0.0.1:", options(sshd, IdentityFile=stranger), Failure.AUTHENTICATION),
    ):
        result = run(host, mountpoint, "-F", "none", "-o", f"ssh_command=ssh,{text}")
        check(result, failure, "'ssh' to", "ended with status 255")


def test_timed_out(sshd: Sshd, mountpoint: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        text = options(sshd, port=port, ConnectTimeout=1)
        check(run("127.0.0.1:", mountpoint, "-F", "none", "-o", text), Failure.TIMED_OUT, "127.0.0.1", "1 s")


def test_host_key_unknown_and_nobody_to_ask(sshd: Sshd, mountpoint: Path, tmp_path: Path) -> None:
    text = options(sshd, UserKnownHostsFile=tmp_path / "none", StrictHostKeyChecking="ask")
    result = run("root@127.0.0.1:", mountpoint, "-F", "none", "-o", text)
    check(result, Failure.HOST_KEY_UNKNOWN, "127.0.0.1", "SHA256:")


def test_host_key_changed(sshd: Sshd, mountpoint: Path, tmp_path: Path) -> None:
    other = generate_key(tmp_path / "other").with_suffix(".pub").read_text()
    known = tmp_path / "known_hosts"
    known.write_text(f"# a line before\n[127.0.0.1]:{sshd.port} {other}")
    result = run("root@127.0.0.1:", mountpoint, "-F", "none", "-o", options(sshd, UserKnownHostsFile=known))
    check(result, Failure.HOST_KEY_CHANGED, "127.0.0.1", f"{known}", "line 2")


def test_authentication_failed(sshd: Sshd, mountpoint: Path, tmp_path: Path) -> None:
    stranger = generate_key(tmp_path / "stranger")
    result = run("root@127.0.0.1:", mountpoint, "-F", "none", "-o", options(sshd, IdentityFile=stranger))
    check(result, Failure.AUTHENTICATION, "root", "publickey")


def test_a_key_file_that_is_none_is_named(sshd: Sshd, mountpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "garbage").write_text("no key\n")
    for name, why in (("garbage", "it holds no key that can be read"), ("none", "No such file or directory")):
        path = tmp_path / name
        result = run("root@127.0.0.1:", mountpoint, "-F", "none", "-o", options(sshd, IdentityFile=path))
        check(result, Failure.AUTHENTICATION, f"the key {path} cannot be used: {why}")


def test_no_sftp_subsystem(mountpoint: Path, tmp_path: Path) -> None:
    with Sshd(tmp_path / "plain", subsystem=None) as plain:
        result = run("root@127.0.0.1:", mountpoint, "-F", "none", "-o", options(plain))
    check(result, Failure.NO_SFTP, "sftp")


@pytest.mark.parametrize(
    ("name", "part"), [("gone", "does not exist on 127.0.0.1"), ("file", "is not a directory on 127.0.0.1")]
)
@pytest.mark.parametrize("foreground", [[], ["-f"]])
def test_remote_directory(
    sshd: Sshd, mountpoint: Path, tmp_path: Path, name: str, part: str, foreground: list[str]
) -> None:
    (tmp_path / "file").touch()
    result = run(
        f"root@127.0.0.1:{tmp_path}/{name}", mountpoint, "-F", "none", "-o", options(sshd), *foreground
    )
    check(result, Failure.REMOTE_DIRECTORY, part, f"{tmp_path}/{name}")


def test_mountpoint_missing_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check(run("host:", tmp_path / "gone"), Failure.MOUNTPOINT, "does not exist", "mkdir")
    check(run("host:", tmp_path / "file"), Failure.MOUNTPOINT, "is not a directory")


def test_already_mounted(sshd: Sshd, mountpoint: Path, tmp_path: Path) -> None:
    words = (f"root@127.0.0.1:{tmp_path}", mountpoint, "-F", "none", "-o", options(sshd))
    assert run(*words) == (0, "")
    family = family_of(mountpoint)
    try:
        check(run(*words), Failure.MOUNTPOINT, "already mounted", f"sftpfs umount {mountpoint}")
        assert str(mountpoint) in mountpoints()
    finally:
        subprocess.run(["umount", str(mountpoint)], check=True, timeout=30)
    assert not wait_gone(family, 20)


@pytest.mark.parametrize("log", [False, True])
def test_another_directory_over_a_mount_is_told(
    sshd: Sshd, mountpoint: Path, tmp_path: Path, log: bool
) -> None:
    """Allowed, as with sshfs; but hardly what was meant. Told to who mounts, wherever the log goes."""
    (tmp_path / "other").mkdir()
    more = (mountpoint, "-F", "none", "-o", options(sshd))
    assert run(f"root@127.0.0.1:{tmp_path}", *more) == (0, "")
    try:
        file = ("-o", f"log_file={tmp_path}/log") if log else ()
        status, told = run(f"root@127.0.0.1:{tmp_path}/other", *more, *file)
        assert status == 0
        warning = f"root@127.0.0.1:{tmp_path} is mounted on {mountpoint} as well, and covered while"
        assert told.count(warning) == 1
        assert not log or warning in (tmp_path / "log").read_text()
        status, told = run(f"root@127.0.0.1:{tmp_path}/missing", *more)
        assert status == 10  # and nothing is said to have happened that did not
        assert "covered" not in told
        assert run("umount", mountpoint) == (0, "")  # waits for its process
    finally:
        assert run("umount", mountpoint) == (0, "")
    assert str(mountpoint) not in mountpoints()


def test_no_fuse_device(mountpoint: Path, tmp_path: Path) -> None:
    """In a mount namespace where /dev is empty."""
    empty = tmp_path / "dev"
    empty.mkdir()
    prefix = apart(f'mount --bind {empty} /dev; exec "$@"')
    check(run("host:", mountpoint, prefix=prefix), Failure.FUSE, "/dev/fuse does not exist", "modprobe fuse")


PLAIN_USER = ["unshare", "--user"]
"""A user namespace without a map: owner of root's files, without root's rights."""


def test_fusermount3_missing(mountpoint: Path, tmp_path: Path) -> None:
    path = os.pathsep.join(
        part
        for part in os.environ["PATH"].split(os.pathsep)
        if not os.path.exists(os.path.join(part, "fusermount3"))
    )
    unshare = shutil.which("unshare")
    assert unshare
    result = run("host:", mountpoint, prefix=[unshare, "--user"], env=environment(PATH=path))
    check(result, Failure.FUSE, "fusermount3 is not installed", "apt install fuse3")


@pytest.mark.parametrize("option", ["allow_other", "allow_root"])
def test_allow_other_as_a_plain_user(mountpoint: Path, tmp_path: Path, option: str) -> None:
    """With an /etc/fuse.conf that does not allow it."""
    (tmp_path / "fuse.conf").write_text("#user_allow_other\n")
    script = f'mount --bind {tmp_path}/fuse.conf /etc/fuse.conf; exec "$@"'
    prefix = [*apart(script), *PLAIN_USER]
    result = run("host:", mountpoint, "-o", option, prefix=prefix)
    check(result, Failure.FUSE, f"option {option} is not allowed", "user_allow_other", "/etc/fuse.conf")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["-o", "reconect"], ["unknown option reconect", "reconnect"]),
        (["-o", "port=x"], ["option port", "number"]),
        (["-o", "passive,vsock=1:1"], ["passive and vsock"]),
        (["--frobnicate"], ["unknown option --frobnicate"]),
    ],
)
def test_wrong_options(mountpoint: Path, words: list[str], parts: list[str]) -> None:
    check(run("host:", mountpoint, *words), Failure.USAGE, *parts)


def test_configuration_file_missing(mountpoint: Path, tmp_path: Path) -> None:
    result = run("127.0.0.1:", mountpoint, "-F", tmp_path / "no-config")
    check(result, Failure.CONFIGURATION, "no-config")


def test_id_file_malformed_or_missing(sshd: Sshd, mountpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "uids").write_text("root:0\nnonsense\n")
    for name, parts in (("uids", ["uids", "line 2"]), ("none", ["none"])):
        words = f"{options(sshd)},idmap=file,uidfile={tmp_path / name}"
        result = run("127.0.0.1:", mountpoint, "-o", words)
        check(result, Failure.CONFIGURATION, *parts)
        assert "Errno" not in result[1]


def test_passive_without_a_server(mountpoint: Path) -> None:
    check(run("host:", mountpoint, "-o", "passive"), Failure.TRANSPORT, "passive: standard input leads to no")


@pytest.mark.parametrize("words", [["status", "m"], ["umount", "m"], ["refresh", "m"], ["host:", "m"]])
def test_a_current_directory_that_was_removed(words: list[str]) -> None:
    shell = ["sh", "-c", 'cd "$(mktemp -d)" && rmdir "$PWD" && exec "$@"', "sh"]
    result = run(*words, prefix=shell, env=environment(PYTHONSAFEPATH="1"))
    check(result, Failure.MOUNTPOINT, "m cannot be found: the current directory was removed")


def test_ctrl_c_while_the_program_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "difflib.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    env = environment()
    env["PYTHONPATH"] = f"{tmp_path}:{env['PYTHONPATH']}"
    assert run("status", env=env) == (INTERRUPTED_STATUS, "sftpfs: interrupted\n")


def test_ctrl_c_at_a_prompt(sshd: Sshd, mountpoint: Path, tmp_path: Path) -> None:
    text = options(sshd, UserKnownHostsFile=tmp_path / "known", StrictHostKeyChecking="ask")
    with Terminal("root@127.0.0.1:", mountpoint, "-F", "none", "-o", text) as terminal:
        terminal.wait_for("SHA256:")
        terminal.wait_for("?")
        terminal.type("\x03")
        assert terminal.finish() == 130
        assert "interrupted" in terminal.output
        assert "Traceback" not in terminal.output
        settings = subprocess.run(
            ["stty", "-F", terminal.slave_name, "-a"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
        assert " echo " in settings
    assert not (tmp_path / "known").exists()


@pytest.mark.parametrize("foreground", [[], ["-f"]])
def test_no_is_no(sshd: Sshd, mountpoint: Path, tmp_path: Path, foreground: list[str]) -> None:
    text = options(sshd, UserKnownHostsFile=tmp_path / "known", StrictHostKeyChecking="ask")
    with Terminal("root@127.0.0.1:", mountpoint, "-F", "none", "-o", text, *foreground) as terminal:
        terminal.wait_for("SHA256:")
        terminal.wait_for("?")
        terminal.type("no\n")
        assert terminal.finish() == Failure.HOST_KEY_UNKNOWN.value


def test_ctrl_c_while_connecting(sshd: Sshd, mountpoint: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        text = options(sshd, port=silent.getsockname()[1])
        with Terminal("127.0.0.1:", mountpoint, "-F", "none", "-o", text) as terminal:
            connection, _ = silent.accept()  # the client is waiting for an answer
            with connection:
                terminal.type("\x03")
                assert terminal.finish() == 130
            assert "interrupted" in terminal.output


def test_the_server_loses_patience_at_a_prompt(mountpoint: Path, tmp_path: Path) -> None:
    """What is said of it does not stand behind the question."""
    key = generate_key(tmp_path / "locked", passphrase="secret")
    with Sshd(tmp_path / "hurried", config_extra="LoginGraceTime 2") as hurried:
        hurried.authorize(Path(f"{key}.pub"))
        text = options(hurried, IdentityFile=key)
        with Terminal("root@127.0.0.1:", mountpoint, "-F", "none", "-o", text) as terminal:
            terminal.wait_for("Enter passphrase")
            assert terminal.finish() == Failure.TRANSPORT.value
            told = [line for line in terminal.output.splitlines() if "LoginGraceTime" in line]
            assert len(told) == 1 and told[0].startswith("sftpfs: "), terminal.output
