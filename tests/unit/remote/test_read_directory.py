"""Listings of servers that do not behave."""

from __future__ import annotations

import errno
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import trio
import trio.testing

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, Status, StatusError
from sftpfs.remote.requests import read_directory
from sftpfs.remote.requests.read_directory import ENTRY_BYTES, LARGEST_WINDOW, begin_reading, list_entries
from sftpfs.server_traits import ServerTraits
from sftpfs.sftp.handle_prediction import HandlePredictor
from sftpfs.types import DirectoryEntry

Reply = list[DirectoryEntry] | None | OSError


class ScriptedSession:
    """Answers the n-th READDIR with ``reply(n)``."""

    def __init__(self, reply: Callable[[int], Reply]) -> None:
        self.reply = reply
        self.handles = HandlePredictor()
        self.traits = ServerTraits()
        self.opening: Slot[bytes] = Slot.of(b"handle")
        self.readdirs = 0
        self.closed = 0

    def start_opendir(self, _path: bytes) -> Slot[bytes]:
        return self.opening

    def start_readdir(self, _handle: bytes) -> Slot[Any]:
        self.readdirs += 1
        slot: Slot[Any] = Slot()
        reply = self.reply(self.readdirs)
        if isinstance(reply, OSError):
            slot.fail(reply)
        else:
            slot.set(reply)
        return slot

    def start_close(self, _handle: bytes) -> Slot[None]:
        self.closed += 1
        return Slot.of(None)


def entries(*names: bytes) -> list[DirectoryEntry]:
    return [DirectoryEntry(name, None) for name in names]


def listed(session: ScriptedSession) -> list[bytes]:
    async def body() -> list[DirectoryEntry]:
        return await list_entries(session, b"/")  # type: ignore[arg-type]

    return [entry.name for entry in trio.run(body)]


def test_a_name_that_comes_twice_is_listed_once() -> None:
    session = ScriptedSession(lambda n: entries(b"a", b"b", b"a") if n < 3 else None)
    assert listed(session) == [b"a", b"b"]


@pytest.mark.parametrize("reply", [entries(b"a"), [], entries(b"a/b")])
def test_a_listing_that_repeats_itself_ends(reply: list[DirectoryEntry]) -> None:
    session = ScriptedSession(lambda _: reply)
    with pytest.raises(OSError) as raised:
        listed(session)
    assert raised.value.errno == errno.EIO
    assert session.closed == 1


def test_a_listing_without_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_directory, "MOST_BYTES", 1000 * ENTRY_BYTES)
    session = ScriptedSession(lambda n: entries(*(b"%d-%d" % (n, m) for m in range(10))))
    with pytest.raises(OSError) as raised:
        listed(session)
    assert raised.value.errno == errno.EIO
    assert session.readdirs < 1000 / 10 + 2 * LARGEST_WINDOW


def test_an_error_on_the_way_is_an_error() -> None:
    session = ScriptedSession(lambda n: StatusError(Status.FAILURE) if n > 2 else entries(b"%d" % n))
    with pytest.raises(StatusError):
        listed(session)
    assert session.closed == 1


def test_a_lost_session_is_sent_nothing_more() -> None:
    session = ScriptedSession(lambda n: SessionLostError("gone") if n > 1 else entries(b"a"))
    with pytest.raises(SessionLostError):
        listed(session)
    assert session.closed == 0


def test_what_follows_the_end_is_ignored() -> None:
    session = ScriptedSession(lambda n: None if n == 2 else entries(b"%d" % n))
    assert listed(session) == [b"1"]


@pytest.mark.parametrize("late", [False, True])
def test_a_handle_nobody_waits_for_any_more_is_closed(late: bool) -> None:
    """Also one that comes just as the waiting is cancelled."""
    session = ScriptedSession(lambda _: None)
    session.opening = Slot()

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(list_entries, session, b"/")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            if not late:
                session.opening.set(b"handle")
        if late:
            session.opening.set(b"handle")

    trio.run(body)
    assert session.closed == 1


def test_the_first_names_come_before_the_rest() -> None:
    """Names that come again are no new ones; the handle is closed at the end."""
    session = ScriptedSession(lambda n: entries(b"a", b"%d" % n) if n < 30 else None)

    async def body() -> list[list[bytes]]:
        first, reading = await begin_reading(session, b"/", lambda: 1)  # type: ignore[arg-type]
        assert reading is not None and session.closed == 0
        found, ended = [first], False
        while not ended:
            ended = await reading.read(lambda: 1)
            found.append(reading.take())
        return [[entry.name for entry in part] for part in found]

    found = trio.run(body)
    assert len(found) > 2
    assert list(chain(*found)) == [b"a", *(b"%d" % n for n in range(1, 30))]
    assert session.closed == 1


def test_names_that_were_taken_count_for_the_memory_of_a_listing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(read_directory, "MOST_BYTES", 1000 * ENTRY_BYTES)
    session = ScriptedSession(lambda n: entries(*(b"%d-%d" % (n, m) for m in range(10))))

    async def body() -> None:
        _, reading = await begin_reading(session, b"/huge", lambda: 1)  # type: ignore[arg-type]
        assert reading is not None
        with pytest.raises(OSError) as raised:
            while not await reading.read(lambda: 1):
                reading.take()
        assert raised.value.errno == errno.EIO

    trio.run(body)
    assert session.closed == 1
    assert "listing b'/huge' was given up" in caplog.text
