"""The measuring instruments measure what they say."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import ExitStack

import pytest

from tests.harness.counting import CountingProxy
from tests.harness.delay import DelayProxy
from tests.harness.sftp_frames import Framer
from tests.harness.time_limit import TestTimeout, time_limit
from tests.harness.waiting import eventually

LIMIT = 20.0


def request(kind: int, identifier: int, *strings: bytes) -> bytes:
    """An SFTP request of strings."""
    body = bytes([kind]) + struct.pack(">I", identifier)
    body += b"".join(struct.pack(">I", len(part)) + part for part in strings)
    return struct.pack(">I", len(body)) + body


class Client:
    """A bare SFTP client."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT)
        self.framer = Framer()
        self.socket.sendall(struct.pack(">IBI", 5, 1, 3))
        self.replies(1)

    def replies(self, number: int) -> list[int]:
        """Wait for ``number`` replies; their ids."""
        found: list[int] = []
        while len(found) < number:
            data = self.socket.recv(65536)
            assert data, "connection closed"
            found += [packet.identifier for packet in self.framer.feed(data)]
        return found

    def lstat(self, *identifiers: int) -> None:
        """Send LSTATs of the root together."""
        self.socket.sendall(b"".join(request(7, identifier, b"/") for identifier in identifiers))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def test_requests_sent_together_are_one_wait(counting_proxy: CountingProxy) -> None:
    with Client(counting_proxy.port) as client:
        counting_proxy.reset()
        client.lstat(1, 2, 3, 4)
        client.replies(4)
        count = counting_proxy.read()
        assert (count.waits, count.requests) == (1, {"LSTAT": 4})


def test_requests_sent_after_a_reply_are_another_wait(counting_proxy: CountingProxy) -> None:
    with Client(counting_proxy.port) as client:
        counting_proxy.reset()
        for identifier in range(3):
            client.lstat(identifier)
            client.replies(1)
        assert counting_proxy.read().waits == 3


def test_a_request_nobody_waits_for_is_no_wait(counting_proxy: CountingProxy) -> None:
    counting_proxy.set_latency(1.0)
    with Client(counting_proxy.port) as client:
        counting_proxy.reset()
        client.lstat(1)
        client.replies(1)
        client.lstat(2)
        eventually(lambda: counting_proxy.read().total == 2)
        assert counting_proxy.read().waits == 1


def test_a_pause_holds_everything(counting_proxy: CountingProxy) -> None:
    with Client(counting_proxy.port) as client:
        counting_proxy.reset()
        counting_proxy.pause()
        client.lstat(1)
        eventually(lambda: counting_proxy.read().total == 1)
        assert counting_proxy.read().waits == 0
        counting_proxy.resume()
        assert client.replies(1) == [1]


def test_a_cut_resets_the_connection(counting_proxy: CountingProxy) -> None:
    with Client(counting_proxy.port) as client:
        counting_proxy.cut()
        with pytest.raises(ConnectionResetError):
            while client.socket.recv(100):
                pass


@pytest.mark.parametrize(("one_way", "rate"), [(0.0, None), (0.15, None), (0.01, 4e6)])
def test_delay_proxy(one_way: float, rate: float | None) -> None:
    """Bytes arrive whole and in order, not before their time."""
    data = bytes(range(256)) * 4096
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)

        def echo() -> None:
            server, _ = listener.accept()
            with server:
                while part := server.recv(65536):
                    server.sendall(part)

        thread = threading.Thread(target=echo, daemon=True)
        thread.start()
        with (
            DelayProxy(listener.getsockname()[1], one_way, rate) as proxy,
            socket.create_connection(("127.0.0.1", proxy.port), LIMIT) as client,
        ):
            begin = time.monotonic()
            sender = threading.Thread(target=client.sendall, args=(data,), daemon=True)
            sender.start()
            received = bytearray()
            while len(received) < len(data):
                part = client.recv(65536)
                assert part
                received += part
            assert received == data
            floor = 2 * one_way + (len(data) / rate if rate else 0)
            assert time.monotonic() - begin >= floor * 0.95
            sender.join(LIMIT)
        thread.join(LIMIT)
        assert not thread.is_alive()


def test_connections_share_the_rate_of_the_link() -> None:
    """However many there are, nothing arrives sooner than one after the other."""
    size, rate, connections = 400_000, 4e6, 3
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)
        with DelayProxy(listener.getsockname()[1], 0.0, rate) as proxy, ExitStack() as stack:
            begin = time.monotonic()
            pairs = []
            for _ in range(connections):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), LIMIT))
                pairs.append((client, stack.enter_context(listener.accept()[0])))
            senders = [threading.Thread(target=client.sendall, args=(bytes(size),)) for client, _ in pairs]
            for sender in senders:
                sender.start()
            for _, server in pairs:
                server.settimeout(LIMIT)
                left = size
                while left:
                    left -= len(server.recv(left))
            assert time.monotonic() - begin >= 0.95 * connections * size / rate
            for sender in senders:
                sender.join(LIMIT)


def test_the_time_limit_ends_a_test() -> None:
    with pytest.raises(TestTimeout), time_limit(0.2):
        threading.Event().wait(LIMIT)
