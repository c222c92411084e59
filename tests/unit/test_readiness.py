"""Descriptors that are read all the time: served by our own epoll, and as well by trio's public means."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
import trio.testing

from sftpfs.aio import ByteStream, readiness

LIMIT = 20.0


@pytest.fixture(params=["shared", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "plain":
        monkeypatch.setenv(readiness.PLAIN, "1")
    return str(request.param)


@pytest.fixture
def pair() -> Iterator[tuple[ByteStream, socket.socket]]:
    """A stream, and the socket at its other end."""
    ours, theirs = socket.socketpair()
    stream = ByteStream(os.dup(ours.fileno()), os.dup(ours.fileno()))
    ours.close()
    with theirs:
        yield stream, theirs
    for fd in {stream.read_fd, stream.write_fd} - {-1}:
        os.close(fd)


def run(check: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        with trio.fail_after(LIMIT):
            await check()

    trio.run(limited)


class Served:
    """What ``serve`` read of a stream."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.data = b""
        self.came = trio.Event()

    def read(self) -> None:
        self.data += os.read(self._stream.read_fd, 100)
        self.came.set()

    async def has(self, count: int) -> bytes:
        while len(self.data) < count:
            self.came = trio.Event()
            await self.came.wait()
        return self.data


Pair = tuple[ByteStream, socket.socket]


def test_trio_is_as_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release of trio that is otherwise is noticed here; it would be served by its public means."""

    async def check() -> None:
        found = readiness.poller()
        assert found is not None and found is readiness.poller()
        monkeypatch.setattr(readiness, "_known", False)
        assert readiness.poller() is None

    run(check)


def test_what_comes_is_read_each_time(way: str, pair: Pair) -> None:
    stream, other = pair

    async def check() -> None:
        assert (readiness.poller() is None) == (way == "plain")
        served = Served(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.serve, served.read)
            for number in range(20):
                other.send(b"x")
                assert await served.has(number + 1) == b"x" * (number + 1)
            nursery.cancel_scope.cancel()

    run(check)


def test_what_is_not_read_at_once_is_reported_again(way: str, pair: Pair) -> None:
    stream, other = pair

    async def check() -> None:
        served = Served(stream)
        looks = 0

        def reluctant() -> None:
            nonlocal looks
            looks += 1
            if looks > 3:
                served.read()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.serve, reluctant)
            other.send(b"late")
            assert await served.has(4) == b"late"
            nursery.cancel_scope.cancel()

    run(check)


def test_a_closed_stream_ends_who_serves_it(way: str, pair: Pair) -> None:
    stream, _ = pair

    async def check() -> None:
        ended = trio.Event()

        async def serve() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.serve(lambda: None)
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await trio.testing.wait_all_tasks_blocked()
            stream.close()
            await ended.wait()
        with pytest.raises(trio.ClosedResourceError):
            await stream.serve(lambda: None)

    run(check)


def test_a_stream_that_its_reader_closes(way: str, pair: Pair) -> None:
    """And whose number is another file's at once, which nobody asked about."""
    stream, other = pair

    async def check() -> None:
        number = stream.read_fd
        reused: list[int] = []

        def close() -> None:
            stream.close()
            reused.append(os.open(os.devnull, os.O_RDONLY))

        other.send(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await stream.serve(close)
        assert reused == [number]
        os.close(number)

    run(check)


def test_what_the_reader_raises_is_raised_to_who_serves(way: str, pair: Pair) -> None:
    stream, other = pair

    async def check() -> None:
        def fails() -> None:
            raise RuntimeError("a fault")

        other.send(b"x")
        with pytest.raises(RuntimeError, match="a fault"):
            await stream.serve(fails)
        served = Served(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.serve, served.read)
            assert await served.has(1) == b"x"
            nursery.cancel_scope.cancel()

    run(check)


def test_more_streams_than_are_reported_at_once(way: str) -> None:
    async def check() -> None:
        pairs = [socket.socketpair() for _ in range(readiness.EVENTS * 2 + 1)]
        streams = [ByteStream(os.dup(ours.fileno()), os.dup(ours.fileno())) for ours, _ in pairs]
        served = [Served(stream) for stream in streams]
        async with trio.open_nursery() as nursery:
            for stream, one in zip(streams, served, strict=True):
                nursery.start_soon(stream.serve, one.read)
            for _, theirs in pairs:
                theirs.send(b"x")
            for one in served:
                assert await one.has(1) == b"x"
            nursery.cancel_scope.cancel()
        for stream, (ours, theirs) in zip(streams, pairs, strict=True):
            stream.close()
            ours.close()
            theirs.close()

    run(check)


def test_others_have_their_turn_while_tasks_never_rest(way: str, pair: Pair) -> None:
    """Streams, threads, signals to trio's own descriptors, and clocks."""
    stream, other = pair

    async def busy() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async def check() -> None:
        served = Served(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(busy)
            nursery.start_soon(stream.serve, served.read)
            for number in range(5):
                await trio.to_thread.run_sync(other.send, b"x")
                await served.has(number + 1)
                await trio.sleep(0.001)
                with trio.move_on_after(0.001) as scope:
                    await trio.sleep_forever()
                assert scope.cancelled_caught
            nursery.cancel_scope.cancel()

    run(check)


def test_nothing_is_registered_once_nobody_serves(way: str, pair: Pair) -> None:
    stream, other = pair

    async def check() -> None:
        with trio.move_on_after(0.01):
            await stream.serve(lambda: None)
        other.send(b"x")
        await trio.sleep(0.01)  # would call, or spin, if it were watched still
        found = readiness.poller()
        assert found is None or not found._callbacks

    run(check)
