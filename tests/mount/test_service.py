"""A mount as a service of systemd: what it tells the socket it was given (sd_notify(3))."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.conftest import server_options
from tests.harness import processes
from tests.harness.command import COMMAND, LIMIT
from tests.harness.mounts import REPOSITORY, mountpoints, unmount_lazily
from tests.sshd import Sshd

WATCHDOG = 2.0
"""Seconds; short, for two signs of life are waited for."""


class Manager:
    """The manager's end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(LIMIT)
        self.messages: list[str] = []

    def until(self, part: str) -> str:
        """The next message with ``part`` in it."""
        while True:
            message = self.socket.recv(4096).decode()
            self.messages.append(message)
            if part in message:
                return message


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_status_watchdog_stopping(sshd: Sshd, tmp_path: Path, abstract: bool) -> None:
    backing, path = tmp_path / "server", tmp_path / "mnt"
    backing.mkdir()
    path.mkdir()
    address = f"@sftpfs-test-{processes.RUN}" if abstract else str(tmp_path / "notify")
    manager = Manager(address)
    environment = {
        "NOTIFY_SOCKET": address,
        "WATCHDOG_USEC": str(int(WATCHDOG * 1e6)),
        "PYTHONPATH": str(REPOSITORY),
        processes.MARK: processes.RUN,
    }
    spec = f"root@127.0.0.1:{backing}"
    with manager.socket:
        service = subprocess.Popen(
            [*COMMAND, spec, str(path), "-f", "-o", ",".join(server_options(sshd))],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            ready = manager.until("READY=1").splitlines()
            assert f"MAINPID={service.pid}" in ready
            assert f"STATUS={spec} on {path}: connections: 1" in ready
            assert str(path) in mountpoints()
            manager.until("WATCHDOG=1")
            manager.until("WATCHDOG=1")
            service.send_signal(signal.SIGTERM)
            manager.until("STOPPING=1")
            _, errors = service.communicate(timeout=LIMIT)
        finally:
            if service.poll() is None:
                processes.kill_tree(service.pid)
                service.communicate()
                unmount_lazily(str(path))
    assert service.returncode == 0
    assert "unmounted" in errors
    assert all("Traceback" not in message for message in manager.messages)


def test_the_state_of_the_connection_is_told(tmp_path: Path) -> None:
    backing, path = tmp_path / "server", tmp_path / "mnt"
    backing.mkdir()
    path.mkdir()
    manager = Manager(str(tmp_path / "notify"))
    with manager.socket, Sshd(tmp_path / "sshd") as server:
        service = subprocess.Popen(
            [*COMMAND, f"root@127.0.0.1:{backing}", str(path), "-f", "-o", ",".join(server_options(server))],
            env={
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "PYTHONPATH": str(REPOSITORY),
                processes.MARK: processes.RUN,
            },
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            manager.until("READY=1")
            server.stop()
            manager.until("no connection to the server")
            server.start()
            manager.until("connections: 1")
            service.send_signal(signal.SIGTERM)
            assert service.wait(LIMIT) == 0
        finally:
            if service.poll() is None:
                processes.kill_tree(service.pid)
                service.wait()
                unmount_lazily(str(path))
