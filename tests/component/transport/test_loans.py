"""Connections lent to the front, over a real sshd: every byte, both ways, whatever takes the loan back."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from sftpfs.config import Endpoint
from sftpfs.sftp.session import Session
from sftpfs.transport.loan.lendable_stream import LendableStream
from sftpfs.transport.loan.lent_connection import RECEIVE_SIZE
from sftpfs.transport.messages import Message
from sftpfs.transport.worker_transport import WorkerTransport
from tests.sshd import Sshd
from tests.transport_helpers import command_line, configure, connector, endpoint_of, run

MIB = 1 << 20
ECHO = "/bin/cat"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages about loans that came and went, in order."""
    said: list[str] = []
    take, send = WorkerTransport._take, WorkerTransport._send

    def took(self: WorkerTransport, message: Message, fd: int | None) -> bool:
        if message["type"] in ("offer", "keep", "lend", "recall"):
            said.append(message["type"])
        return take(self, message, fd)

    def sent(self: WorkerTransport, message: Message, fds: list[int] | None = None) -> None:
        if message["type"] in ("borrow", "return"):
            said.append(message["type"])
        send(self, message, fds)

    monkeypatch.setattr(WorkerTransport, "_take", took)
    monkeypatch.setattr(WorkerTransport, "_send", sent)
    return said


async def until(said: list[str], kind: str, count: int = 1) -> None:
    """Wait until ``kind`` was said so often (the caller's limit holds)."""
    while said.count(kind) < count:  # noqa: ASYNC110 - said by another process
        await trio.sleep(0.005)


class Echo:
    """A stream whose other end sends back what it is sent, served as a session serves it."""

    def __init__(self, stream: LendableStream) -> None:
        self.stream = stream
        self.data = bytearray()
        self.space = memoryview(bytearray(RECEIVE_SIZE))
        self.came = trio.Event()

    def read(self) -> None:
        try:
            count = self.stream.read_into(self.space)
        except BlockingIOError:
            return
        self.data += self.space[:count]
        self.came.set()
        if not count:
            self.stream.close()

    async def serve(self) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await self.stream.serve(self.read)

    async def write(self, data: bytes) -> None:
        chance = random.Random(1)
        view = memoryview(data)
        while view:
            try:
                view = view[self.stream.write((view[:7], view[7 : chance.choice((20, 4000, 300_000))])) :]
            except BlockingIOError:
                await self.stream.writable()

    async def has(self, content: bytes) -> None:
        """``content`` and no more has come."""
        while len(self.data) < len(content):
            self.came = trio.Event()
            await self.came.wait()
        assert self.data == content


@asynccontextmanager
async def echo(
    server: Sshd, *options: tuple[str, str], port: int = 0
) -> AsyncIterator[tuple[WorkerTransport, Echo]]:
    config = configure(server, *options, sftp_server=ECHO)
    where = Endpoint(server.host, port=port or server.port)
    async with connector(config, where) as made, trio.open_nursery() as nursery:
        transport = await made.connect(interactive=False)
        assert isinstance(transport, WorkerTransport)
        stream = await transport.open_channel()
        assert isinstance(stream, LendableStream)
        one = Echo(stream)
        nursery.start_soon(one.serve)
        try:
            yield transport, one
        finally:
            stream.close()
            transport.close()


@asynccontextmanager
async def session(
    server: Sshd, *options: tuple[str, str], **fields: object
) -> AsyncIterator[tuple[WorkerTransport, Session]]:
    config = configure(server, *options, **fields)
    async with connector(config, endpoint_of(server)) as made, trio.open_nursery() as nursery:
        transport = await made.connect(interactive=False)
        assert isinstance(transport, WorkerTransport)
        one = Session(await transport.open_channel(), timeout=20, generation=1)
        await one.start()
        nursery.start_soon(one.run)
        try:
            yield transport, one
        finally:
            one.close("done")
            transport.close()


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        ("", ()),
        ("", (("Ciphers", "aes256-gcm@openssh.com"),)),
        ("", (("RekeyLimit", "1M"),)),
        ("RekeyLimit 1M", ()),
    ],
)
def test_every_byte_arrives_in_order_with_keys_exchanged_and_connections_recalled(
    tmp_path: Path, server: Sshd, told: list[str], lines: str, options: tuple[tuple[str, str], ...]
) -> None:
    content = [os.urandom(size) for size in (1, 3 * MIB, 40_000, 4 * MIB)]

    async def check(own: Sshd) -> None:
        async with echo(own, *options) as (_, one), trio.open_nursery() as nursery:
            await until(told, "lend")
            sent = b""
            for number, part in enumerate(content):
                sent += part
                nursery.start_soon(one.write, part)
                if number % 2 and not lines and "RekeyLimit" not in dict(options):
                    while len(one.data) < len(sent) // 2:  # noqa: ASYNC110 - in the middle of the stream
                        await trio.sleep(0.001)
                    one.stream.recall()
                await one.has(sent)
            assert "return" in told

    if lines:
        with Sshd(tmp_path / "own", config_extra=lines) as own:
            run(lambda: check(own), own)
    else:
        run(lambda: check(server), server)


@pytest.mark.parametrize(
    "options",
    [
        (("Ciphers", "chacha20-poly1305@openssh.com"),),
        (("Ciphers", "aes128-ctr"), ("MACs", "hmac-sha2-256-etm@openssh.com")),
        (("Compression", "yes"),),
        (("ProxyCommand", "socat - TCP:%h:%p"),),
    ],
)
def test_what_is_not_the_plain_case_is_not_lent(
    server: Sshd, told: list[str], options: tuple[tuple[str, str], ...]
) -> None:
    content = os.urandom(100_000)

    async def check() -> None:
        async with echo(server, *options) as (_, one):
            await one.write(content)
            await one.has(content)
            await trio.sleep(0.5)
            assert "borrow" not in told

    run(check, server)


def test_a_further_channel_takes_the_loan_back_and_its_end_lets_it_begin_again(
    server: Sshd, told: list[str]
) -> None:
    async def check() -> None:
        async with echo(server) as (transport, one), trio.open_nursery() as nursery:
            await until(told, "lend")
            other = Echo(await transport.open_channel())  # type: ignore[arg-type]
            assert told.count("return") == 1
            nursery.start_soon(other.serve)
            for each in (one, other):
                await each.write(b"x" * 1000)
                await each.has(b"x" * 1000)
            assert told.count("lend") == 1
            other.stream.close()
            await until(told, "lend", 2)
            await one.write(b"y")
            await one.has(b"x" * 1000 + b"y")

    run(check, server)


def test_a_session_s_end_says_goodbye_to_the_server(tmp_path: Path, told: list[str]) -> None:
    async def check() -> None:
        async with session(own) as (transport, one):
            await until(told, "lend")
            one.close("done")
            transport.close()
            assert told[-1] == "return"
            while "Received disconnect" not in own.log():  # noqa: ASYNC110 - written by another process
                await trio.sleep(0.01)

    with Sshd(tmp_path / "own") as own:
        run(check, own)


def test_the_server_s_keepalives_are_answered_without_the_worker(tmp_path: Path, told: list[str]) -> None:
    async def check() -> None:
        async with session(own) as (transport, one):
            await until(told, "lend")
            with trio.move_on_after(4.5):
                await transport.closed.wait()
            assert not transport.closed.is_set()
            assert (await one.start_lstat(b"/").wait()).mode is not None
            assert told.count("return") == 0

    with Sshd(tmp_path / "own", config_extra="ClientAliveInterval 1\nClientAliveCountMax 2") as own:
        run(check, own)


def test_our_keepalives_find_a_server_that_is_gone_and_leave_one_that_is_idle(
    tmp_path: Path, told: list[str]
) -> None:
    async def check() -> None:
        alive = {"keepalive_interval": 0.5, "keepalive_count": 3}
        async with session(own, **alive) as (transport, one):
            await until(told, "recall", 2)
            await until(told, "lend", 3)
            assert not transport.closed.is_set()
            assert (await one.start_lstat(b"/").wait()).mode is not None
            own.freeze()
            with trio.fail_after(10):
                await transport.closed.wait()
            assert transport.reason == "Server not responding to keepalive"
            own.thaw()

    with Sshd(tmp_path / "own") as own:
        run(check, own)


def test_without_a_free_descriptor_nothing_is_lent_yet(
    server: Sshd, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message comes without the socket, and all goes through the worker; later it is lent."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    say = WorkerTransport._send

    def short(self: WorkerTransport, message: Message, fds: list[int] | None = None) -> None:
        say(self, message, fds)
        if message["type"] == "borrow" and told.count("borrow") == 1:
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
            while True:
                try:
                    fillers.append(os.dup(0))
                except OSError:
                    break
        elif message["type"] == "return":
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    fillers: list[int] = []
    monkeypatch.setattr(WorkerTransport, "_send", short)

    async def check() -> None:
        async with session(server) as (_, one):
            await until(told, "return")
            assert told[:4] == ["offer", "borrow", "lend", "return"]
            assert (await one.start_lstat(b"/").wait()).mode is not None
            await until(told, "lend", 2)
            assert (await one.start_lstat(b"/").wait()).mode is not None
            assert told.count("return") == 1

    try:
        run(check, server)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in fillers:
            os.close(fd)


def test_no_secret_is_in_a_log_or_on_a_command_line(
    server: Sshd, told: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secrets: list[str] = []
    take = WorkerTransport._take

    def took(self: WorkerTransport, message: Message, fd: int | None) -> bool:
        secrets.extend(message[name] for name in ("send_key", "receive_key") if name in message)
        return take(self, message, fd)

    monkeypatch.setattr(WorkerTransport, "_take", took)
    caplog.set_level(0)

    async def check() -> None:
        async with session(server) as (transport, one):
            await until(told, "lend")
            await one.start_lstat(b"/").wait()
            shown = command_line(transport.pid).decode(errors="replace")
            assert not [secret for secret in secrets if secret in shown]

    run(check, server)
    assert len(secrets) == 2 and "a connection is lent" in caplog.text
    assert not [secret for secret in secrets if secret in caplog.text]


# --- how it ends, in the words of a connection that was never lent


class Relay:
    """Between the client and a server, to spoil or cut what passes."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._streams: list[trio.SocketStream] = []
        self.spoil = False
        self.port = 0

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", self._target)
        self._streams = [client, server]
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass, client, server, False)
            nursery.start_soon(self._pass, server, client, True)

    async def _pass(self, source: trio.SocketStream, sink: trio.SocketStream, down: bool) -> None:
        try:
            while data := await source.receive_some(65536):
                if down and self.spoil:
                    data = data[:-1] + bytes((data[-1] ^ 1,))
                await sink.send_all(data)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def reset(self) -> None:
        client, server = self._streams
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.aclose()
        await server.aclose()


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("forged", "MAC verification failed"),
        ("reset", "Connection reset by peer"),
        ("sessions killed", "Connection lost"),
        ("worker killed", "the transport process was killed by SIGKILL"),
    ],
)
@pytest.mark.parametrize("lent", [True, False])
def test_an_end_is_told_as_ever(
    tmp_path: Path,
    server: Sshd,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    words: str,
    lent: bool,
) -> None:
    """And at once; nothing spoiled is handed on."""
    if not lent:
        monkeypatch.setattr(LendableStream, "offer", lambda self: None)

    async def end(transport: WorkerTransport, one: Echo, relay: Relay) -> None:
        received = bytes(one.data)
        if way == "forged":
            relay.spoil = True
            await one.write(b"to be spoiled")
        elif way == "reset":
            await relay.reset()
        elif way == "sessions killed":
            server.drop_connections()
        else:
            os.kill(transport.pid, signal.SIGKILL)
        await transport.closed.wait()
        assert words in transport.reason, transport.reason
        while not one.stream.closed:  # noqa: ASYNC110 - by its own reader
            await trio.sleep(0.005)
        assert one.data == received

    async def check() -> None:
        relay = Relay(server.port)
        async with trio.open_nursery() as nursery:
            await nursery.start(relay.run)
            hosts = tmp_path / "hosts"
            hosts.write_text(f"[127.0.0.1]:{relay.port} {server.public_host_key()}\n")
            async with echo(server, ("UserKnownHostsFile", str(hosts)), port=relay.port) as (transport, one):
                if lent:
                    await until(told, "lend")
                await one.write(b"something")
                await one.has(b"something")
                await end(transport, one, relay)
            nursery.cancel_scope.cancel()

    run(check, server)
