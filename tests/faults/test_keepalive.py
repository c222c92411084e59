"""A connection on which nothing comes for the keepalive time is replaced, long before the deadline."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.delay import DelayProxy
from tests.harness.linked import Linked
from tests.harness.mounts import Mount, in_time
from tests.harness.outage import LOSS
from tests.sshd import Sshd

pytestmark = pytest.mark.limit(120)

LIMIT = 40.0
"""Seconds; whoever waited for the deadline would not be through within it."""

ALONE = ("dir_cache=no", "max_conns=1", "timeout=90", "ServerAliveInterval=1", "ServerAliveCountMax=2")
"""One connection, so that nothing is answered by another."""


@pytest.fixture
def link(sshd: Sshd) -> Iterator[DelayProxy]:
    """What the mount's connections go through."""
    with DelayProxy(sshd.port) as running:
        yield running


def goes_on(mount: Mount) -> None:
    """Looks, changes and open files go on, on another connection."""
    with open(mount.path / "file", "r+b", buffering=0) as file:
        assert in_time(lambda: os.mkdir(mount.path / "new"), LIMIT)[0] is None
        assert (mount.backing / "new").is_dir()
        assert in_time(lambda: os.stat(mount.path / "file").st_size, LIMIT)[0] == 9
        assert in_time(lambda: file.write(b"AS"), LIMIT)[0] == 2
        assert in_time(lambda: os.fsync(file.fileno()), LIMIT)[0] is None
    assert (mount.backing / "file").read_bytes() == b"AS it was"
    assert mount.log().count("the connection is back") == 1


@pytest.mark.parametrize("program", ["asyncssh", "ssh"])
def test_over_ssh(
    sshd: Sshd, link: DelayProxy, make_mount: MakeMount, backing: Path, tmp_path: Path, program: str
) -> None:
    """asyncssh and OpenSSH ask the server themselves."""
    (backing / "file").write_bytes(b"as it was")
    extra = ["ssh_command=ssh"] if program == "ssh" else []
    mount = make_mount(*ALONE, *extra, server=Linked(sshd, link, tmp_path), backing=backing)
    mount.expect(LOSS)
    link.hole(link.connections() - 1)
    goes_on(mount)


def test_over_a_plain_socket(make_mount: MakeMount, backing: Path) -> None:
    """Nobody underneath asks: the silence of SFTP itself is what there is."""
    (backing / "file").write_bytes(b"as it was")
    with CountingProxy(latency=0.0) as proxy:
        mount = make_mount(*ALONE, port=proxy.port, backing=backing)
        mount.expect(LOSS)
        proxy.hole(0)
        goes_on(mount)
        mount.close()
