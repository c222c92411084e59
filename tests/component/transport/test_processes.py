"""Transport processes: what dies with what, and bytes both ways with backpressure."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from sftpfs.aio import ByteStream
from tests.sshd import Sshd, descendants
from tests.transport_helpers import (
    alive,
    command_line,
    configure,
    connector,
    endpoint_of,
    gone,
    handshake,
    handshake_of,
    packet,
    run,
    send,
)

REQUEST = 64 * 1024
SIZE = 32 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def request(kind: int, number: int, body: bytes) -> bytes:
    return struct.pack(">IBI", len(body) + 5, kind, number) + body


async def open_file(stream: ByteStream, path: Path, flags: int) -> bytes:
    await handshake(stream)
    await send(stream, request(3, 1, string(os.fsencode(path)) + struct.pack(">II", flags, 0)))
    reply = await packet(stream)
    assert reply[0] == 102, reply
    return reply[5:]


def fork_servers() -> list[int]:
    """Our fork server and its workers, in that order."""
    found = descendants(os.getpid())
    return [pid for pid in found if b"fork_server" in command_line(pid)]


def private_memory(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Private_"))


def test_a_killed_worker_closes_its_transport_with_a_reason_and_no_other(server: Sshd) -> None:
    async def check() -> None:
        async with connector(configure(server), endpoint_of(server)) as made:
            one = await made.connect(interactive=False)
            two = await made.connect(interactive=False)
            stream = await one.open_channel()
            os.kill(one.pid, signal.SIGKILL)  # type: ignore[attr-defined]
            await one.closed.wait()
            assert "SIGKILL" in one.reason
            assert await packet(stream) == b""
            stream.close()
            assert not two.closed.is_set()
            await handshake_of(two)

    run(check)


@pytest.mark.parametrize(
    ("kind", "module", "place"),
    [("answer", "front_socket.py", "answered"), ("connect", "worker.py", "_connect")],
)
def test_a_fault_in_a_worker_is_logged_with_its_place(
    server: Sshd, caplog: pytest.LogCaptureFixture, kind: str, module: str, place: str
) -> None:
    """Nobody reads what a worker writes. A message with all missing: it falls in a callback, or in a task."""

    async def check() -> None:
        async with connector(configure(server), endpoint_of(server)) as made:
            transport = await made.connect(interactive=False)
            transport._send({"type": kind})  # type: ignore[attr-defined]
            while not caplog.records:  # noqa: ASYNC110 - told by another process
                await trio.sleep(0.01)

    run(check)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    told = record.getMessage()
    assert told.startswith("internal error in a process of the transport, please report it: KeyError: ")
    assert re.search(rf"\(in {re.escape(module)}:\d+ {place}\b", told) and "\n" not in told


def test_a_killed_fork_server_is_replaced(server: Sshd) -> None:
    async def check() -> None:
        async with connector(configure(server), endpoint_of(server)) as made:
            one = await made.connect(interactive=False)
            mine = fork_servers()
            os.kill(mine[0], signal.SIGKILL)
            await one.closed.wait()
            await handshake_of(await made.connect(interactive=False))
            await gone(mine[1:])

    run(check)


def test_a_server_that_goes_away_closes_the_transport(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as server:

        async def check() -> None:
            async with connector(configure(server), endpoint_of(server)) as made:
                transport = await made.connect(interactive=False)
                stream = await transport.open_channel()
                server.drop_connections()
                await transport.closed.wait()
                assert transport.reason
                assert await packet(stream) == b""
                stream.close()

        run(check)


def test_a_silent_server_is_noticed_by_keepalive(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as server:

        async def check() -> None:
            alive_options = (("ServerAliveInterval", "1"), ("ServerAliveCountMax", "1"))
            async with connector(configure(server, *alive_options), endpoint_of(server)) as made:
                transport = await made.connect(interactive=False)
                server.freeze()
                try:
                    await transport.closed.wait()
                finally:
                    server.thaw()
                assert transport.reason

        run(check)


def test_a_program_that_ends_at_once_is_explained(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", subsystem="/nonexistent/sftp-server") as server:

        async def check() -> None:
            async with connector(configure(server), endpoint_of(server)) as made:
                transport = await made.connect(interactive=False)
                stream = await transport.open_channel()
                assert await packet(stream) == b""
                while not transport.reason:
                    await trio.lowlevel.checkpoint()
                assert "127" in transport.reason or "not found" in transport.reason
                stream.close()

        run(check)


FRONT = """
import sys, trio
from sftpfs.config import Endpoint, TransportConfig
from sftpfs.transport.connector import make_connector
from sftpfs.transport.prompter import NoPrompter

async def main():
    options = tuple(tuple(word.split("=", 1)) for word in sys.argv[2:])
    config = TransportConfig(ssh_options=options, ssh_config_file="none")
    async with trio.open_nursery() as nursery:
        endpoint = Endpoint("127.0.0.1", port=int(sys.argv[1]))
        made = make_connector(config, endpoint, NoPrompter(), nursery)
        first = await made.connect(interactive=False)
        second = await made.connect(interactive=False)
        stream = await first.open_channel()
        print("up", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_a_front_killed_outright_takes_fork_server_and_workers_along(server: Sshd) -> None:
    words = [f"{name}={value}" for name, value in server.ssh_options()]
    root = str(Path(__file__).parents[3])
    front = subprocess.Popen(
        [sys.executable, "-c", FRONT, str(server.port), *words],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )
    try:
        assert front.stdout is not None
        assert front.stdout.readline() == b"up\n"
        pids = descendants(front.pid)
        assert len(pids) == 3
        # a terminal's Ctrl-C reaches the front's group only
        assert all(os.getsid(pid) != os.getsid(front.pid) for pid in pids)
    finally:
        front.kill()
        front.wait()
        assert front.stdout is not None
        front.stdout.close()

    async def check() -> None:
        await gone(pids)

    run(check)
    assert not any(alive(pid) for pid in pids)


def test_big_transfers_both_ways_arrive_whole(server: Sshd, tmp_path: Path) -> None:
    content = os.urandom(1 << 20) * (SIZE >> 20)
    path = tmp_path / "big"

    async def write(stream: ByteStream, handle: bytes) -> None:
        for number, offset in enumerate(range(0, SIZE, REQUEST)):
            body = handle + struct.pack(">Q", offset) + string(content[offset : offset + REQUEST])
            await send(stream, request(6, number, body))

    async def statuses(stream: ByteStream) -> None:
        for _ in range(0, SIZE, REQUEST):
            reply = await packet(stream)
            assert reply[0] == 101 and reply[5:9] == b"\0\0\0\0", reply[:64]

    async def ask(stream: ByteStream, handle: bytes) -> None:
        for number, offset in enumerate(range(0, SIZE, REQUEST)):
            await send(stream, request(5, number, handle + struct.pack(">QI", offset, REQUEST)))

    async def check() -> None:
        async with connector(configure(server), endpoint_of(server)) as made:
            transport = await made.connect(interactive=False)
            stream = await transport.open_channel()
            handle = await open_file(stream, path, 0x02 | 0x08)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(statuses, stream)
                nursery.start_soon(write, stream, handle)
            stream.close()
            assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content).digest()
            stream = await transport.open_channel()
            handle = await open_file(stream, path, 0x01)
            digest = hashlib.sha256()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, stream, handle)
                for _ in range(0, SIZE, REQUEST):
                    reply = await packet(stream)
                    assert reply[0] == 103
                    digest.update(reply[9:])
            assert digest.digest() == hashlib.sha256(content).digest()
            stream.close()

    run(check)


def test_a_front_that_does_not_read_costs_the_worker_a_window_and_no_more(
    server: Sshd, tmp_path: Path
) -> None:
    path = tmp_path / "big"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    window = 16 << 20

    async def check() -> None:
        async with connector(configure(server), endpoint_of(server)) as made:
            transport = await made.connect(interactive=False)
            pid: int = transport.pid  # type: ignore[attr-defined]
            stream = await transport.open_channel()
            handle = await open_file(stream, path, 0x01)
            before = private_memory(pid)
            asked = 0
            # ask until nothing more is taken: every buffer on the way is full then
            with trio.move_on_after(3):
                while True:
                    body = handle + struct.pack(">QI", asked * REQUEST, REQUEST)
                    await send(stream, request(5, asked, body))
                    asked += 1
            assert asked * REQUEST > 8 * window, "not enough was asked for to tell"
            assert private_memory(pid) - before < 3 * window
            # and nothing is lost or stuck: the answers asked for first are there, in order
            for number in range(600):
                reply = await packet(stream)
                assert reply[:5] == struct.pack(">BI", 103, number)
            stream.close()

    run(check)


def test_a_server_that_does_not_read_stops_the_front(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as server:

        async def check() -> None:
            async with connector(configure(server), endpoint_of(server)) as made:
                transport = await made.connect(interactive=False)
                pid: int = transport.pid  # type: ignore[attr-defined]
                stream = await transport.open_channel()
                await handshake(stream)
                server.freeze()
                before = private_memory(pid)
                try:
                    sent = 0
                    chunk = bytes(1 << 20)
                    with trio.move_on_after(2):
                        while sent < 256:
                            await send(stream, chunk)
                            sent += 1
                    assert sent < 64, "the worker took all there was"
                    assert private_memory(pid) - before < 48 << 20
                finally:
                    server.thaw()
                stream.close()

        run(check)


def test_the_fork_server_heeds_no_more_of_pythons_environment_than_we_do(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program started with -I has a fork server that finds the same modules, and no others."""
    (tmp_path / "logging.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w'); raise ImportError('mine')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))

    async def check() -> None:
        async with connector(configure(server), endpoint_of(server)) as made:
            transport = await made.connect(interactive=False)
            await handshake_of(transport)
            transport.close()

    run(check)
    assert not (tmp_path / "run").exists()


def test_no_process_of_the_transport_holds_our_stderr(server: Sshd) -> None:
    """Who waits for what a command says, x=$(sftpfs -o sshfs_debug …), is not to wait for the mount."""

    async def check() -> None:
        async with connector(replace(configure(server), debug=True), endpoint_of(server)) as made:
            transport = await made.connect(interactive=False)
            for pid in fork_servers():
                assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)} == {os.devnull}
            transport.close()

    run(check)
