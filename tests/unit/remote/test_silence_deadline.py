"""What counts as the server's silence, and what it ends."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from sftpfs import clock, operation
from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError
from sftpfs.remote.pool.silence_deadline import Silence

TIMEOUT = 10.0


class Server:
    """What the pool knows of it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.silent_since: float | None = None
        self.last_reply = 0.0

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(work)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Server, Silence], Awaitable[None]]], None]:
    """A test on a clock that jumps over every wait."""

    def on(test: Callable[[Server, Silence], Awaitable[None]]) -> None:
        async def inside() -> None:
            monkeypatch.setattr(clock, "awake", trio.current_time)
            async with trio.open_nursery() as nursery:
                server = Server(nursery)
                await test(server, Silence(server, TIMEOUT))
                nursery.cancel_scope.cancel()

        trio.run(inside, clock=trio.testing.MockClock(autojump_threshold=0))

    return on


async def silent(server: Server, silence: Silence, seconds: float) -> None:
    """It says nothing for so long."""
    server.silent_since = clock.awake()
    silence.look()
    await trio.sleep(seconds)
    server.silent_since, server.last_reply = None, clock.awake()
    silence.look()


async def long() -> None:
    """What takes time, and goes on."""
    await trio.sleep(1000)


Run = Callable[[Callable[[Server, Silence], Awaitable[None]]], None]


def test_silences_add_up_and_answers_take_nothing(run: Run) -> None:
    async def test(server: Server, silence: Silence) -> None:
        begun = clock.awake()
        await silent(server, silence, 4)
        await trio.sleep(100)
        assert silence.left(begun) == pytest.approx(TIMEOUT - 4)
        await silent(server, silence, 5)
        assert silence.left(begun) == pytest.approx(TIMEOUT - 9)

    run(test)


def test_what_was_before_an_operation_does_not_count(run: Run) -> None:
    async def test(server: Server, silence: Silence) -> None:
        await silent(server, silence, 4)
        assert not silence.met(clock.awake())
        server.silent_since = clock.awake()
        await trio.sleep(3)
        begun = clock.awake()
        await trio.sleep(2)
        assert silence.left(begun) == pytest.approx(TIMEOUT - 2)

    run(test)


def test_a_wait_ends_with_what_the_operation_has_left(run: Run) -> None:
    async def test(server: Server, silence: Silence) -> None:
        operation.begin()
        await silent(server, silence, 8)
        server.silent_since = before = clock.awake()
        never: Slot[None] = Slot()
        with pytest.raises(SessionLostError) as failed:
            await silence.within(operation.begun(), never.wait())
        assert failed.value.errno == errno.ETIMEDOUT
        assert 2 <= clock.awake() - before < 3

    run(test)


def test_a_server_that_answers_is_waited_for(run: Run) -> None:
    async def test(server: Server, silence: Silence) -> None:
        operation.begin()
        await silent(server, silence, 9)
        await silence.within(operation.begun(), long())

    run(test)


def test_the_background_is_in_no_operation(run: Run) -> None:
    async def test(server: Server, silence: Silence) -> None:
        operation.begin()
        await trio.sleep(5)
        assert operation.begun() == clock.awake() - 5
        operation.end()
        assert operation.begun() == clock.awake()

    run(test)
