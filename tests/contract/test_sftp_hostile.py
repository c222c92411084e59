"""A session with a scripted peer: what no server may send ends the session, and nothing hangs."""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
from collections.abc import Callable

import pytest
import trio
import trio.testing

from sftpfs.aio import ByteStream, Slot
from sftpfs.errors import SessionLostError, StatusError
from sftpfs.sftp.session import Session
from tests.contract.scripted_peer import LIMIT, SHORT, Peer, lost, with_peer
from tests.harness import sftp_wire as wire

FILE = wire.attrs(size=5, ids=(1, 2), mode=0o100644, times=(3, 4))


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "unknown id": lambda i: wire.packet(105, i + 100, FILE),
    "zero length": lambda i: struct.pack(">I", 0),
    "no room for an id": lambda i: struct.pack(">IB", 1, 101),
    "oversized": lambda i: struct.pack(">IBI", 1 << 20, 103, i),
    "longest length": lambda i: b"\xff\xff\xff\xff",
    "wrong type": lambda i: wire.handle(i, b"h"),
    "data for attributes": lambda i: wire.data(i, b"data"),
    "unknown type": lambda i: wire.packet(77, i, FILE),
    "a request": lambda i: wire.packet(7, i, wire.string(b"/")),
    "truncated attributes": lambda i: wire.packet(105, i, FILE[:-1]),
    "truncated status": lambda i: wire.packet(101, i, b"\0"),
    "status with a message too long": lambda i: wire.packet(101, i, struct.pack(">II", 4, 1 << 30)),
    "empty": lambda i: wire.packet(105, i),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_reply_that_breaks_the_protocol_ends_the_session(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(peer: Peer) -> None:
        first = await peer.request()
        await peer.request()
        await peer.stream.send_all(HOSTILE[name](first.identifier))
        await peer.ended()

    async def body(session: Session) -> None:
        slots = [session.start_lstat(b"/a"), session.start_lstat(b"/b")]
        for slot in slots:
            await lost(slot)
        await lost(session.start_lstat(b"/c"))
        assert session.outstanding == 0

    session = with_peer(script, body)
    assert session.closed_error is not None
    assert "broke the SFTP protocol" in str(session.closed_error)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "\n" not in warnings[0].getMessage()


def test_a_second_reply_to_one_request(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: Peer) -> None:
        first = await peer.request()
        await peer.request()
        await peer.stream.send_all(wire.packet(105, first.identifier, FILE) * 2)
        await peer.ended()

    async def body(session: Session) -> None:
        answered, pending = session.start_lstat(b"/a"), session.start_lstat(b"/b")
        assert (await answered.wait()).size == 5
        await lost(pending)

    with_peer(script, body)
    assert "not outstanding" in caplog.text


def reply_to_read(reply: Callable[[int], bytes]) -> Session:
    async def script(peer: Peer) -> None:
        await peer.stream.send_all(reply((await peer.request()).identifier))
        await peer.ended()

    async def body(session: Session) -> None:
        await lost(session.start_read(b"handle", 0, 10))

    return with_peer(script, body)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (lambda i: wire.data(i, b"12345678901"), "11 bytes where 10"),
        (lambda i: wire.packet(103, i, struct.pack(">I", 8) + b"short"), "longer than its packet"),
        (lambda i: wire.packet(104, i, wire.names()), "type 104"),
    ],
)
def test_data_other_than_asked(reply: Callable[[int], bytes], words: str) -> None:
    assert words in str(reply_to_read(reply).closed_error)


@pytest.mark.parametrize("reply", [lambda i: wire.data(i, b""), lambda i: wire.status(i, 0)])
def test_an_answer_without_a_result_fails_its_request_alone(reply: Callable[[int], bytes]) -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.send_all(reply((await peer.request()).identifier))
        await peer.stream.send_all(wire.data((await peer.request()).identifier, b"data"))

    async def body(session: Session) -> None:
        with pytest.raises(OSError) as raised:
            await session.start_read(b"handle", 0, 10).wait()
        assert raised.value.errno == errno.EIO
        assert bytes(await session.start_read(b"handle", 0, 10).wait() or b"") == b"data"

    with_peer(script, body)


def test_a_lie_about_the_number_of_names() -> None:
    async def script(peer: Peer) -> None:
        identifier = (await peer.request()).identifier
        body = wire.names((b"name", b"", FILE), count=0xFFFFFFFF)
        await peer.stream.send_all(wire.packet(104, identifier, body))
        await peer.ended()

    async def body(session: Session) -> None:
        await lost(session.start_readdir(b"handle"))

    assert "4294967295 names" in str(with_peer(script, body).closed_error)


def test_hostile_names_are_left_out_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: Peer) -> None:
        for _ in range(2):
            identifier = (await peer.request()).identifier
            body = wire.names(*((name, b"", FILE) for name in (b".", b"../../etc", b"", b"fine")))
            await peer.stream.send_all(wire.packet(104, identifier, body))

    async def body(session: Session) -> None:
        for _ in range(2):
            entries = await session.start_readdir(b"handle").wait()
            assert entries is not None
            assert [entry.name for entry in entries] == [b"fine"]
        assert session.statistics.hostile_names == 4

    with_peer(script, body)
    assert len(caplog.records) == 1


def test_useless_attributes_fail_only_their_request() -> None:
    async def script(peer: Peer) -> None:
        for attributes in (wire.attrs(size=1), FILE):
            identifier = (await peer.request()).identifier
            await peer.stream.send_all(wire.packet(105, identifier, attributes))

    async def body(session: Session) -> None:
        with pytest.raises(OSError) as caught:
            await session.start_lstat(b"/a").wait()
        assert caught.value.errno == errno.EIO
        assert not isinstance(caught.value, SessionLostError)
        assert (await session.start_lstat(b"/a").wait()).size == 5

    with_peer(script, body)


def test_replies_in_any_order_and_in_any_pieces() -> None:
    async def script(peer: Peer) -> None:
        asked = [await peer.request() for _ in range(5)]
        replies = b"".join(
            wire.packet(105, one.identifier, wire.attrs(size=number, mode=0o100644))
            for number, one in reversed(list(enumerate(asked)))
        )
        for byte in replies:
            await peer.stream.send_all(bytes([byte]))

    async def body(session: Session) -> None:
        slots = [session.start_lstat(b"/%d" % number) for number in range(5)]
        assert [(await slot.wait()).size for slot in slots] == [0, 1, 2, 3, 4]

    with_peer(script, body)


def test_no_reply_within_the_deadline() -> None:
    async def body(session: Session) -> None:
        for slot in [session.start_lstat(b"/a"), session.start_lstat(b"/b")]:
            await lost(slot, errno.ETIMEDOUT)
        await lost(session.start_lstat(b"/c"), errno.ETIMEDOUT)

    session = with_peer(Peer.ended, body, timeout=SHORT)
    assert "did not answer within 0.5 s" in str(session.closed_error)


def test_answers_to_later_requests_do_not_save_the_oldest() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        try:
            while True:
                identifier = (await peer.request()).identifier
                await peer.stream.send_all(wire.packet(105, identifier, FILE))
        except (AssertionError, trio.BrokenResourceError):
            return

    async def body(session: Session) -> None:
        oldest = session.start_lstat(b"/never")
        while not oldest.done:
            try:
                await session.start_lstat(b"/answered").wait()
            except SessionLostError:
                break
        await lost(oldest, errno.ETIMEDOUT)

    with_peer(script, body, timeout=SHORT)


def test_each_reply_in_order_restarts_the_clock() -> None:
    """The policy itself, with times given: nothing here waits."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptor = ours.detach()
            session = Session(ByteStream(descriptor, descriptor), timeout=10.0, generation=1)
            slots = [session.start_lstat(b"/%d" % number) for number in range(2)]
            begun = slots[0].sent  # type: ignore[attr-defined]
            assert session._check_deadline(begun + 9.5) == pytest.approx(0.5)
            theirs.send(wire.packet(105, 1, FILE))
            session._receive()
            session._last_reply = begun + 9.9
            assert session._check_deadline(begun + 10.1) == 1.0
            assert session._check_deadline(begun + 19.5) == pytest.approx(0.4)
            # A reply that came while nobody looked counts.
            theirs.send(wire.packet(105, 2, FILE))
            assert session._check_deadline(begun + 25.0) == 1.0
            assert [slot.result().size for slot in slots] == [5, 5]
            late = session.start_lstat(b"/late")
            begun = late.sent  # type: ignore[attr-defined]
            assert session._check_deadline(begun + 10.0) == 0
            await lost(late, errno.ETIMEDOUT)

    trio.run(main)


def test_a_peer_that_reads_nothing_costs_its_deadline_only() -> None:
    async def script(peer: Peer) -> None:
        await trio.sleep_forever()

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs, trio.fail_after(LIMIT):
            descriptor = ours.detach()
            session = Session(ByteStream(descriptor, descriptor), timeout=SHORT, generation=1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.run)
                slot = session.start_write(b"handle", 0, bytes(8 << 20))
                assert session.writer.queued_bytes > 1 << 20
                await lost(slot, errno.ETIMEDOUT)
                assert session.writer.queued_bytes == 0

    trio.run(main)


def test_replies_sent_before_the_peer_went_are_still_taken() -> None:
    """Separate pipes: the write end breaks while answers lie in the read end."""

    async def main() -> None:
        from_server, to_us = os.pipe()
        to_server, from_us = os.pipe()
        session = Session(ByteStream(from_server, from_us), timeout=LIMIT, generation=1)
        try:
            first = session.start_lstat(b"/a")
            os.write(to_us, wire.packet(105, 1, FILE))
            os.close(to_server)
            second = session.start_lstat(b"/b")
            assert not second.done
            with trio.fail_after(LIMIT):
                await session.run()
            assert first.result().size == 5
            await lost(second)
            assert "writing" in str(session.closed_error)
        finally:
            os.close(to_us)

    trio.run(main)


def test_a_write_that_breaks_while_the_session_runs() -> None:
    """The read end stays open and silent, so only the failed write tells."""

    async def main() -> None:
        from_server, to_us = os.pipe()
        to_server, from_us = os.pipe()
        session = Session(ByteStream(from_server, from_us), timeout=LIMIT, generation=1)
        try:
            with trio.fail_after(LIMIT / 2):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(session.run)
                    await trio.testing.wait_all_tasks_blocked()
                    os.close(to_server)
                    await lost(session.start_lstat(b"/a"))
        finally:
            os.close(to_us)

    trio.run(main)


def test_the_end_of_the_stream() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.stream.aclose()

    async def body(session: Session) -> None:
        await lost(session.start_lstat(b"/a"))

    assert "ended" in str(with_peer(script, body).closed_error)


def test_a_callback_may_send_and_may_close() -> None:
    async def script(peer: Peer) -> None:
        for _ in range(2):
            identifier = (await peer.request()).identifier
            await peer.stream.send_all(wire.packet(105, identifier, FILE))
        await peer.ended()

    async def body(session: Session) -> None:
        later: list[Slot[object]] = []

        def again(_slot: object) -> None:
            later.append(session.start_lstat(b"/second"))
            later[0].callback = lambda _slot: session.close("by a callback")

        first = session.start_lstat(b"/first")
        first.callback = again
        await first.wait()
        await later[0].wait()

    assert "by a callback" in str(with_peer(script, body).closed_error)


def test_replies_behind_the_one_whose_callback_closes(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: Peer) -> None:
        identifiers = [(await peer.request()).identifier for _ in range(2)]
        await peer.stream.send_all(b"".join(wire.packet(105, one, FILE) for one in identifiers))
        await peer.ended()

    async def body(session: Session) -> None:
        first, second = session.start_lstat(b"/a"), session.start_lstat(b"/b")
        first.callback = lambda _slot: session.close("by a callback")
        assert (await first.wait()).size == 5
        await lost(second)

    with_peer(script, body)
    assert not caplog.records


def test_status_errors_keep_the_servers_words() -> None:
    async def script(peer: Peer) -> None:
        identifier = (await peer.request()).identifier
        await peer.stream.send_all(wire.status(identifier, 4, b"no\x1b[2J space\nleft"))

    async def body(session: Session) -> None:
        with pytest.raises(StatusError) as caught:
            await session.start_remove(b"/a").wait()
        assert caught.value.strerror == "no?[2J space left"

    with_peer(script, body)
