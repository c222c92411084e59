"""What must follow the writes of a file does: whatever is lost, refused for its size, kept back or waits.

Each session here carries its requests out in order, as the server does, at the moment they are answered, or
as it is lost; what a request that covers writes finds carried out at that moment is what it covered.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, Status, StatusError
from sftpfs.remote.pool.connection import ServerHandle
from sftpfs.remote.request_sizes import SAFE, RequestSizes
from sftpfs.remote.transfers.handle_request import Follower
from sftpfs.remote.transfers.resend import Repeatable
from sftpfs.remote.transfers.send_queue import SendQueue
from sftpfs.remote.transfers.write_request import Write
from sftpfs.sftp.link_rate import Link
from sftpfs.types import OpenFlags, ServerCapabilities

PATIENCE = 1e9


class Sent:
    """A request on its way."""

    def __init__(self, file: Scripted, span: tuple[int, int] | None) -> None:
        self.slot: Slot[Any] = Slot()
        self.file = file
        self.span = span

    def carry_out(self) -> frozenset[tuple[int, int]]:
        """What a look at the file finds now; after it, for a write."""
        if self.span is not None:
            self.file.written |= {(at, at + SAFE) for at in range(*self.span, SAFE)}
        return frozenset(self.file.written)


class Session:
    """One session, and the connection it is on."""

    def __init__(self, file: Scripted) -> None:
        self.file = file
        self.session = self
        self.generation = 1
        self.silent_since = 0.0
        self.outstanding = 0
        self.full = False
        self.link = Link()
        self.capabilities = ServerCapabilities()
        self.sent: list[Sent] = []

    def _start(self, span: tuple[int, int] | None) -> Slot[Any]:
        self.sent.append(Sent(self.file, span))
        return self.sent[-1].slot

    def start_write(self, _: bytes, offset: int, data: bytes) -> Slot[Any]:
        return self._start((offset, offset + len(data)))

    def start_fsync(self, _: bytes) -> Slot[Any]:
        return self._start(None)

    def answer(self) -> None:
        """The oldest one: carried out, unless it is a write of more than the server takes."""
        one = self.sent.pop(0)
        if one.span is not None and one.span[1] - one.span[0] > self.file.takes:
            one.slot.fail(StatusError(Status.FAILURE))
        else:
            one.slot.set(one.carry_out())

    def lose(self, carried_out: int) -> None:
        """It ends; the first requests were carried out all the same."""
        sent, self.sent = self.sent, []
        for one in sent[:carried_out]:
            one.carry_out()
        for one in sent:
            one.slot.fail(SessionLostError("gone"))


class Scripted:
    """An open file."""

    def __init__(self, sessions: int, takes: int) -> None:
        self.flags = OpenFlags.WRITE
        self.closed = False
        self.patience = PATIENCE
        self.path = b"/dir/file"
        self.takes = takes
        self.write_sizes = self.read_sizes = RequestSizes()
        self.write_sizes.set_limit(4 * SAFE)
        self.written: set[tuple[int, int]] = set()
        self.handles: list[ServerHandle] = []
        for _ in range(sessions):
            self.install()
        self.outbox = SendQueue(self)
        self.tracker = self

    def install(self) -> None:
        self.handles.append(ServerHandle(Session(self), b"h"))  # type: ignore[arg-type]

    @property
    def sessions(self) -> list[Session]:
        return [handle.session for handle in self.handles]  # type: ignore[misc]

    def choose(self) -> ServerHandle | None:
        return min(self.handles, key=lambda one: one.connection.outstanding, default=None)

    def primary(self) -> ServerHandle | None:
        return self.handles[0] if self.handles else None

    def drop(self, handle: ServerHandle) -> None:
        if handle in self.handles:
            self.handles.remove(handle)

    def wait(self, request: Repeatable) -> None:
        raise AssertionError("nothing here waits elsewhere")

    def unreachable(self) -> OSError | None:
        return None

    def placed(self, piece: object) -> bool:
        return True

    def watch(self, call: Any) -> None:
        pass

    def write_sent(self, handle: ServerHandle, offset: int, length: int) -> None:
        pass

    def write_ended(self, change: Any, data: Any, failure: Any) -> None:
        pass

    def ends_early(self, end: int) -> None:
        pass

    def renew(self, handle: Any) -> bool:
        return False

    def beside(self, connection: Any, target: Any) -> None:
        pass


class Program:
    """Writes and syncs one file."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.file = Scripted(self.random.randint(1, 3), self.random.choice([SAFE, 4 * SAFE]))
        self.end = 0
        self.writes: list[Slot[None]] = []
        self.syncs: list[tuple[int, Slot[Any]]] = []

    def step(self) -> None:
        file, chosen = self.file, self.random
        busy = [one for one in file.sessions if one.sent]
        match chosen.choice(["write", "write", "sync", "answer", "answer", "answer", "lose", "full", "hold"]):
            case "write":
                length = SAFE * chosen.choice([1, 1, 3, 9])
                self.writes.append(Write(file, self.end, bytes(length), file.write_sizes.limit).start())
                self.end += length
            case "sync":
                sync: Follower[Any] = Follower(file, lambda handle: handle.session.start_fsync(b"h"))
                sync.send()
                self.syncs.append((self.end, sync.slot))
            case "answer" if busy:
                chosen.choice(busy).answer()
            case "lose" if file.handles and chosen.random() < 0.3:
                session = chosen.choice(file.sessions)
                session.lose(chosen.randint(0, len(session.sent)))
                file.handles = [one for one in file.handles if one.connection is not session]
                if not file.handles or chosen.random() < 0.5:
                    file.install()
                    file.outbox.pump()
            case "full":
                for one in file.sessions:
                    one.full = chosen.random() < 0.3
            case "hold":
                if file.outbox.held:
                    file.outbox.release()
                elif not file.outbox.under_way:
                    file.outbox.held = True

    def finish(self) -> None:
        """Everything that waits is sent and answered."""
        if self.file.outbox.held:
            self.file.outbox.release()
        while busy := [one for one in self.file.sessions if one.sent]:
            self.random.choice(busy).answer()


@pytest.mark.parametrize("seed", range(100))
def test_what_follows_writes_finds_them_carried_out(seed: int) -> None:
    program = Program(seed)
    for _ in range(120):
        program.step()
    program.finish()
    assert not program.file.outbox.queue and not program.file.outbox.under_way
    assert all(slot.done and slot.error is None for slot in program.writes)
    for end, slot in program.syncs:
        assert slot.done
        assert slot.result() >= {(at, at + SAFE) for at in range(0, end, SAFE)}


def test_on_one_session_all_goes_together() -> None:
    file = Scripted(1, 4 * SAFE)
    Write(file, 0, bytes(9 * SAFE), 4 * SAFE).start()
    sync: Follower[Any] = Follower(file, lambda handle: handle.session.start_fsync(b"h"))
    sync.send()
    assert [one.span is None for one in file.sessions[0].sent] == [False, False, False, True]


def test_a_request_that_follows_waits_for_no_write_made_after_it() -> None:
    file = Scripted(2, 4 * SAFE)
    Write(file, 0, bytes(SAFE), 4 * SAFE).start()  # on the first session
    Write(file, SAFE, bytes(SAFE), 4 * SAFE).start()  # on the other
    sync: Follower[Any] = Follower(file, lambda handle: handle.session.start_fsync(b"h"))
    sync.send()
    Write(file, 2 * SAFE, bytes(SAFE), 4 * SAFE).start()
    first, other = file.sessions
    assert len(first.sent) + len(other.sent) == 3, "the last write has passed it"
    assert [type(one) for one in file.outbox.queue] == [Follower]
    other.answer()
    assert [one.span is None for one in first.sent] in ([False, True], [False, False, True])


def test_a_file_being_closed_sends_what_waits() -> None:
    file = Scripted(1, 4 * SAFE)
    Write(file, 0, bytes(SAFE), 4 * SAFE).start()
    file.sessions[0].full = True
    Write(file, SAFE, bytes(SAFE), 4 * SAFE).start()
    sync: Follower[Any] = Follower(file, lambda handle: handle.session.start_fsync(b"h"))
    sync.send()
    assert len(file.outbox.queue) == 2
    file.outbox.flush(file.handles[0])
    assert [one.span is None for one in file.sessions[0].sent] == [False, False, True]
