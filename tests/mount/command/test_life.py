"""The command's life: ready means usable, every way to end leaves nothing behind and all data written."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sftpfs.host.daemon import SHORTEST_CORE
from tests.conftest import server_options
from tests.harness import mounts
from tests.harness.command import (
    Foreground,
    Terminal,
    assert_gone,
    daemon_of,
    environment,
    family_of,
    run,
)
from tests.harness.mounts import mountpoints
from tests.harness.waiting import eventually
from tests.sshd import SFTP_SERVER, Sshd, generate_key

STOPS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


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

    def start(self, *more: str | Path) -> set[int]:
        """Mount as a daemon; the pids of its family."""
        assert run(*self.words, *more) == (0, "")
        assert (self.path / "hello").read_text() == "hello\n"
        return family_of(self.path)


@pytest.fixture
def site(sshd: Sshd, tmp_path: Path) -> Iterator[Site]:
    made = Site(sshd, tmp_path)
    yield made
    if str(made.path) in mountpoints():
        family = family_of(made.path)
        mounts.unmount_lazily(str(made.path))
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


@pytest.mark.parametrize("command", [["umount"], ["fusermount3", "-u"]])
def test_daemon_unmounted_by_hand(site: Site, command: list[str]) -> None:
    family = site.start()
    assert len(family) > 1
    (site.path / "new").write_bytes(b"x" * 3_000_000)
    subprocess.run([*command, str(site.path)], check=True, timeout=30)
    assert_gone(site.path, family)
    assert (site.backing / "new").read_bytes() == b"x" * 3_000_000


@pytest.mark.parametrize("number", STOPS)
def test_daemon_ended_by_a_signal(site: Site, number: int) -> None:
    family = site.start()
    (site.path / "new").write_bytes(b"y" * 100_000)
    os.kill(daemon_of(site.path), number)
    assert_gone(site.path, family)
    assert (site.backing / "new").read_bytes() == b"y" * 100_000


def test_daemon_leaves_terminal_session_and_directory(site: Site) -> None:
    family = site.start()
    pid = daemon_of(site.path)
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
    subprocess.run(["umount", str(site.path)], check=True, timeout=30)
    assert_gone(site.path, family)


@pytest.mark.parametrize("number", STOPS)
def test_foreground_ended_by_a_signal(site: Site, number: int) -> None:
    with Foreground(site.path, *site.words) as mount:
        mount.wait_mounted()
        (site.path / "new").write_bytes(b"z" * 100_000)
        mount.signal(number)
        status, errors = mount.finish()
    assert status == 0, errors
    assert "rror" not in errors
    assert (site.backing / "new").read_bytes() == b"z" * 100_000
    assert str(site.path) not in mountpoints()


def test_foreground_ends_with_status_zero_when_unmounted(site: Site) -> None:
    with Foreground(site.path, *site.words) as mount:
        mount.wait_mounted()
        eventually(lambda: (site.path / "hello").exists())
        subprocess.run(["fusermount3", "-u", str(site.path)], check=True, timeout=30)
        status, errors = mount.finish()
    assert status == 0, errors


def test_a_busy_mount_ends_on_sigterm_with_all_data_written(site: Site, tmp_path: Path) -> None:
    """And says whom it cut off."""
    log = tmp_path / "log"
    family = site.start("-o", f"log_file={log}")
    data = os.urandom(2_000_000)
    file = os.open(site.path / "open", os.O_WRONLY | os.O_CREAT)
    try:
        assert os.write(file, data) == len(data)
        os.kill(daemon_of(site.path), signal.SIGTERM)
        assert_gone(site.path, family)
        assert re.search(rf"is in use by \S+ \({os.getpid()}\)", log.read_text())
        assert (site.backing / "open").read_bytes() == data
    finally:
        with suppress(OSError):  # what it was open on is gone
            os.close(file)


def test_a_file_open_past_unmount_is_written(site: Site) -> None:
    """Busy, detached by umount -l: the process lives while somebody is inside, and ends after."""
    family = site.start()
    with open(site.path / "open", "wb", buffering=0) as file:
        subprocess.run(["umount", "-l", str(site.path)], check=True, timeout=30)
        file.write(b"late")
    assert_gone(site.path, family)
    assert (site.backing / "open").read_bytes() == b"late"


def test_data_that_cannot_be_written_is_told_by_the_status(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as server:
        site = Site(server, tmp_path)
        with Foreground(site.path, *site.words, "-o", "timeout=2,ServerAliveInterval=1") as mount:
            mount.wait_mounted()
            file = os.open(site.path / "lost", os.O_WRONLY | os.O_CREAT)
            try:
                server.stop()
                os.write(file, b"x")
                mount.signal(signal.SIGTERM)
                status, errors = mount.finish()
            finally:
                with suppress(OSError):  # as it should: the data is lost
                    os.close(file)
    assert status == 74, errors
    assert "data lost" in errors
    assert "lost" in errors
    assert "Traceback" not in errors


def test_log_file_and_statistics(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "log"
    family = site.start("-o", f"log_file={log}", "-v", "-o", "nonempty,x-foo")
    os.kill(daemon_of(site.path), signal.SIGUSR1)
    whole = re.compile("statistics ({.*})\n")
    (line,) = eventually(lambda: whole.findall(log.read_text()))
    statistics = json.loads(line)
    assert statistics["pool"]["maximum"] == 4
    assert "mount" in statistics
    subprocess.run(["umount", str(site.path)], check=True, timeout=30)
    assert_gone(site.path, family)
    text = log.read_text()
    assert "option nonempty has no effect" in text
    assert f"mounted root@127.0.0.1:{site.backing} on {site.path}" in text
    assert f"unmounted {site.path}" in text


CALLER = 'umask 022; ulimit -c unlimited; exec 9>"$0"; flock 9; exec "$@"'


@pytest.mark.parametrize("options", ["reconnect", "sshfs_debug"])
def test_a_daemon_leaves_nothing_of_its_callers_and_no_memory(
    site: Site, tmp_path: Path, options: str
) -> None:
    """Neither a lock nor a pipe (``run`` reads its end); a log for its owner, and no core with a password."""
    lock, log = tmp_path / "lock", tmp_path / "log"
    words = [*site.words, "-o", f"log_file={log},{options}"]
    assert run(*words, prefix=["sh", "-c", CALLER, str(lock)]) == (0, "")
    subprocess.run(["flock", "--nonblock", lock, "true"], check=True)
    assert log.stat().st_mode & 0o777 == 0o600
    family = family_of(site.path)
    assert len(family) > 2
    whole = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    expected = whole if options == "sshfs_debug" else (SHORTEST_CORE, SHORTEST_CORE)
    assert {resource.prlimit(pid, resource.RLIMIT_CORE) for pid in family} == {expected}
    subprocess.run(["umount", str(site.path)], check=True, timeout=30)
    assert_gone(site.path, family)


def test_a_full_disk_under_the_log_does_not_end_the_mount(site: Site) -> None:
    family = site.start("-o", "log_file=/dev/full")
    os.kill(daemon_of(site.path), signal.SIGUSR1)
    os.kill(daemon_of(site.path), signal.SIGUSR1)
    assert (site.path / "hello").read_text() == "hello\n"
    subprocess.run(["umount", str(site.path)], check=True, timeout=30)
    assert_gone(site.path, family)


def test_verbose_explains_options_without_effect(site: Site) -> None:
    with Foreground(site.path, *site.words, "-v", "-o", "nonempty") as mount:
        mount.wait_mounted()
        assert (site.path / "hello").exists()  # it serves: before, a signal is an interruption
        mount.signal(signal.SIGTERM)
        status, errors = mount.finish()
    assert status == 0
    assert "option nonempty has no effect" in errors


def test_answering_yes_mounts_and_stores_the_key(site: Site, sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known"
    more = ["-o", f"UserKnownHostsFile={known},StrictHostKeyChecking=ask"]
    words = [word for word in server_options(sshd) if not word.startswith(("UserKnown", "Strict"))]
    with Terminal(*site.words[:4], "-o", ",".join(words), *more) as terminal:
        terminal.wait_for("SHA256:")
        terminal.wait_for("?")
        terminal.type("yes\n")
        assert terminal.finish() == 0, terminal.output
    family = family_of(site.path)
    assert (site.path / "hello").read_text() == "hello\n"
    assert sshd.public_host_key().split()[1] in known.read_text()
    subprocess.run(["umount", str(site.path)], check=True, timeout=30)
    assert_gone(site.path, family)


def test_delay_connect(tmp_path: Path) -> None:
    """The mount is there while the server does not answer yet."""
    with Sshd(tmp_path / "sshd") as server:
        site = Site(server, tmp_path)
        server.freeze()
        assert run(*site.words, "-o", "delay_connect") == (0, "")
        server.thaw()
        assert (site.path / "hello").read_text() == "hello\n"
        family = family_of(site.path)
        subprocess.run(["umount", str(site.path)], check=True, timeout=30)
        assert_gone(site.path, family)


def test_a_root_that_is_a_link(site: Site, tmp_path: Path) -> None:
    """Not resolved as it is mounted, for the server is asked later: the root is what it leads to."""
    (tmp_path / "link").symlink_to(site.backing)
    words = [f"root@127.0.0.1:{tmp_path / 'link'}", *site.words[1:]]
    assert run(*words, "-o", "delay_connect,dir_cache=no") == (0, "")
    assert os.listdir(site.path) == ["hello"]
    assert site.path.is_dir() and (site.path / "hello").read_text() == "hello\n"
    family = family_of(site.path)
    subprocess.run(["umount", str(site.path)], check=True, timeout=30)
    assert_gone(site.path, family)


def test_home_directory_forms(site: Site, sshd: Sshd) -> None:
    home = Path.home()
    options = site.words[-1]
    for spec in ("root@127.0.0.1:", "root@127.0.0.1:~", f"sftp://root@127.0.0.1:{sshd.port}/~/"):
        assert run(spec, site.path, "-F", "none", "-o", f"ro,{options}") == (0, "")
        family = family_of(site.path)
        assert sorted(os.listdir(site.path)) == sorted(os.listdir(home))
        subprocess.run(["umount", str(site.path)], check=True, timeout=30)
        assert_gone(site.path, family)


def test_openssh_as_transport(site: Site) -> None:
    family = site.start("-o", "ssh_command=ssh -F none")
    subprocess.run(["umount", str(site.path)], check=True, timeout=30)
    assert_gone(site.path, family)


def test_passive(site: Site) -> None:
    """The server on standard input and output, as ``dpipe`` or a parent process connects it."""
    to_server, from_us = os.pipe()
    to_us, from_server = os.pipe()
    server = subprocess.Popen(
        [SFTP_SERVER, "-e"], stdin=to_server, stdout=from_server, stderr=subprocess.DEVNULL
    )
    os.close(to_server)
    os.close(from_server)
    try:
        words = (f":{site.backing}", site.path, "-o", "passive")
        with Foreground(site.path, *words, stdin=to_us, stdout=from_us) as mount:
            os.close(to_us)
            os.close(from_us)
            mount.wait_mounted()
            assert (site.path / "hello").read_text() == "hello\n"
            mount.signal(signal.SIGTERM)
            status, errors = mount.finish()
        assert status == 0, errors
        assert server.wait(10) == 0
    finally:
        server.kill()
        server.wait(10)


def test_without_a_terminal_but_with_a_display_an_askpass_program_is_asked(
    sshd: Sshd, site: Site, tmp_path: Path
) -> None:
    key = generate_key(tmp_path / "locked", passphrase="open sesame")
    sshd.authorize(Path(f"{key}.pub"))
    program = tmp_path / "askpass"
    program.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/asked\necho open sesame\n')
    program.chmod(0o755)
    words = [str(word).replace(str(sshd.client_key), str(key)) for word in site.words]
    there = environment(SSH_ASKPASS=str(program), DISPLAY=":0")
    status, errors = run(*words, env={**there, "SSH_ASKPASS_REQUIRE": "never"})
    assert status == 8 and "needs its passphrase" in errors
    assert not (tmp_path / "asked").exists()
    assert run(*words, env=there) == (0, "")
    assert (site.path / "hello").read_text() == "hello\n"
    assert (tmp_path / "asked").read_text() == f"Enter passphrase for key '{key}': \n"
    subprocess.run(["umount", str(site.path)], check=True, timeout=30)


@pytest.mark.parametrize(("flag", "protocol"), [("-v", False), ("-d", True)])
def test_the_steps_and_the_protocol_are_told(site: Site, flag: str, protocol: bool) -> None:
    with Foreground(site.path, *site.words, flag) as mount:
        mount.wait_mounted()
        assert (site.path / "hello").read_text() == "hello\n"
        with suppress(FileNotFoundError):
            os.rename(site.path / "gone", site.path / "nowhere")
        assert run("umount", site.path) == (0, "")
        status, told = mount.finish()
    assert status == 0
    steps = (
        "connecting to 127.0.0.1 port",
        "the host key is the one known: ED25519 SHA256:",
        "offering ssh-ed25519 key",
        "logged in as root@127.0.0.1",
        f"the directory on the server is {site.backing}",
        f"mounted root@127.0.0.1:{site.backing} on {site.path}",
        f"unmounted {site.path}",
    )
    places = [told.index(step) for step in steps]
    assert places == sorted(places)
    assert (" → open " in told and f" → open '{site.backing}/hello'" in told) is protocol
    assert (" ← open: " in told) is protocol


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_is_not_the_number_of_the_mount(site: Site, closed: str) -> None:
    """What is opened first would get the number the daemon puts /dev/null on."""
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    assert run(*site.words, prefix=shell) == (0, "")
    assert (site.path / "hello").read_text() == "hello\n"
    family = family_of(site.path)
    assert run("umount", site.path, prefix=shell) == (0, "")
    assert_gone(site.path, family)
