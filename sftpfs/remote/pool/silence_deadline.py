"""How long the server was silent since an operation began: after ``timeout=`` seconds of silence the
operation ends.

That holds however many requests it makes, one after another, and however many sessions they outlive. Silence
is time without the metadata connection, counted from when the lost one began to owe an answer. It is also
time in which that connection owes an answer, if that lasts for half of the deadline. A server that answers
sooner uses up none of it: what is slow and moves goes on.

A session itself gives up what it does not answer for so long (``sftp.table.reply_deadline``). So only an
operation that has met a silence is watched here, and usually none is. Writes are not: they belong to no
single operation (``remote.transfers.resend`` has their deadline).
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import trio

from sftpfs import clock
from sftpfs.errors import SessionLostError
from sftpfs.remote.slots import abandon
from sftpfs.sftp.session import Session
from sftpfs.sftp.table.request import Reach, Request

T = TypeVar("T")

REMEMBERED = 64
"""Past silences that are remembered. If one operation meets more, the oldest no longer count, and it may take
longer."""

OWING = 0.5
"""Part of the deadline. A living connection that owes an answer for less does not count as silent. Over a
slow link that is one answer."""

GLANCE = 0.25
"""Seconds between looks while anything is watched."""


class Heard(Protocol):
    """What is needed of the pool."""

    @property
    def silent_since(self) -> float | None:
        """When the present silence began; None if there is none."""

    @property
    def last_reply(self) -> float:
        """When the metadata connection last brought anything."""

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` in the background."""


class Watched(Protocol):
    """What ends with its operation."""

    @property
    def ended(self) -> bool:
        """It has ended by itself."""

    def give_up(self, failure: OSError) -> None:
        """The server was silent for too long."""


class EndsWithOperation:
    """A request of an open file's own that is ``Watched`` once the session it waits on is silent."""

    __slots__ = ()

    started: float
    """When its operation began, by ``clock.awake``."""

    @property
    def ended(self) -> bool:
        """As ``Watched.ended``."""
        raise NotImplementedError

    def give_up(self, failure: OSError) -> None:
        """As ``Watched.give_up``."""
        raise NotImplementedError


class _Scope:
    """A task's wait for many things."""

    __slots__ = ("ended", "scope")

    def __init__(self, scope: trio.CancelScope) -> None:
        self.scope = scope
        self.ended = False

    def give_up(self, _: OSError) -> None:
        """As ``Watched.give_up``."""
        self.scope.cancel()


class _Request:
    """What a living session owes."""

    __slots__ = ("_request", "_session")

    def __init__(self, session: Session, request: Request[Any]) -> None:
        self._session = session
        self._request = request

    def __hash__(self) -> int:
        return hash(self._request)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Request) and other._request is self._request

    @property
    def ended(self) -> bool:
        """As ``Watched.ended``."""
        return self._request.done

    def give_up(self, failure: OSError) -> None:
        """As ``Watched.give_up``."""
        abandon(self._session, self._request, failure)


class Silence:
    """See the module. One object a pool.

    INVARIANT: ``_watch`` runs while ``_watched`` is not empty, or a moment longer.
    """

    __slots__ = ("_heard", "_over", "_patience", "_since", "_watched", "_watching")

    def __init__(self, heard: Heard, patience: float) -> None:
        self._heard = heard
        self._patience = patience
        self._over: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)
        self._since: float | None = None
        self._watched: dict[Watched, float] = {}
        """With when the operation of each began."""
        self._watching = False

    def look(self) -> None:
        """Note whether the server is silent: about once a second, and as a connection comes back."""
        since, before = self._heard.silent_since, self._since
        if before is not None and since != before:
            self._over.append((before, max(before, self._heard.last_reply)))
        self._since = since

    def owed(self, session: Session) -> None:
        """From now on watches what ``session``, that of the metadata connection, owes while it is silent.
        Otherwise an answer to something else would give it a new deadline."""
        self.look()
        if self._since is None:
            return
        for request in session.unanswered():
            owner = getattr(request.callback, "__self__", None)
            if isinstance(owner, EndsWithOperation):
                self.watch(owner, owner.started)
            elif request.direction is None and request.kind.reach is not Reach.APART:
                self.watch(_Request(session, request), request.sent)

    def left(self, begun: float) -> float:
        """Seconds for which an operation that began then still waits for a server that says nothing."""
        self.look()
        left = self._patience
        for since, until in reversed(self._over):
            if until <= begun:
                break
            left -= until - max(since, begun)
        if self._since is not None:
            left -= max(0.0, clock.awake() - max(self._since, begun))
        return left

    def met(self, begun: float) -> bool:
        """Whether an operation that began then has waited for a silent server already."""
        return self.left(begun) < self._patience

    def watch(self, one: Watched, begun: float) -> None:
        """``one`` is given up with the operation that began then."""
        if self._patience == float("inf"):
            return
        self._watched.setdefault(one, begun)
        if not self._watching:
            self._watching = True
            self._heard.spawn(self._watch)

    async def within(self, begun: float, work: Awaitable[T]) -> T:
        """The result of ``work``, as long as the operation that began then may wait. Raises
        SessionLostError."""
        with trio.CancelScope() as scope:
            waiting = _Scope(scope)
            self.watch(waiting, begun)
            try:
                return await work
            finally:
                waiting.ended = True
                self._watched.pop(waiting, None)
        raise too_long()

    async def _watch(self) -> None:
        try:
            while self._watched:
                for one, begun in list(self._watched.items()):
                    if one.ended or self.left(begun) <= 0:
                        self._watched.pop(one, None)
                        if not one.ended:
                            one.give_up(too_long())
                await trio.sleep(GLANCE)
        finally:
            self._watching = False


def too_long() -> SessionLostError:
    """The error of an operation that has waited for all of its deadline."""
    return SessionLostError("the server was silent for longer than the deadline", errno.ETIMEDOUT)
