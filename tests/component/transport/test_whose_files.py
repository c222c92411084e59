"""Whose ssh_config and keys are believed, beside ssh with the same files.

ssh takes no name for its files, so those of a test are put in their place in a mount namespace.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sftpfs.errors import Failure
from tests.harness.namespaces import apart
from tests.sshd import Sshd, generate_key
from tests.transport_helpers import (
    both_let_in,
    both_refuse,
    configure,
    connector,
    endpoint_of,
    failure_of,
    run,
    ssh_beside,
)

REPOSITORY = Path(__file__).parents[3]
LIMIT = 20.0
NOBODY = 65534

SCRIPT = """
mount --bind "$1/ssh_config" /etc/ssh/ssh_config
mount --bind "$1/passwd" /etc/passwd; mount --bind "$1/group" /etc/group
shift; exec "$@"
"""

OURS = """
import sys
from sftpfs.errors import MountError
from sftpfs.transport.ssh_config.reader import HostConfig
try:
    HostConfig("host").add_files(sys.argv[1] if len(sys.argv) > 1 else None)
except MountError as error:
    sys.exit(f"{error.failure.name} {error.message}")
"""


class Case(NamedTuple):
    """A file with a command in it, where it is, and whose."""

    place: str
    mode: int = 0o600
    uid: int = 0
    gid: int = 0
    passwd: str = ""
    group: str = ""


GROUP_7 = {"mode": 0o664, "gid": 7}
JOE = "joe:x:1000:1000::/:/bin/sh\n"
CASES = [
    *(Case("user", mode) for mode in (0o600, 0o644, 0o664, 0o646, 0o666, 0o602)),
    *(Case("user", mode, NOBODY, NOBODY) for mode in (0o600, 0o644)),
    Case("user", **GROUP_7),
    Case("user", **GROUP_7, group="g:x:7:\n"),
    Case("user", **GROUP_7, group="g:x:7:root\n"),
    Case("user", **GROUP_7, group="g:x:7:root,joe\n", passwd=JOE),
    Case("user", **GROUP_7, group="g:x:7:joe\n", passwd=JOE),
    Case("user", **GROUP_7, group="g:x:7:root\n", passwd=JOE.replace("1000::", "7::")),
    Case("user", 0o664, passwd=JOE.replace("1000::", "0::")),
    *(Case("included", mode, uid) for mode, uid in ((0o644, 0), (0o666, 0), (0o644, NOBODY))),
    *(Case("given", mode, uid) for mode, uid in ((0o666, 0), (0o644, NOBODY))),
    *(Case("included by given", mode, uid) for mode, uid in ((0o644, 0), (0o666, 0), (0o644, NOBODY))),
    *(Case("system", mode, uid) for mode, uid in ((0o666, 0), (0o644, NOBODY))),
    *(Case("included by system", mode, uid) for mode, uid in ((0o644, 0), (0o666, 0), (0o644, NOBODY))),
]


class Place:
    """The files of a case; ``mark`` is made by whoever runs the command in them."""

    def __init__(self, directory: Path, case: Case) -> None:
        self.directory = directory
        self.mark = directory / "mark"
        (directory / ".ssh").mkdir(mode=0o700)
        system, given = directory / "ssh_config", directory / "given"
        for file in (system, given, directory / ".ssh/config"):
            file.write_text("")
            file.chmod(0o600)
        (directory / "passwd").write_text(f"root:x:0:0:root:{directory}:/bin/sh\n{case.passwd}")
        (directory / "group").write_text(f"root:x:0:\n{case.group}")
        self.words = ["-F", str(given)] if "given" in case.place else []
        file = given if self.words else system if "system" in case.place else directory / ".ssh/config"
        if "included" in case.place:
            file.write_text(f"Include {directory}/more\n")
            file = directory / "more"
        file.write_text(f'Match exec "touch {self.mark}"\n')
        file.chmod(case.mode)
        os.chown(file, case.uid, case.gid)

    def run(self, *words: str, **environment: str) -> tuple[int, str, bool]:
        """Run a command with these files: status, what it says, and whether the command in them was run."""
        self.mark.unlink(missing_ok=True)
        done = subprocess.run(
            [*apart(SCRIPT), str(self.directory), *words],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        return done.returncode, done.stderr.strip(), self.mark.exists()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.place} {case.mode:o} {case.uid} {case[3:]}")
def test_a_file_others_may_write_is_refused_where_ssh_refuses_it(tmp_path: Path, case: Case) -> None:
    place = Place(tmp_path, case)
    _, theirs, ssh_ran = place.run("ssh", *place.words, "-G", "host")
    assert ssh_ran is ("Bad owner or permissions" not in theirs), theirs
    status, told, ran = place.run(sys.executable, "-c", OURS, *place.words[1:])
    assert ran is ssh_ran, told
    if ran:
        assert (status, told) == (0, "")
    else:
        assert told == f"CONFIGURATION {theirs}"


@pytest.mark.parametrize("words", [(), ("-o", "ssh_command=ssh")])
def test_the_status_and_words_of_the_command(tmp_path: Path, words: tuple[str, ...]) -> None:
    place = Place(tmp_path, Case("user", 0o666))
    (tmp_path / "mnt").mkdir()
    command = [sys.executable, "-m", "sftpfs", "host.invalid:/", str(tmp_path / "mnt"), *words]
    status, told, ran = place.run(*command)
    assert status == Failure.CONFIGURATION.value and not ran
    assert f"Bad owner or permissions on {tmp_path}/.ssh/config" in told


def test_nothing_of_another_user_whose_environment_we_have(tmp_path: Path) -> None:
    """As ``sudo -E`` and su leave it: his files are his own, in order and not for us."""
    (tmp_path / ".ssh").mkdir(mode=0o700)
    mark = tmp_path / "mark"
    (tmp_path / ".ssh/config").write_text(f'Match exec "touch {mark}"\nProxyCommand touch {mark}\n')
    for path in (tmp_path, tmp_path / ".ssh", tmp_path / ".ssh/config"):
        os.chown(path, NOBODY, NOBODY)
    (tmp_path / "mnt").mkdir()
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    for command in (
        ["ssh", "-o", "BatchMode=yes", "host.invalid", "true"],
        [sys.executable, "-m", "sftpfs", "host.invalid:/", str(tmp_path / "mnt")],
    ):
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode and not mark.exists(), done.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.mark.parametrize(
    ("mode", "passphrase"),
    [
        *((mode, "") for mode in (0o600, 0o400, 0o640, 0o604, 0o644, 0o601)),
        (0o600, "secret"),
        (0o644, "secret"),
    ],
)
def test_a_key_others_may_get_at_is_passed_over(
    server: Sshd, tmp_path: Path, mode: int, passphrase: str
) -> None:
    key = generate_key(tmp_path / "key", passphrase=passphrase)
    server.authorize(tmp_path / "key.pub")
    key.chmod(mode)
    alone = configure(server, ("IdentityFile", str(key)), ("IdentityAgent", "none"))
    if mode & 0o077:
        told = both_refuse(server, alone, Failure.AUTHENTICATION)
        assert f"{key} cannot be used: UNPROTECTED PRIVATE KEY FILE, permissions {mode:04o}" in told
    elif not passphrase:
        both_let_in(server, alone)
    else:
        error = failure_of(alone, endpoint_of(server))
        assert error.failure is Failure.AUTHENTICATION and "UNPROTECTED" not in error.message
    others = (("IdentityFile", str(key)), ("IdentityFile", str(server.client_key)))
    both_let_in(server, configure(server, *others))


@pytest.mark.parametrize("first", [True, False])
def test_who_mounts_is_told_of_a_key_that_was_passed_over(
    server: Sshd, tmp_path: Path, caplog: pytest.LogCaptureFixture, first: bool
) -> None:
    """Once for all connections; and as with ssh, where it came before the one that let us in."""
    key = generate_key(tmp_path / "key")
    server.authorize(tmp_path / "key.pub")
    key.chmod(0o644)
    both = (("IdentityFile", str(key)), ("IdentityFile", str(server.client_key)))
    config = configure(server, *(both if first else reversed(both)))

    async def check() -> None:
        async with connector(config, endpoint_of(server)) as made:
            for _ in range(2):
                await made.connect(interactive=False)

    run(check)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    words = f"the key {key} cannot be used: UNPROTECTED PRIVATE KEY FILE, permissions 0644 are too open"
    assert told == ([words] if first else [])
    ssh = ssh_beside(server, config)
    assert ssh.returncode == 0
    assert ("UNPROTECTED PRIVATE KEY FILE" in ssh.stderr) is first


def test_a_key_of_another_user_is_his_to_keep(server: Sshd, tmp_path: Path) -> None:
    """Root may read it whatever its mode says; ssh does not look."""
    key = generate_key(tmp_path / "key")
    server.authorize(tmp_path / "key.pub")
    key.chmod(0o644)
    os.chown(key, NOBODY, NOBODY)
    config = configure(server, ("IdentityFile", str(key)))
    both_let_in(server, config)
