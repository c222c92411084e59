"""When a lost server counts as away, how long attempts go on, and what is waited past the deadline."""

from __future__ import annotations

import errno
import math
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
import trio
import trio.testing

from sftpfs.config import PoolConfig
from sftpfs.errors import Failure, MountError, SessionLostError
from sftpfs.remote.api import AWAY_AFTER
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.pool.reconnect import LONGEST_BACK_OFF, PERSISTENCE, Reconnector


class Attempts:
    """Fail until told otherwise."""

    def __init__(self) -> None:
        self.made = 0
        self.succeed = False
        self.at: list[float] = []
        self.failure: Exception = ConnectionRefusedError(111, "refused")
        self.greets = False
        """A server answers at once, and takes a minute to let somebody in."""
        self.logging_in = 0

    async def __call__(self, _reuse: bool) -> Connection:
        self.made += 1
        self.at.append(trio.current_time())
        if self.greets:
            self.logging_in += 1
            await trio.sleep(60)
            self.logging_in -= 1
            return cast(Connection, object())
        if not self.succeed:
            raise self.failure
        return cast(Connection, object())


def run(test: Callable[[Reconnector, Attempts], Awaitable[None]]) -> None:
    """``test`` on a clock that jumps over every wait."""

    async def inside() -> None:
        attempts = Attempts()
        async with trio.open_nursery() as nursery:
            reconnection = Reconnector(
                PoolConfig(), attempts, nursery.start_soon, lambda _: None, lambda: attempts.logging_in > 0
            )
            await test(reconnection, attempts)
            nursery.cancel_scope.cancel()

    trio.run(inside, clock=trio.testing.MockClock(autojump_threshold=0))


def test_away_a_while_after_the_loss_and_not_after_the_return() -> None:
    async def test(reconnection: Reconnector, attempts: Attempts) -> None:
        reconnection.lost(silent=0.0)
        assert not reconnection.away()
        await trio.sleep(AWAY_AFTER)
        assert reconnection.away()
        attempts.succeed = True
        await trio.sleep(5)
        assert not reconnection.away()

    run(test)


def test_a_loss_that_took_long_to_be_noticed_is_no_news() -> None:
    async def test(reconnection: Reconnector, attempts: Attempts) -> None:
        reconnection.lost(silent=30.0)
        assert reconnection.away()

    run(test)


def test_attempts_go_on_while_somebody_does_without() -> None:
    async def test(reconnection: Reconnector, attempts: Attempts) -> None:
        reconnection.lost(silent=0.0)
        await trio.sleep(3 * PERSISTENCE)
        made = attempts.made
        await trio.sleep(PERSISTENCE)
        assert attempts.made == made, "nobody asked"
        for _ in range(3):
            made = attempts.made
            assert reconnection.away()
            await trio.sleep(PERSISTENCE - 1)
            assert attempts.made > made + 10

    run(test)


def test_past_the_deadline_requests_one_after_another_wait_a_moment_in_all() -> None:
    """As those of many threads in one directory come."""

    async def test(reconnection: Reconnector, attempts: Attempts) -> None:
        reconnection.lost(silent=0.0)
        begun = trio.current_time()
        for _ in range(100):
            with pytest.raises(SessionLostError):
                await reconnection.wait(math.inf)
        assert trio.current_time() - begun < PoolConfig().timeout + 1
        attempts.succeed = True
        await trio.sleep(LONGEST_BACK_OFF * 2)
        assert reconnection.lost_for is None

    run(test)


@pytest.mark.parametrize("every", [1.0, 100.0, 400.0])
def test_a_refused_login_is_tried_rarely_however_often_somebody_asks(every: float) -> None:
    """fail2ban bans for five within ten minutes."""

    async def test(reconnection: Reconnector, attempts: Attempts) -> None:
        attempts.failure = MountError(Failure.AUTHENTICATION, "refused")
        begun = trio.current_time()
        reconnection.lost(silent=0.0)
        while trio.current_time() < begun + 6 * 3600:
            with pytest.raises(SessionLostError) as caught:
                await reconnection.wait(math.inf)
            assert caught.value.errno == errno.EACCES
            await trio.sleep(every)
        assert max(sum(at <= one < at + 600 for one in attempts.at) for at in attempts.at) <= 4
        assert 7 <= len(attempts.at) <= 14

    run(test)


def test_after_a_login_the_pause_is_short_again() -> None:
    async def test(reconnection: Reconnector, attempts: Attempts) -> None:
        attempts.failure = MountError(Failure.AUTHENTICATION, "refused")
        reconnection.lost(silent=0.0)
        for _ in range(3600):
            reconnection.away()
            await trio.sleep(1)
        attempts.succeed = True
        while reconnection.lost_for is not None:
            reconnection.away()
            await trio.sleep(1)
        attempts.succeed, attempts.at = False, []
        reconnection.lost(silent=0.0)
        reconnection.away()
        await trio.sleep(60)
        assert len(attempts.at) == 2

    run(test)


def test_no_second_login_beside_one_whose_server_has_greeted() -> None:
    async def test(reconnection: Reconnector, attempts: Attempts) -> None:
        attempts.greets = True
        reconnection.lost(silent=0.0)
        while reconnection.lost_for is not None:
            reconnection.away()
            await trio.sleep(1)
        assert attempts.made == 1

    run(test)
