"""A server that refuses us, or is no longer the one it was, as a connection is made again."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness import processes
from tests.harness.command import Foreground
from tests.harness.mounts import Mount, in_time
from tests.harness.outage import OUTAGE, answers
from tests.harness.waiting import eventually
from tests.sshd import Sshd, free_port, generate_key

pytestmark = pytest.mark.limit(120)

SLACK = 20.0
"""Seconds on top of a deadline on a busy machine: what is tested is that operations end."""

AT_ONCE = ("dir_cache=no", "ServerAliveInterval=1", "ServerAliveCountMax=1")
"""What is tested is the server's answer, not a lease; a silent connection is dead after two seconds."""

NOTICED = 15.0
"""Seconds within which a server that is the right one again is used, also on a busy machine."""

REFUSED = OUTAGE + "|refused|has changed"


def test_the_key_is_no_longer_accepted(tmp_path: Path, make_mount: MakeMount, backing: Path) -> None:
    (backing / "file").write_bytes(b"content")
    with Sshd(tmp_path / "own-sshd") as server:
        mount = make_mount(*AT_ONCE, server=server, backing=backing)
        mount.expect(REFUSED)
        server.authorized_keys.write_text("")
        server.drop_connections()
        for _ in range(2):
            outcome, _ = in_time(lambda: os.stat(mount.path / "file"), SLACK)
            assert isinstance(outcome, OSError) and outcome.errno == errno.EACCES
        assert mount.log().count("requests fail until it is back") == 1
        mount.unmount()


def test_the_host_key_changed(tmp_path: Path, make_mount: MakeMount, backing: Path) -> None:
    """Refused and told, each request fails: it may be anybody. The right one is soon noticed."""
    (backing / "file").write_bytes(b"content")
    with Sshd(tmp_path / "own-sshd") as server:
        mount = make_mount(*AT_ONCE, server=server, backing=backing)
        mount.expect(REFUSED)
        with open(mount.path / "file", "rb", buffering=0) as file:
            server.stop()
            for path in (server.host_keys[0], Path(f"{server.host_keys[0]}.pub")):
                path.rename(f"{path}.right")
            generate_key(server.host_keys[0])
            server.start()
            for action in (lambda: os.stat(mount.path / "file"), lambda: os.pread(file.fileno(), 7, 0)):
                outcome, _ = in_time(action, SLACK)
                assert isinstance(outcome, OSError) and outcome.errno == errno.EACCES
        told = [line for line in mount.log().splitlines() if "host key" in line and "has changed" in line]
        assert len(told) == 1, mount.log()
        server.stop()
        for path in (server.host_keys[0], Path(f"{server.host_keys[0]}.pub")):
            Path(f"{path}.right").rename(path)
        server.start()
        eventually(lambda: answers(mount, SLACK), NOTICED, "the right key noticed")
        mount.unmount()


def test_the_key_of_the_first_login_is_held_to_without_known_hosts_and_another_is_refused(
    tmp_path: Path, make_mount: MakeMount, backing: Path
) -> None:
    """The mount alone knows by then what it logged in to."""
    (backing / "file").write_bytes(b"content")
    with Sshd(tmp_path / "own-sshd") as server:
        mount = make_mount(*AT_ONCE, server=server, backing=backing)
        mount.expect(REFUSED)
        server.known_hosts.unlink()
        server.drop_connections()
        eventually(lambda: answers(mount, SLACK), NOTICED, "the same key taken")
        server.stop()
        pair = [server.host_keys[0], Path(f"{server.host_keys[0]}.pub")]
        for path in pair:
            path.rename(f"{path}.right")
        generate_key(server.host_keys[0])
        server.start()
        outcome, _ = in_time(lambda: os.stat(mount.path / "file"), SLACK)
        assert isinstance(outcome, OSError) and outcome.errno == errno.EACCES
        told = [line for line in mount.log().splitlines() if "has changed since the mount was made" in line]
        assert len(told) == 1, mount.log()
        server.stop()
        for path in pair:
            Path(f"{path}.right").rename(path)
        server.start()
        eventually(lambda: answers(mount, SLACK), NOTICED, "the right key noticed")
        mount.unmount()


@pytest.mark.parametrize("strict", ["accept-new", "no"])
def test_a_mount_that_writes_no_key_down_takes_no_other(tmp_path: Path, backing: Path, strict: str) -> None:
    (backing / "file").write_bytes(b"content")
    with Sshd(tmp_path / "own-sshd") as server:
        changed = {"UserKnownHostsFile": "none", "StrictHostKeyChecking": strict}
        options = [f"{name}={value}" for name, value in {**dict(server.ssh_options()), **changed}.items()]
        options += [f"port={server.port}", *AT_ONCE]
        with Mount(f"{server.host}:{backing}", tmp_path / "mnt", backing, options) as mount:
            mount.expect(REFUSED)
            server.drop_connections()
            eventually(lambda: answers(mount, SLACK), NOTICED, "the same key taken")
            server.stop()
            for path in (server.host_keys[0], Path(f"{server.host_keys[0]}.pub")):
                path.unlink()
            generate_key(server.host_keys[0])
            server.start()
            outcome, _ = in_time(lambda: os.stat(mount.path / "file"), SLACK)
            assert isinstance(outcome, OSError) and outcome.errno == errno.EACCES
            assert mount.log().count("has changed since the mount was made") == 1


@contextmanager
def password_server(key: Path, port: int, secret: str) -> Iterator[None]:
    script = Path(__file__).parent.parent / "peer_server.py"
    command = [sys.executable, str(script), str(key), "password", str(port), secret]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline().strip() == str(port)
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def test_the_password_is_no_longer_valid(tmp_path: Path, backing: Path) -> None:
    """It is tried once more, and nobody is asked."""
    (backing / "file").write_bytes(b"content")
    path, key, port = tmp_path / "mnt", generate_key(tmp_path / "host_key"), free_port()
    path.mkdir()
    hosts = tmp_path / "hosts"
    hosts.write_text(f"[127.0.0.1]:{port} {Path(f'{key}.pub').read_text()}")
    options = ["password_stdin", f"port={port}", f"UserKnownHostsFile={hosts}", "IdentityFile=none"]
    options += ["IdentityAgent=none", *AT_ONCE]
    words = [f"someone@127.0.0.1:{backing}", path, "-F", "none", "-o", ",".join(options)]
    reading, writing = os.pipe()
    os.write(writing, b"first\n")
    os.close(writing)
    with password_server(key, port, "first"):
        mount = Foreground(path, *words, stdin=reading)
        os.close(reading)
        with mount:
            mount.wait_mounted()
            assert (path / "file").read_bytes() == b"content"
            stop_and_change = password_server(key, port, "second")
            processes.kill_tree(next(iter(peers(key))))
            with stop_and_change:
                outcome, _ = in_time(lambda: os.stat(path / "file"), SLACK)
                assert isinstance(outcome, OSError) and outcome.errno == errno.EACCES
                mount.signal(signal.SIGTERM)
                _, errors = mount.finish()
    assert errors.count("requests fail until it is back") == 1, errors
    assert "first" not in errors


def peers(key: Path) -> set[int]:
    """The servers that show ``key``."""
    return {pid for pid in processes.ours() if str(key) in processes.describe(pid)}
