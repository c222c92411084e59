"""When an answer comes from memory: the server is away, and there is one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
import trio
import trio.testing

from sftpfs.errors import SessionLostError
from sftpfs.remote.api import AWAY_AFTER, Remote
from sftpfs.vfs.prefetch.background import BackgroundTasks
from sftpfs.vfs.softreval import GLANCE, SoftRevalidation


class Server:
    """Is away from a moment on; an answer takes as long as it is told to."""

    def __init__(self) -> None:
        self.away_from = float("inf")
        self.latency = 0.0
        self.failure: OSError | None = None
        self.asked = 0

    @property
    def away(self) -> bool:
        return trio.current_time() >= self.away_from

    async def answer(self) -> str:
        self.asked += 1
        await trio.sleep(self.latency)
        if self.failure is not None:
            raise self.failure
        return "fresh"


def run(test: Callable[[Server, SoftRevalidation], Awaitable[None]], enabled: bool = True) -> None:
    """``test`` on a clock that jumps over every wait."""

    async def inside() -> None:
        server, background = Server(), BackgroundTasks()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(background.run)
            await trio.testing.wait_all_tasks_blocked()
            await test(server, SoftRevalidation(cast(Remote, server), enabled, background))
            nursery.cancel_scope.cancel()

    trio.run(inside, clock=trio.testing.MockClock(autojump_threshold=0))


def known() -> tuple[str]:
    return ("old",)


def nothing() -> Any:
    return None


def test_a_server_that_is_there_answers() -> None:
    async def test(server: Server, offline: SoftRevalidation) -> None:
        server.latency = 10 * AWAY_AFTER
        assert await offline.ask(server.answer, known) == "fresh"
        assert offline.served == 0

    run(test)


def test_away_nobody_is_asked() -> None:
    async def test(server: Server, offline: SoftRevalidation) -> None:
        server.away_from = trio.current_time()
        assert await offline.ask(server.answer, known) == "old"
        assert (server.asked, offline.served) == (0, 1)

    run(test)


def test_going_away_it_is_waited_for_a_moment() -> None:
    async def test(server: Server, offline: SoftRevalidation) -> None:
        began = trio.current_time()
        server.away_from = began + AWAY_AFTER
        server.latency = 1000
        assert await offline.ask(server.answer, known) == "old"
        assert trio.current_time() - began == pytest.approx(AWAY_AFTER, abs=GLANCE)

    run(test)


def test_who_asked_long_before_it_went_away_is_answered_too() -> None:
    """And a slow server is asked once, as long as it is there."""

    async def test(server: Server, offline: SoftRevalidation) -> None:
        began = trio.current_time()
        server.away_from = began + 5 * AWAY_AFTER
        server.latency = 1000
        assert await offline.ask(server.answer, known) == "old"
        assert trio.current_time() - began == pytest.approx(5 * AWAY_AFTER, abs=GLANCE)
        assert server.asked == 1

    run(test)


def test_what_is_not_known_is_waited_for() -> None:
    async def test(server: Server, offline: SoftRevalidation) -> None:
        server.away_from = trio.current_time()
        server.latency = 1000
        assert await offline.ask(server.answer, nothing) == "fresh"

    run(test)


def test_what_is_contradicted_meanwhile_is_not_shown() -> None:
    async def test(server: Server, offline: SoftRevalidation) -> None:
        answers = [known(), None]
        server.away_from = trio.current_time() + 1
        server.latency = 10
        assert await offline.ask(server.answer, lambda: answers.pop(0)) == "fresh"

    run(test)


@pytest.mark.parametrize("away", [True, False])
def test_a_lost_session_is_told_where_the_server_is_not_away(away: bool) -> None:
    async def test(server: Server, offline: SoftRevalidation) -> None:
        server.failure = SessionLostError("gone")
        server.latency = 1
        server.away_from = trio.current_time() + (1 if away else 100)
        if away:
            assert await offline.ask(server.answer, known) == "old"
        else:
            with pytest.raises(SessionLostError):
                await offline.ask(server.answer, known)

    run(test)


def test_an_error_of_the_server_is_an_answer() -> None:
    async def test(server: Server, offline: SoftRevalidation) -> None:
        server.failure = PermissionError(13, "no")
        with pytest.raises(PermissionError):
            await offline.ask(server.answer, known)

    run(test)


def test_without_a_cache_nothing_is_served() -> None:
    async def test(server: Server, offline: SoftRevalidation) -> None:
        server.away_from = trio.current_time()
        assert await offline.ask(server.answer, known) == "fresh"

    run(test, enabled=False)
