"""Servers behind one name: each has files of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from sftpfs.config import Endpoint, PoolConfig, TransportConfig, TransportKind
from sftpfs.errors import Failure, MountError
from sftpfs.remote.pool.connection import Role, open_connection
from sftpfs.remote.pool.server_identity import at_one_address
from sftpfs.transport.api import Transport
from sftpfs.transport.sockets import SocketConnector, SocketTransport
from sftpfs.transport.ssh_config.reader import HostConfig
from sftpfs.transport.worker.hop_settings import Defaults, settings_for
from sftpfs.transport.worker.ssh_connect import open_tcp
from tests.sshd import Sshd, free_port
from tests.transport_helpers import configure, connector, endpoint_of, run

NODES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@contextmanager
def listening(port: int, *hosts: str) -> Iterator[None]:
    """Sockets at ``port`` of each."""
    sockets = [socket.create_server((host, port)) for host in hosts]
    try:
        yield
    finally:
        for one in sockets:
            one.close()


def reached(port: int, first: tuple[Any, ...] | None, only: bool = False) -> str:
    """Which node a connection to a name of all of them goes to."""

    async def connect() -> str:
        loop = asyncio.get_running_loop()
        ask = loop.getaddrinfo

        async def named(host: str, *words: Any, **more: Any) -> list[Any]:
            hosts = NODES if host == "nodes" else (host,)
            return [one for name in hosts for one in await ask(name, *words, **more)]

        loop.getaddrinfo = named  # type: ignore[method-assign, assignment]
        config = HostConfig("nodes", port=port)
        with await open_tcp(settings_for(config, Defaults(5.0, 0.0, 1, False)), first, only) as sock:
            return str(sock.getpeername()[0])

    return asyncio.run(connect())


def test_the_address_of_before_is_tried_first_as_long_as_it_answers_and_the_name_has_it() -> None:
    port = free_port()
    with listening(port, *NODES):
        assert reached(port, None) == NODES[0]
        assert reached(port, (NODES[2], port)) == NODES[2]
        assert reached(port, ("127.0.0.9", port)) == NODES[0]
    with listening(port, *NODES[:2]):
        assert reached(port, (NODES[2], port)) == NODES[0]


def test_beside_a_connection_only_its_address_will_do() -> None:
    port = free_port()
    with listening(port, *NODES[:2]):
        assert reached(port, (NODES[1], port), only=True) == NODES[1]
        with pytest.raises(MountError) as caught:
            reached(port, (NODES[2], port), only=True)
    assert caught.value.failure is Failure.REFUSED


def test_a_further_connection_goes_to_the_server_of_the_first(tmp_path: Path) -> None:
    with Sshd(tmp_path / "one") as one:
        other = Sshd(tmp_path / "two", port=one.port)
        other.host = "127.0.0.2"
        hosts = other.write_known_hosts(other.known_hosts).read_text()
        key = one.public_host_key()
        other.known_hosts.write_text(f"{hosts}[127.0.0.2]:{one.port} {key}\n")
        other.authorize(one.client_key.with_suffix(".pub"))
        one.authorize(other.client_key.with_suffix(".pub"))
        with other:

            async def check() -> None:
                async with (
                    connector(configure(one), endpoint_of(one)) as first,
                    connector(configure(other), Endpoint("127.0.0.2", port=one.port)) as second,
                ):
                    transport = await first.connect(interactive=False)
                    before = one.log().count("Accepted publickey")
                    await second.connect(interactive=False, beside=transport)
                    assert one.log().count("Accepted publickey") == before + 1
                    assert "Accepted publickey" not in other.log()

            run(check, one, other)


def test_a_bare_connection_beside_another_goes_to_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    config = TransportConfig(kind=TransportKind.TCP, direct_port=port)
    order = list(NODES)

    async def named(host: str, *words: Any, **more: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (node, port)) for node in order]

    async def check() -> None:
        nodes = SocketConnector(config, Endpoint("nodes"))

        async def reached(beside: SocketTransport | None = None) -> SocketTransport:
            found = await nodes.connect(interactive=False, beside=beside)
            found.close()
            return found

        first = await reached()
        order.reverse()
        elsewhere, beside = await reached(), await reached(first)
        assert at_one_address(first, beside) and not at_one_address(first, elsewhere)
        order[:] = NODES[1:]
        assert at_one_address(first, await reached(first))

    with listening(port, *NODES):
        monkeypatch.setattr(trio.socket, "getaddrinfo", named)
        run(check)


@pytest.mark.parametrize("talkative", ["", " -v"], ids=["", "talkative"])
@pytest.mark.parametrize("by_ssh", [False, True], ids=["asyncssh", "ssh"])
def test_the_address_is_known_but_for_a_proxy_or_a_jump_host(
    tmp_path: Path, by_ssh: bool, talkative: str
) -> None:
    """What the proxy says of the way it took is not of the server behind it."""
    with Sshd(tmp_path / "sshd") as server, Sshd(tmp_path / "gate") as gate:
        way = f"ssh{talkative} -F none -i {gate.client_key} -o UserKnownHostsFile={gate.known_hosts}"
        proxy = ("ProxyCommand", f"{way} -p {gate.port} root@127.0.0.1 -W %h:%p")
        gate.config_extra = "AllowTcpForwarding yes"

        async def reached(*options: tuple[str, str]) -> Transport:
            config = configure(server, *options)
            if by_ssh:
                config = replace(config, kind=TransportKind.COMMAND, ssh_command=("ssh",))
            async with connector(config, endpoint_of(server)) as made:
                transport = await made.connect(interactive=False)
                connection = await open_connection(transport, Role.METADATA, 1, PoolConfig())
                connection.session.close("told")
                transport.close()
                return transport

        async def check() -> None:
            direct = await reached()
            assert direct.address is not None
            assert at_one_address(direct, await reached())
            assert (await reached(proxy)).address is None

        run(check, server, gate)
