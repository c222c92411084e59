"""A mount whose connection is lent to its front: keys exchanged under load, and its worker killed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.mounts import Mount
from tests.harness.outage import LOSS, works
from tests.harness.waiting import eventually
from tests.sshd import Sshd, descendants

pytestmark = pytest.mark.limit(120)

MIB = 1 << 20
SIZE = 10 * MIB


def lent(mount: Mount, port: int) -> bool:
    """Whether the front itself has a connection to ``port``."""
    sockets = set()
    for link in Path(f"/proc/{mount.pid}/fd").iterdir():
        try:
            sockets.add(os.readlink(link))
        except OSError:
            continue
    for line in Path(f"/proc/{mount.pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].partition(":")[2], 16) == port and f"socket:[{fields[9]}]" in sockets:
            return True
    return False


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_bytes_are_right_whatever_takes_the_connection_back(
    make_mount: MakeMount, tmp_path: Path, backing: Path
) -> None:
    """Large reads and writes at once while the server exchanges keys after each MiB and asks whether we live;
    then the worker is killed, and the server's sessions are."""
    (backing / "big").write_bytes(content := os.urandom(SIZE))
    lines = "RekeyLimit 1M\nClientAliveInterval 1\nClientAliveCountMax 3"
    with Sshd(tmp_path / "own-sshd", config_extra=lines) as server:
        mount = make_mount(server=server, backing=backing)
        mount.expect(LOSS)
        eventually(lambda: lent(mount, server.port), what="the connection is lent")
        copying = threading.Thread(target=(mount.path / "copy").write_bytes, args=(content,))
        copying.start()
        assert digest(mount.path / "big") == hashlib.sha256(content).hexdigest()
        copying.join()
        assert digest(backing / "copy") == hashlib.sha256(content).hexdigest()
        subprocess.run(["cp", "-r", "/etc/ssh", mount.path / "ssh"], check=True, timeout=60)
        subprocess.run(["diff", "-r", "/etc/ssh", backing / "ssh"], check=True, timeout=60)
        eventually(lambda: lent(mount, server.port), what="the connection is lent again")
        for end in (kill_workers, lambda _: server.drop_connections()):
            end(mount)
            works(mount)
            eventually(lambda: lent(mount, server.port), what="the new connection is lent")
            assert digest(mount.path / "copy") == hashlib.sha256(content).hexdigest()


def kill_workers(mount: Mount) -> None:
    """Kill what the fork server has forked."""
    (fork_server,) = [pid for pid in descendants(mount.pid) if parent(pid) == mount.pid]
    for pid in descendants(fork_server):
        os.kill(pid, signal.SIGKILL)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
