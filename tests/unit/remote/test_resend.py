"""Reads and writes in pieces, every order of replies: against a scripted table of slots.

The other side here is our own session's interface, slots filled by hand; that real
servers' replies become such slots is shown in tests/contract.
"""

from __future__ import annotations

import errno
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpfs.aio import Slot
from sftpfs.errors import IncompleteWriteError, SessionLostError, Status, StatusError, error
from sftpfs.remote.pool.connection import ServerHandle
from sftpfs.remote.request_sizes import RequestSizes
from sftpfs.remote.transfers.read_request import Read
from sftpfs.remote.transfers.resend import PAGE, Repeatable, piece_size
from sftpfs.remote.transfers.send_queue import SendQueue
from sftpfs.remote.transfers.write_request import Write, WritePiece
from sftpfs.sftp.link_rate import Link
from sftpfs.types import FilesystemStatistics, OpenFlags, ServerCapabilities


class Sent:
    """One request sent: its slot is filled by the test."""

    def __init__(self, kind: str, offset: int, detail: Any, slot: Slot[Any]) -> None:
        self.kind, self.offset, self.detail, self.slot = kind, offset, detail, slot


class ScriptedSession:
    def __init__(self, extensions: frozenset[str] = frozenset()) -> None:
        self.generation = 1
        self.sent: list[Sent] = []
        self.capabilities = ServerCapabilities(extensions)
        self.silent_since = 0.0
        self.link = Link()

    def _start(self, kind: str, offset: int, detail: Any) -> Slot[Any]:
        slot: Slot[Any] = Slot()
        self.sent.append(Sent(kind, offset, detail, slot))
        return slot

    def start_read(self, _handle: bytes, offset: int, length: int) -> Slot[Any]:
        return self._start("read", offset, length)

    def start_write(self, _handle: bytes, offset: int, data: bytes) -> Slot[Any]:
        return self._start("write", offset, bytes(data))

    def start_statvfs(self, path: bytes) -> Slot[Any]:
        return self._start("statvfs", 0, path)


class ScriptedConnection:
    def __init__(self, session: ScriptedSession) -> None:
        self.session = session
        self.outstanding = 0
        self.full = False


class ScriptedFile:
    """The open file as a transfer sees it, with handles on ``count`` sessions."""

    def __init__(self, count: int = 1, flags: OpenFlags = OpenFlags.READ, *extensions: str) -> None:
        self.flags = flags
        self.closed = False
        self.outbox = SendQueue(self)
        self.tracker = self
        self.patience = 60.0
        self.read_sizes = RequestSizes()
        self.write_sizes = RequestSizes()
        for sizes in (self.read_sizes, self.write_sizes):
            sizes.set_limit(1 << 30)
        self.waiting: list[Repeatable] = []
        self.path = b"/dir/file"
        self.sessions = [ScriptedSession(frozenset(extensions)) for _ in range(count)]
        self.handles = [ServerHandle(ScriptedConnection(one), b"h") for one in self.sessions]  # type: ignore[arg-type]

    def choose(self) -> ServerHandle | None:
        return self.handles[-1] if self.handles else None

    def primary(self) -> ServerHandle | None:
        return self.handles[0] if self.handles else None

    def drop(self, handle: ServerHandle) -> None:
        if handle in self.handles:
            self.handles.remove(handle)

    def wait(self, request: Repeatable) -> None:
        self.waiting.append(request)

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

    def renew(self, handle: ServerHandle) -> bool:
        return False

    @property
    def sent(self) -> list[Sent]:
        return self.sessions[-1].sent


def answer(sent: Sent, content: bytes, most: int = 1 << 30) -> None:
    """Reply to a read of a file with ``content``, with ``most`` bytes at most."""
    data = content[sent.offset : sent.offset + min(sent.detail, most)]
    sent.slot.set(data or None)


@given(st.integers(1, 5 << 20), st.sampled_from([32768, 65536, 131072, 261120, 1000]))
def test_pieces_are_few_and_fit(length: int, limit: int) -> None:
    size = piece_size(length, limit)
    assert 0 < size <= limit
    assert -(-length // size) == -(-length // limit)
    assert size in (length, limit) or size % PAGE == 0


def test_one_reply_is_given_on_as_it_is() -> None:
    file = ScriptedFile()
    slot = Read(file, 100, 4, 1000).start()
    reply = memoryview(b"data")
    file.sent[0].slot.set(reply)
    assert slot.result() is reply
    assert (file.sent[0].offset, file.sent[0].detail) == (100, 4)
    assert file.handles[0].connection.outstanding == 0


@given(st.data())
def test_any_short_replies_in_any_order_give_the_content(data: st.DataObject) -> None:
    content = bytes(range(256)) * 40
    size = data.draw(st.integers(0, len(content)))
    content = content[:size]
    offset, length = data.draw(st.integers(0, 11000)), data.draw(st.integers(1, 11000))
    file = ScriptedFile()
    slot = Read(file, offset, length, data.draw(st.sampled_from([1000, 4096, 32768]))).start()
    open_requests = list(file.sent)
    while open_requests:
        one = open_requests.pop(data.draw(st.integers(0, len(open_requests) - 1)))
        before = len(file.sent)
        answer(one, content, data.draw(st.integers(1, 3000)))
        open_requests += file.sent[before:]
    assert bytes(slot.result()) == content[offset : offset + length]
    assert file.handles[0].connection.outstanding == 0


def test_a_file_that_grows_behind_an_end_leaves_no_hole() -> None:
    file = ScriptedFile()
    slot = Read(file, 0, 3000, 1000).start()
    first, second, third = file.sent
    third.slot.set(b"c" * 1000)
    second.slot.set(None)
    first.slot.set(b"a" * 1000)
    assert bytes(slot.result()) == b"a" * 1000


@pytest.mark.parametrize("reply", [b"", b"12345"])
def test_a_reply_of_a_wrong_length_is_an_error(reply: bytes) -> None:
    file = ScriptedFile()
    slot = Read(file, 0, 4, 1000).start()
    file.sent[0].slot.set(reply)
    with pytest.raises(OSError) as raised:
        slot.result()
    assert raised.value.errno == errno.EIO


def test_a_failed_piece_fails_the_read_though_others_have_data() -> None:
    file = ScriptedFile()
    slot = Read(file, 0, 2000, 1000).start()
    file.sent[1].slot.fail(StatusError(Status.PERMISSION_DENIED))
    file.sent[0].slot.set(b"a" * 1000)
    with pytest.raises(StatusError):
        slot.result()


def test_a_lost_read_is_asked_again_elsewhere_from_where_it_was() -> None:
    file = ScriptedFile(2)
    slot = Read(file, 10, 100, 1000).start()
    lost = file.sessions[1]
    lost.sent[0].slot.set(b"a" * 30)
    lost.sent[1].slot.fail(SessionLostError("gone"))
    (again,) = file.sessions[0].sent
    assert (again.offset, again.detail) == (40, 70)
    again.slot.set(b"b" * 70)
    assert bytes(slot.result()) == b"a" * 30 + b"b" * 70


def test_a_piece_past_its_deadline_is_not_sent_again() -> None:
    for transfer in (Read(file := ScriptedFile(2), 0, 10, 1000), Write(file, 0, b"data", 1000)):
        file.patience = 0.0
        slot: Slot[Any] = transfer.start()
        file.sessions[1].sent[-1].slot.fail(SessionLostError("gone", errno.ETIMEDOUT))
        assert slot.error is not None
        assert not file.sessions[0].sent
        file.handles.append(ServerHandle(ScriptedConnection(file.sessions[1]), b"h"))  # type: ignore[arg-type]


def test_a_read_without_any_session_left_waits_for_one() -> None:
    file = ScriptedFile(2)
    slot = Read(file, 0, 10, 1000).start()
    file.sessions[1].sent[0].slot.fail(SessionLostError("gone"))
    file.sessions[0].sent[0].slot.fail(SessionLostError("gone too"))
    (waiting,) = file.waiting
    assert not slot.done
    waiting.give_up(OSError(errno.ESTALE, "another file"))
    with pytest.raises(OSError) as raised:
        slot.result()
    assert raised.value.errno == errno.ESTALE


def test_of_a_read_that_was_given_up_nothing_is_sent_any_more() -> None:
    file = ScriptedFile(2)
    read = Read(file, 0, 2000, 1000)
    slot = read.start()
    whole, cut = file.sessions[1].sent
    read.give_up(SessionLostError("silent", errno.ETIMEDOUT))
    assert read.ended
    cut.slot.set(b"abc")
    whole.slot.fail(SessionLostError("gone"))
    assert not file.sessions[0].sent and len(file.sessions[1].sent) == 2
    assert isinstance(slot.error, SessionLostError)


def test_a_short_reply_after_close_is_not_asked_on() -> None:
    file = ScriptedFile()
    Read(file, 0, 10, 1000).start()
    file.closed = True
    file.sent[0].slot.set(b"abc")
    assert len(file.sent) == len(file.waiting) == 1


def test_a_deadline_counts_from_the_last_sign_of_life_and_once() -> None:
    file = ScriptedFile(3)
    file.sessions[2].silent_since = monotonic() + 40
    slot = Read(file, 0, 10, 1000).start()
    file.sessions[2].sent[0].slot.fail(SessionLostError("gone"))
    file.sessions[1].silent_since = monotonic() + 1000
    file.sessions[1].sent[0].slot.fail(SessionLostError("gone too"))
    file.sessions[0].sent[0].slot.fail(SessionLostError("and this one"))
    (waiting,) = file.waiting
    assert 90 < waiting.deadline - monotonic() <= 100
    assert not slot.done


WRITE = OpenFlags.WRITE


@given(st.integers(0, 30000), st.sampled_from([1000, 4096, 32768]))
def test_a_write_sends_every_byte_once(length: int, limit: int) -> None:
    data = bytes(range(256)) * 118
    data = data[:length]
    file = ScriptedFile(1, WRITE)
    slot = Write(file, 7, data, limit).start()
    assert b"".join(one.detail for one in file.sent) == data
    for one in file.sent:
        assert data[one.offset - 7 :].startswith(one.detail)
        one.slot.set(None)
    assert slot.done
    slot.result()
    assert file.outbox.under_way == 0


def test_a_write_fails_only_when_no_piece_is_under_way() -> None:
    file = ScriptedFile(1, WRITE)
    slot = Write(file, 0, bytes(2000), 1000).start()
    file.sent[0].slot.fail(StatusError(Status.PERMISSION_DENIED))
    assert not slot.done, "the bytes are still in use"
    file.sent[1].slot.set(None)
    with pytest.raises(OSError) as raised:
        slot.result()
    assert raised.value.errno == errno.EACCES


def test_a_lost_write_is_sent_again_elsewhere_and_waits_where_there_is_no_other_handle() -> None:
    for count in (2, 1):
        file = ScriptedFile(count, WRITE)
        slot = Write(file, 5, b"data", 1000).start()
        file.sent[0].slot.fail(SessionLostError("gone"))
        again = file.sessions[0].sent if count == 2 else []
        assert [one.offset for one in again] == [5] * (count - 1)
        assert len(file.outbox.queue) == 2 - count
        assert not slot.done
        for one in again:
            one.slot.set(None)
        for piece in file.outbox.take():
            assert isinstance(piece, WritePiece) and piece.sent
            piece.landed()
        assert slot.done and slot.error is None


def test_writes_kept_back_are_sent_later() -> None:
    file = ScriptedFile(1, WRITE)
    file.outbox.held = True
    slot = Write(file, 0, b"data", 1000).start()
    assert not file.sent
    file.outbox.release()
    file.sent[0].slot.set(None)
    slot.result()


HEALTHY = FilesystemStatistics(4096, 4096, 1000, 500, 500, 100, 50, 50, 255, False)


@pytest.mark.parametrize(
    ("statistics", "expected"), [(HEALTHY._replace(bavail=0), errno.ENOSPC), (HEALTHY, errno.EIO)]
)
def test_a_failed_write_is_looked_into(statistics: FilesystemStatistics, expected: int) -> None:
    file = ScriptedFile(1, WRITE, "statvfs@openssh.com")
    slot = Write(file, 0, b"data", 1000).start()
    file.sent[0].slot.fail(StatusError(Status.FAILURE))
    look = file.sent[1]
    assert (look.kind, look.detail) == ("statvfs", b"/dir")
    look.slot.set(statistics)
    with pytest.raises(OSError) as raised:
        slot.result()
    assert raised.value.errno == expected


def test_the_failure_stands_where_the_look_fails() -> None:
    file = ScriptedFile(1, WRITE, "statvfs@openssh.com")
    slot = Write(file, 0, b"data", 1000).start()
    failure = StatusError(Status.FAILURE)
    file.sent[0].slot.fail(failure)
    file.sent[1].slot.fail(SessionLostError("gone"))
    assert isinstance(slot.error, OSError) and slot.error.errno == failure.errno


def test_a_failed_write_tells_which_bytes_are_missing() -> None:
    file = ScriptedFile(1, WRITE)
    slot = Write(file, 100, b"x" * 3 * 4096, 4096).start()
    for sent, problem in zip(file.sent, (None, error(errno.EDQUOT), None), strict=True):
        if problem is None:
            sent.slot.set(None)
        else:
            sent.slot.fail(problem)
    assert isinstance(slot.error, IncompleteWriteError)
    assert slot.error.errno == errno.EDQUOT
    assert slot.error.missing == [(100 + 4096, 100 + 2 * 4096)]
