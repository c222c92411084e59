"""Many servers behind one name, reached by a proxy: each with files of its own, as login nodes have.

The first connection leads to one server, all others to another, which has other files under the same names.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.command import say
from tests.harness.delay import DelayProxy
from tests.harness.mounts import Mount
from tests.harness.namespaces import apart
from tests.harness.outage import LOSS
from tests.harness.waiting import eventually
from tests.sshd import SFTP_SERVER, Sshd

pytestmark = pytest.mark.limit(120)

MIB = 1 << 20
DELAY = 0.01
"""Seconds each way: over a distance further connections follow the first at once."""


NOT_USED = "a further connection may lead to another server than the first: it is not used"


@pytest.fixture
def links() -> Iterator[ExitStack]:
    """Ends the links of a test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Sshd]:
    with Sshd(tmp_path / "node") as server:
        yield server


def program(path: Path, words: list[str]) -> str:
    path.write_text(f"#!/bin/sh\nexec {shlex.join(words)}\n")
    path.chmod(0o755)
    return str(path)


def twin(node: Sshd, directory: Path, subsystem: str) -> Sshd:
    """A server with the keys of ``node``, as the nodes of a cluster have."""
    directory.mkdir()
    for kept in ("host_ed25519", "client_key"):
        for ending in ("", ".pub"):
            shutil.copy(node.directory / f"{kept}{ending}", directory / f"{kept}{ending}")
    return Sshd(directory, subsystem=subsystem)


@pytest.fixture
def other_node(node: Sshd, backing: Path, tmp_path: Path) -> Iterator[Sshd]:
    """Another server, which has the directory ``elsewhere`` where the first has ``backing``."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = f"mount --bind {elsewhere} {backing}; exec {SFTP_SERVER}"
    with twin(node, tmp_path / "other-node", program(tmp_path / "elsewhere.sh", apart(script))) as server:
        yield server


def balanced(
    links: ExitStack, make_mount: MakeMount, first: Sshd, second: Sshd, backing: Path, *options: str
) -> Mount:
    """A mount whose proxy leads to ``first`` once and then to ``second``."""
    link = links.enter_context(DelayProxy(first.port, DELAY, later=second.port))
    return make_mount(
        f"ProxyCommand=socat - TCP:127.0.0.1:{link.port}", *options, server=first, backing=backing
    )


def content(seed: str, size: int) -> bytes:
    return b"".join(hashlib.sha256(f"{seed}{number}".encode()).digest() for number in range(size // 32))


def logins(server: Sshd) -> int:
    return server.log().count("Accepted publickey")


def connections(mount: Mount) -> int:
    """How many sessions the mount has."""
    found = say("stats", mount.path)
    assert found.status == 0, found.stderr
    return len(json.loads(found.stdout)["mounts"][0]["pool"]["connections"])


def is_ours(mount: Mount, backing: Path, data: bytes) -> None:
    """What is read and written is the first server's."""
    for number in range(3):
        assert (mount.path / "big").read_bytes() == data
        (mount.path / f"copy{number}").write_bytes(data)
        assert (backing / f"copy{number}").read_bytes() == data
        os.utime(backing / "big", (10**9 + number, 10**9 + number))
        assert say("refresh", mount.path).status == 0


def test_only_the_server_of_the_first_connection_is_used(
    node: Sshd, other_node: Sshd, links: ExitStack, make_mount: MakeMount, backing: Path
) -> None:
    elsewhere = backing.parent / "elsewhere"
    data = content("here", 12 * MIB)
    for directory, seed in ((backing, "here"), (elsewhere, "there")):
        (directory / "big").write_bytes(content(seed, 12 * MIB))
        os.utime(directory / "big", (10**9, 10**9))
    mount = balanced(links, make_mount, node, other_node, backing, "verbose")
    is_ours(mount, backing, data)
    eventually(lambda: NOT_USED in mount.log(), 30)
    eventually(lambda: connections(mount) > 1, 30)  # further channels of the first connection
    is_ours(mount, backing, data)
    assert os.listdir(elsewhere) == ["big"]
    assert (logins(node), logins(other_node)) == (1, 1)


def test_further_connections_by_a_proxy_are_used_where_the_server_proves_to_be_the_same(
    node: Sshd, links: ExitStack, make_mount: MakeMount, backing: Path
) -> None:
    data = content("here", 12 * MIB)
    (backing / "big").write_bytes(data)
    mount = balanced(links, make_mount, node, node, backing)
    eventually(lambda: logins(node) > 1 and connections(mount) > 1, 30)
    is_ours(mount, backing, data)


def test_a_server_that_proves_nothing_is_reached_by_one_connection(
    node: Sshd, links: ExitStack, make_mount: MakeMount, backing: Path, tmp_path: Path
) -> None:
    """As one that lets users see their own directory only."""
    data = content("here", 12 * MIB)
    (backing / "big").write_bytes(data)
    closed = program(tmp_path / "closed.sh", [*apart(f"umount -l /proc; exec {SFTP_SERVER}")])
    with twin(node, tmp_path / "closed", closed) as server:
        mount = balanced(links, make_mount, server, server, backing, "verbose")
        eventually(lambda: NOT_USED in mount.log(), 30)
        eventually(lambda: connections(mount) > 1, 30)
        is_ours(mount, backing, data)
        assert logins(server) == 2
        mount.close()


def test_a_jump_host_leads_to_where_it_led_first(
    node: Sshd, other_node: Sshd, links: ExitStack, make_mount: MakeMount, backing: Path, tmp_path: Path
) -> None:
    """It resolves the name anew each time: here its address leads to one server, and then to another."""
    elsewhere = backing.parent / "elsewhere"
    data = content("here", 12 * MIB)
    for directory, seed in ((backing, "here"), (elsewhere, "there")):
        (directory / "big").write_bytes(content(seed, 12 * MIB))
        os.utime(directory / "big", (10**9, 10**9))
    cluster = links.enter_context(DelayProxy(node.port, later=other_node.port))
    with twin(node, tmp_path / "jump", SFTP_SERVER) as jump:
        port = links.enter_context(DelayProxy(jump.port, DELAY)).port
        config = tmp_path / "ssh_config"
        config.write_text(
            "".join(
                f"Host {name}\nHostName 127.0.0.1\nPort {number}\nHostKeyAlias node\n"
                for name, number in (("gate", port), ("cluster", cluster.port))
            )
            + "Host *\n"
            + "".join(f"{key} {value}\n" for key, value in node.ssh_options() if "KnownHosts" not in key)
            + f"UserKnownHostsFile {tmp_path}/keys\n"
        )
        (tmp_path / "keys").write_text(f"node {node.public_host_key()}\n")
        mount = Mount(
            f"cluster:{backing}", tmp_path / "jumped", backing, [f"ssh_config={config}", "ProxyJump=gate"]
        )
        with mount:
            is_ours(mount, backing, data)
            eventually(lambda: logins(other_node), 30)
            eventually(lambda: connections(mount) > 1, 30)
            is_ours(mount, backing, data)
        assert os.listdir(elsewhere) == ["big"]


def test_what_is_left_of_the_server_of_before_goes_with_the_first_connection(
    node: Sshd, other_node: Sshd, links: ExitStack, make_mount: MakeMount, backing: Path
) -> None:
    """The metadata connection is lost and leads elsewhere as it is made again: the old server is not used."""
    elsewhere = backing.parent / "elsewhere"
    (backing / "file").write_bytes(b"here")
    (elsewhere / "file").write_bytes(b"there")
    link = links.enter_context(DelayProxy(node.port, DELAY))
    way = f"ProxyCommand=socat - TCP:127.0.0.1:{link.port}"
    mount = make_mount(way, "dir_cache=no", server=node, backing=backing)
    mount.expect(LOSS)
    eventually(lambda: connections(mount) > 1, 30)
    assert (mount.path / "file").read_bytes() == b"here"
    link.lead_to(other_node.port)
    link.cut(0)
    eventually(lambda: not node.session_pids(), 30)
    eventually(lambda: (mount.path / "file").read_bytes() == b"there", 30)
    for number in range(5):
        (mount.path / f"new{number}").write_bytes(bytes(MIB))
    assert sorted(os.listdir(elsewhere)) == ["file", *(f"new{number}" for number in range(5))]
    assert os.listdir(backing) == ["file"]
