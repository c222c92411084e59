"""The return of a lost connection: who waits, for how long, and when attempts are made.

Owned by ``remote.pool.pool``, which says when the connection is lost and makes the attempts.
Attempts begin with the loss and go on in the background for as long as anybody asks.

INVARIANT: attempts are under way exactly while ``_slot`` is set, and then by one task.
"""

from __future__ import annotations

import errno
import logging
import math
import random
from collections.abc import Awaitable, Callable

import trio

from sftpfs.aio import Slot
from sftpfs.config import PoolConfig
from sftpfs.errors import Failure, MountError, SessionLostError, said
from sftpfs.remote.api import AWAY_AFTER
from sftpfs.remote.pool.connection import Connection

logger = logging.getLogger(__name__)

FIRST_BACK_OFF = 0.1
LONGEST_BACK_OFF = 1.0
"""Seconds between attempts; short, because requests are waiting and people watch."""

HOST_KEY_BACK_OFF = 2.0
"""Seconds between attempts if we refuse the server. It was sent nothing of ours, so no account can be locked.
OpenSSH's PerSourcePenalties counts a connection that ends before the login as one second; with two between
them they never add up."""

REFUSED_BACK_OFF = 30.0
LONGEST_REFUSED_BACK_OFF = 3600.0
REFUSED_GROWTH = 3.0
"""Seconds between attempts if the server refuses the login, at first and at last, and the factor from each
wait to the next. That makes four in ten minutes: fail2ban bans an address, and so everybody who shares it,
for five."""

SETTLED = 2.0
"""A connection must have lived for these seconds for its successor to be tried without a pause."""

GRACE = 0.25
"""Seconds that requests wait for the attempts once the deadline has passed; after that they fail without
them."""

GRACE_EVERY = 1.0
"""Seconds from one such wait, of all requests together, to the next. The kernel makes requests on one
directory one after the other: the last of many threads would wait as long as all of them together."""

CHANCE = 5.0
"""Seconds that requests wait if noticing the loss took the whole deadline: a new connection most likely
succeeds, and takes a moment."""

PERSISTENCE = 60.0
"""Seconds attempts go on after somebody last asked; the next to ask starts them again."""

IMPATIENCE = 2.5
"""Seconds after which another attempt is made beside one that has not come to an end: the kernel repeats the
packets of a connect that began in a hole ever more rarely."""

HOST_KEY_FAILURES = (Failure.HOST_KEY_CHANGED, Failure.HOST_KEY_UNKNOWN)

LOGIN_FAILURES = (Failure.AUTHENTICATION, Failure.CONFIGURATION, *HOST_KEY_FAILURES)
"""Failures that time alone does not mend."""

Attempt = Callable[[bool], Awaitable[Connection]]
"""Makes the connection, the first time with what is left of the old one. Raises MountError, OSError."""


class Reconnector:
    """See the module. One object a pool."""

    def __init__(
        self,
        config: PoolConfig,
        attempt: Attempt,
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
        install: Callable[[Connection], None],
        logging_in: Callable[[], bool] = lambda: False,
    ) -> None:
        """``logging_in``: as ``Connector.logging_in``."""
        self.count = 0
        """Connections made again."""
        self.longest = 0.0
        """Seconds the longest login took: over a slow link another beside it would make both take longer."""
        self._config = config
        self._attempt = attempt
        self._spawn = spawn
        self._install = install
        self._logging_in = logging_in
        self._refused_back_off = REFUSED_BACK_OFF
        self._login_at = -math.inf
        """There is no further login before this time, because one was refused."""
        self._slot: Slot[Connection | None] | None = None
        """Filled with None if the attempts end without success."""
        self._lost_at: float | None = None
        self._away_at = math.inf
        """When it counts as away: not at once, because most connections are back before anybody notices."""
        self._asked_at = 0.0
        self._give_up_at: float | None = None
        """When requests stop waiting; set as the first of an outage asks."""
        self._grace_at = -math.inf
        """When requests last began to wait past that."""
        self._logged = False
        self._made_at = -math.inf
        self._failure: MountError | OSError | None = None

    @property
    def lost_for(self) -> float | None:
        """Seconds since the connection was lost; None while it is there."""
        return None if self._lost_at is None else trio.current_time() - self._lost_at

    def lost(self, silent: float) -> None:
        """The connection is lost; ``silent``: seconds it took to be noticed for want of any answer."""
        now = trio.current_time()
        self._lost_at = self._asked_at = now
        if silent and not self._config.hard:
            timeout = self._config.timeout
            self._give_up_at = now + max(timeout - silent, min(CHANCE, timeout))
        self._away_at = now if silent else now + AWAY_AFTER
        self._begin()

    def away(self) -> bool:
        """Whether it has been missing for so long that nobody who has a choice should wait for it.

        Whoever asks this wants the connection, so attempts go on.
        """
        now = self._asked_at = trio.current_time()
        if self._slot is None:
            self._begin()
        return now >= self._away_at

    async def wait(self, until: float) -> Connection:
        """The connection when it is back.

        Waits until ``until`` (trio's clock) or ``timeout`` seconds after it was first missed; after that only
        for a moment or not at all. Raises SessionLostError: ETIMEDOUT, or EACCES if the login is refused.
        """
        now = self._asked_at = trio.current_time()
        if self._give_up_at is None:
            self._give_up_at = now + self._config.patience
        slot = self._slot or self._begin()
        with trio.move_on_at(min(until, self._give_up_at if now < self._give_up_at else self._grace(now))):
            connection = await slot.wait()
            if connection is not None:
                return connection
        raise self._unreachable()

    def end(self) -> None:
        """From now on nobody waits."""
        self._finish(None)

    def _grace(self, now: float) -> float:
        """Until when a request waits that comes past the deadline."""
        if now >= self._grace_at + GRACE_EVERY:
            self._grace_at = now
        return self._grace_at + min(GRACE, self._config.timeout)

    def _begin(self) -> Slot[Connection | None]:
        if self._slot is None:
            self._slot = Slot()
            self._spawn(self._run)
        return self._slot

    def _finish(self, connection: Connection | None) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.set(connection)

    def _unreachable(self) -> SessionLostError:
        failure = self._failure
        reason = "the connection is being made again" if failure is None else said(failure)
        number = errno.EACCES if self._login_refused() else errno.ETIMEDOUT
        return SessionLostError(f"the server cannot be reached: {reason}", number)

    def _login_refused(self) -> bool:
        return self._failed_with(*LOGIN_FAILURES)

    def _failed_with(self, *failures: Failure) -> bool:
        return isinstance(self._failure, MountError) and self._failure.failure in failures

    async def _run(self) -> None:
        """Attempts until one succeeds, or nobody has asked for a while."""
        back_off = FIRST_BACK_OFF
        if trio.current_time() < self._login_at:
            self._log_outage(trio.current_time())
            await trio.sleep_until(self._login_at)
        self._failure = None
        if trio.current_time() < self._made_at + SETTLED:
            await trio.sleep(jittered(LONGEST_BACK_OFF / 2))
        first = True
        while (connection := await self._race(first)) is None:
            first = False
            now = trio.current_time()
            self._log_outage(now)
            refused = self._failed_with(Failure.AUTHENTICATION)
            if refused:
                self._put_off_login(now)
            if now > self._asked_at + PERSISTENCE:
                self._give_up_at = None
                self._finish(None)
                return
            if refused:
                await trio.sleep_until(self._login_at)
                continue
            await trio.sleep(
                jittered(HOST_KEY_BACK_OFF if self._failed_with(*HOST_KEY_FAILURES) else back_off)
            )
            back_off = min(back_off * 2, LONGEST_BACK_OFF)
        self._returned(connection)

    def _put_off_login(self, now: float) -> None:
        """A login was refused."""
        self._login_at = now + jittered(self._refused_back_off)
        self._refused_back_off = min(REFUSED_GROWTH * self._refused_back_off, LONGEST_REFUSED_BACK_OFF)

    def _returned(self, connection: Connection) -> None:
        now = self._made_at = trio.current_time()
        if self._lost_at is not None:
            self.count += 1
            logger.warning("the connection is back after %.1f s", now - self._lost_at, extra={"good": True})
        self._lost_at = self._give_up_at = None
        self._away_at = math.inf
        self._logged = False
        self._failure = None
        self._refused_back_off = REFUSED_BACK_OFF
        self._install(connection)
        self._finish(connection)

    def _log_outage(self, now: float) -> None:
        """Tell once an outage that requests fail from now on."""
        refused = self._login_refused()
        if refused:
            self._give_up_at = now
            if self._slot is not None:
                waiting, self._slot = self._slot, Slot()
                waiting.set(None)  # the next attempt is too far away to be waited for
        if not self._logged and self._give_up_at is not None and now >= self._give_up_at:
            self._logged = True
            logger.log(
                logging.ERROR if refused else logging.WARNING,
                "the server cannot be reached, requests fail until it is back: %s",
                said(self._failure) if self._failure is not None else "",
            )

    async def _race(self, reuse: bool) -> Connection | None:
        """An attempt, and further ones beside it while it takes long; the first to succeed."""
        won: list[Connection] = []
        async with trio.open_nursery() as nursery:

            async def attempt(reuse: bool) -> None:
                connection = await self._one(reuse)
                if connection is not None:
                    won.append(connection)
                    nursery.cancel_scope.cancel()

            async def impatient() -> None:
                while True:
                    await self._lost_patience()
                    async with trio.open_nursery() as beside:

                        async def until_it_has_taken_long(scope: trio.CancelScope) -> None:
                            await self._lost_patience()
                            scope.cancel()

                        beside.start_soon(until_it_has_taken_long, beside.cancel_scope)
                        await attempt(False)
                        beside.cancel_scope.cancel()

            async def patient() -> None:
                await attempt(reuse)
                nursery.cancel_scope.cancel()

            nursery.start_soon(patient)
            nursery.start_soon(impatient)
        for extra in won[1:]:
            extra.session.close("another connection was made first")
        return won[0] if won else None

    async def _lost_patience(self) -> None:
        """Waits for the time that an attempt may take, and then while a server that has greeted one
        decides."""
        patience = max(IMPATIENCE, 2 * self.longest)
        await trio.sleep(patience)
        while self._logging_in():  # noqa: ASYNC110 - another may begin as soon as one has ended
            await trio.sleep(patience)

    async def _one(self, reuse: bool) -> Connection | None:
        try:
            return await self._attempt(reuse)
        except (MountError, OSError) as failure:
            self._failure = failure
            return None


def jittered(seconds: float) -> float:
    """``seconds``, spread so that the mounts of many machines do not come back in step."""
    return seconds * random.uniform(0.75, 1.25)
