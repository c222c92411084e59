"""A borrowed connection, against asyncssh's own packets: nothing is lost, doubled, forged or sent twice."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from asyncssh.encryption import Encryption, get_encryption
from asyncssh.packet import Boolean, Byte, String, UInt32
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpfs.transport.loan import lent_connection, state
from sftpfs.transport.loan.lent_connection import MOST_CONTROLS, RECEIVE_SIZE, LentConnection
from sftpfs.transport.loan.state import CIPHERS, MOST_RECEIVED, Loan, Return
from sftpfs.transport.loan.wire import ForgedError, Opener, Sealer
from sftpfs.transport.messages import MESSAGE_LIMIT, encode

OURS, THEIRS = 0, 7
WINDOW = 1 << 20
MOST = 1 << 62


def ends(cipher: str, key: bytes, iv: bytes) -> Encryption:
    """asyncssh's own end of one direction."""
    return get_encryption(cipher.encode(), key, iv)


def loan(cipher: str = "aes128-gcm@openssh.com", **changed: Any) -> Loan:
    """One with keys by chance."""
    size = CIPHERS[cipher]
    given: dict[str, Any] = {
        "send_key": os.urandom(size),
        "send_iv": os.urandom(12),
        "receive_key": os.urandom(size),
        "receive_iv": os.urandom(4) + b"\xff" * 7 + b"\xfe",
        "send_sequence": 0xFFFFFFFE,
        "receive_sequence": 5,
        "send_channel": THEIRS,
        "receive_channel": OURS,
        "send_window": WINDOW,
        "receive_window": WINDOW,
        "full_window": WINDOW,
        "send_packet": 32768,
        "receive_packet": 128 * 1024,
        "rekey_after": MOST,
    }
    return Loan(**given | changed)


class Peer:
    """The server's end of the connection, as asyncssh would be one."""

    def __init__(self, sock: socket.socket, lent: Loan, cipher: str = "aes128-gcm@openssh.com") -> None:
        self.socket = sock
        self._outgoing = ends(cipher, lent.receive_key, lent.receive_iv)
        self._incoming = ends(cipher, lent.send_key, lent.send_iv)
        self._came = b""
        self.payloads: list[bytes] = []

    def packet(self, payload: bytes, padding: int | None = None) -> bytes:
        """``payload`` as it travels."""
        size = -(1 + len(payload)) % 16 if padding is None else padding
        size += 16 if size < 4 else 0
        plain = Byte(size) + payload + os.urandom(size)
        body, mac = self._outgoing.encrypt_packet(0, UInt32(len(plain)), plain)
        return body + mac

    def data(self, content: bytes, channel: int = OURS) -> bytes:
        """A packet of channel data."""
        return self.packet(Byte(94) + UInt32(channel) + String(content))

    def take(self, data: bytes) -> None:
        """Decrypt what was sent to us into ``payloads``. Nothing may be wrong with it."""
        self._came += data
        while len(self._came) >= 4:
            length = int.from_bytes(self._came[:4], "big")
            end = 4 + length + 16
            if len(self._came) < end:
                return
            plain = self._incoming.decrypt_packet(
                0, self._came[:4], self._came[4 : end - 16], 4, self._came[end - 16 : end]
            )
            assert plain is not None, "a packet that is not authentic"
            assert plain[0] >= 4 and (4 + length) % 16 == 4
            self.payloads.append(plain[1 : -plain[0]])
            self._came = self._came[end:]

    def read(self) -> None:
        """Take what is there."""
        while True:
            try:
                data = self.socket.recv(1 << 20)
            except BlockingIOError:
                return
            if not data:
                return
            self.take(data)

    @property
    def content(self) -> bytes:
        """The channel data that came."""
        return b"".join(one[9:] for one in self.payloads if one[0] == 94)


class Pair:
    """A lent connection and its peer."""

    def __init__(self, lent: Loan, cipher: str = "aes128-gcm@openssh.com") -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.lent = LentConnection(ours.detach(), lent)
        self.peer = Peer(theirs, lent, cipher)
        self.space = memoryview(bytearray(RECEIVE_SIZE))

    def send(self, data: bytes) -> None:
        """The peer sends; all of it fits."""
        assert self.peer.socket.send(data) == len(data)

    def read(self) -> bytes:
        """What one turn brings."""
        return bytes(self.space[: self.lent.receive_into(self.space)])

    def close(self) -> None:
        os.close(self.lent.fd)
        self.peer.socket.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair(loan())
    yield made
    made.close()


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("sizes", [[1], [15, 16, 17, 0, 4], [32768, 1, 200_000]])
def test_packets_are_asyncssh_s_own(cipher: str, sizes: list[int]) -> None:
    """Both ways, with the IVs and sequence numbers that asyncssh would have after them."""
    key, iv = os.urandom(CIPHERS[cipher]), os.urandom(4) + b"\xff" * 7 + b"\xfe"
    sealer, opener, own = Sealer(key, iv, 0xFFFFFFFE), Opener(key, iv, 0xFFFFFFFE), ends(cipher, key, iv)
    for size in sizes:
        payload = Byte(94) + UInt32(3) + String(os.urandom(size))
        packet = sealer.seal(payload)
        plain = own.decrypt_packet(0, packet[:4], packet[4:-16], 4, packet[-16:])
        assert plain is not None and plain[1 : -plain[0]] == payload
        assert opener.open(memoryview(packet)) == plain
        opener.accept()
        assert sealer.iv == opener.iv == own._cipher._iv  # type: ignore[attr-defined]
        assert sealer.sequence == opener.sequence
    content = os.urandom(max(1, sum(sizes)))
    for packet in sealer.seal_data(3, memoryview(content), 32768):
        plain = own.decrypt_packet(0, packet[:4], packet[4:-16], 4, packet[-16:])
        assert plain is not None and plain[1:10] == Byte(94) + UInt32(3) + UInt32(len(plain) - 10 - plain[0])
        assert content.startswith(plain[10 : -plain[0]])
        content = content[len(plain) - 10 - plain[0] :]
    assert not content


def test_no_two_packets_have_one_iv_and_a_forged_one_changes_nothing() -> None:
    key, iv = os.urandom(16), os.urandom(12)
    sealer, opener = Sealer(key, iv, 0), Opener(key, iv, 0)
    first, second = sealer.seal(b"\x02same"), sealer.seal(b"\x02same")
    assert first[4:20] != second[4:20]
    for spoiled in (0, 3, 4, 20, len(first) - 1):
        forged = bytearray(first)
        forged[spoiled] ^= 1
        with pytest.raises(ForgedError):
            opener.open(memoryview(forged))
    assert opener.iv == iv and opener.sequence == 0
    opener.open(memoryview(first))
    opener.accept()
    with pytest.raises(ForgedError):
        opener.open(memoryview(first))
    opener.open(memoryview(second))


# --- what travels


def test_a_loan_travels_as_one_message_and_shows_no_key() -> None:
    lent = loan("aes256-gcm@openssh.com", received=os.urandom(MOST_RECEIVED))
    message = {"type": "lend", "id": 1 << 31, **lent.message()}
    assert len(encode(message)) < MESSAGE_LIMIT
    assert Loan.of(message) == lent
    for secret in (lent.send_key, lent.receive_key):
        for shown in (repr(lent), str(lent), repr(LentConnection(-1, lent)), f"{lent}"):
            assert repr(secret)[2:-1] not in shown and secret.hex() not in shown
            assert str(message["send_key"]) not in shown


@pytest.mark.parametrize(
    "changed",
    [
        {"send_key": b"short"},
        {"receive_iv": bytes(11)},
        {"send_sequence": 1 << 32},
        {"receive_sequence": -1},
        {"send_window": -1},
        {"send_packet": 4095},
        {"rekey_after": 0},
        {"receive_channel": True},
        {"send_channel": "0"},
        {"received": bytes(MOST_RECEIVED + 1)},
    ],
)
def test_a_loan_that_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as caught:
        loan(**changed)
    assert "cannot be" in str(caught.value) or "length" in str(caught.value) or "much" in str(caught.value)


@pytest.mark.parametrize("name", ["send_key", "received", "rekey_after", "send_iv"])
def test_a_message_that_lacks_something_or_has_something_else(name: str) -> None:
    message = loan().message()
    for spoiled in ({key: value for key, value in message.items() if key != name}, message | {name: None}):
        with pytest.raises((KeyError, TypeError, ValueError)) as caught:
            Loan.of(spoiled)
        assert str(message["send_key"]) not in str(caught.value)


def test_a_return_travels(pair: Pair) -> None:
    returned, carried = pair.lent.end()
    assert carried == b""
    assert Return.of(returned.message()) == returned
    for changed in ({"unsent": 1 << 21}, {"error": -1}, {"send_iv": ""}):
        with pytest.raises(ValueError):
            Return.of(returned.message() | changed)


# --- from the server


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.integers(1, 3000), min_size=1, max_size=12),
    cuts=st.lists(st.integers(1, 5000), min_size=1, max_size=40),
    begun=st.integers(0, 60),
    cipher=st.sampled_from(list(CIPHERS)),
)
def test_any_pieces_of_a_stream_are_the_stream(
    parts: list[int], cuts: list[int], begun: int, cipher: str
) -> None:
    """With windows opened between; also where the worker had a part of the first packet. What is left of a
    packet goes back as it came."""
    lent = loan(cipher, receive_window=40_000, full_window=60_000)
    peer = Peer(socket.socket(), lent, cipher)
    content = [os.urandom(size) for size in parts]
    raw = b"".join(
        peer.data(part) + (peer.packet(Byte(93) + UInt32(OURS) + UInt32(10)) if turn % 3 == 0 else b"")
        for turn, part in enumerate(content)
    )
    raw += (half := peer.data(b"half a packet")[: begun % 40])
    peer.socket.close()
    lent.received = raw[:begun]
    pair = Pair(lent, cipher)
    try:
        at, came = begun, b""
        for size in cuts:
            pair.send(raw[at : at + size])
            at += size
            came += pair.read()
        while at < len(raw):
            pair.send(raw[at : at + 50_000])
            at += 50_000
            came += pair.read()
        assert came + pair.read() == b"".join(content)
        assert not pair.lent.over
        returned, carried = pair.lent.end()
        assert carried == half
        pair.peer.read()
        granted = sum(int.from_bytes(one[5:], "big") for one in pair.peer.payloads if one[0] == 93)
        assert returned.receive_window == 40_000 + granted - sum(parts)
        assert returned.send_window == WINDOW + 10 * len(parts[::3])
        assert returned.receive_sequence == (5 + len(parts) + len(parts[::3])) & 0xFFFFFFFF
    finally:
        pair.close()


def forged(peer: Peer) -> bytes:
    changed = bytearray(peer.data(b"forged"))
    changed[-1] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (forged, "not authentic"),
        (lambda peer: b"\0\0\0\x0f" + bytes(40), "length"),
        (lambda peer: b"\xff\xff\xff\xff" + bytes(40), "length"),
        (lambda peer: peer.data(b"x", channel=1), "type 94"),
        (lambda peer: peer.data(b""), "type 94"),
        (lambda peer: peer.data(bytes(WINDOW // 8 + 100)), "length"),
        (lambda peer: peer.packet(Byte(94) + UInt32(OURS) + UInt32(9) + b"x"), "type 94"),
        (lambda peer: peer.packet(Byte(94) + UInt32(OURS) + UInt32(1) + b"xy"), "type 94"),
        (lambda peer: peer.packet(Byte(95) + UInt32(OURS) + UInt32(1) + String(b"stderr")), "type 95"),
        (lambda peer: peer.packet(Byte(96) + UInt32(OURS)), "type 96"),
        (lambda peer: peer.packet(Byte(97) + UInt32(OURS)), "type 97"),
        (lambda peer: peer.packet(Byte(20) + bytes(60)), "type 20"),
        (lambda peer: peer.packet(Byte(1) + UInt32(2) + String(b"bye") + String(b"")), "type 1"),
        (lambda peer: peer.packet(Byte(2) + String(b"ignore this")), "type 2"),
        (lambda peer: peer.packet(Byte(93) + UInt32(1) + UInt32(5)), "type 93"),
        (lambda peer: peer.packet(Byte(93) + UInt32(OURS)), "type 93"),
        (lambda peer: peer.packet(b""), "type"),
        (lambda peer: peer.packet(Byte(80) + String(b"hostkeys-00@openssh.com") + Boolean(True)), "type 80"),
        (lambda peer: peer.packet(Byte(98) + UInt32(OURS) + String(b"exit-status") + b"\0" * 5), "type 98"),
    ],
)
def test_what_is_not_plain_data_goes_back_as_it_came(pair: Pair, make: Any, why: str) -> None:
    """From that packet on, with the IV and the number it was sent under; what came before is handed over."""
    before = pair.peer.data(b"before")
    strange = make(pair.peer)
    after = pair.peer.data(b"after")
    sent = (before + strange + after)[: RECEIVE_SIZE - 100]
    pair.send(sent)
    assert pair.read() == b"before"
    assert why in pair.lent.over
    assert pair.read() == b""
    returned, carried = pair.lent.end()
    assert carried == sent[len(before) :]
    assert (returned.received, returned.unsent, returned.error) == (len(carried), 0, 0)
    assert returned.receive_sequence == 6 and returned.receive_iv.endswith(b"\xff")
    assert returned.receive_window == WINDOW - 6


def test_more_than_was_granted_goes_back(pair: Pair) -> None:
    pair.close()
    pair.__init__(loan(receive_window=10, full_window=10))  # type: ignore[misc]
    pair.send(pair.peer.data(b"x" * 11))
    assert pair.read() == b"" and "type 94" in pair.lent.over


@pytest.mark.parametrize("over", ["request", "channel"])
def test_keepalives_are_answered_and_a_flood_of_them_goes_back(pair: Pair, over: str) -> None:
    words = String(b"keepalive@openssh.com") + Boolean(True)
    question = Byte(80) + words if over == "request" else Byte(98) + UInt32(OURS) + words
    answer = Byte(82) if over == "request" else Byte(100) + UInt32(THEIRS)
    pair.send(pair.peer.packet(question) + pair.peer.data(b"x"))
    assert pair.read() == b"x"
    pair.peer.read()
    assert pair.peer.payloads == [answer]
    pair.send(b"".join(pair.peer.packet(question) for _ in range(MOST_CONTROLS + 10)))
    assert pair.read() == b"" and pair.lent.over
    _, carried = pair.lent.end()
    pair.peer.read()
    assert pair.peer.payloads == [answer] * (1 + MOST_CONTROLS)
    assert len(carried) == 10 * len(pair.peer.packet(question))


def test_a_window_opens_only_as_somebody_reads(pair: Pair) -> None:
    pair.close()
    pair.__init__(loan(receive_window=100, full_window=100))  # type: ignore[misc]
    pair.send(pair.peer.data(bytes(50)))
    assert len(pair.read()) == 50
    pair.peer.read()
    assert pair.peer.payloads == []
    pair.send(pair.peer.data(b"x"))
    pair.peer.read()
    assert pair.peer.payloads == []
    assert len(pair.read()) == 1
    pair.peer.read()
    assert pair.peer.payloads == [Byte(93) + UInt32(THEIRS) + UInt32(51)]


def test_the_end_of_the_connection_is_the_worker_s_to_report(pair: Pair) -> None:
    pair.send(pair.peer.data(b"last") + b"\0\0\0\x20half")
    pair.peer.socket.shutdown(socket.SHUT_WR)
    assert pair.read() == b"last" and not pair.lent.over
    assert pair.read() == b"" and pair.lent.over
    returned, carried = pair.lent.end()
    assert carried == b"\0\0\0\x20half" and returned.error == 0


def test_an_error_of_the_socket_is_told_with_its_number(pair: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setblocking(False)
    lent = LentConnection(ours.detach(), loan())
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    theirs.close()
    assert lent.receive_into(pair.space) == 0 and lent.over
    os.close(lent.fd)
    returned, _ = lent.end()
    assert returned.error == 104


def test_too_little_space_is_refused_before_anything_is_read(pair: Pair) -> None:
    pair.send(pair.peer.data(b"x"))
    with pytest.raises(ValueError):
        pair.lent.receive_into(pair.space[:-1])
    assert pair.read() == b"x"


# --- to the server


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 150_000), min_size=1, max_size=6),
    buffer=st.sampled_from([4096, 65536]),
    window=st.sampled_from([70_000, 1 << 20]),
)
def test_what_is_written_is_sent_once_and_in_order(sizes: list[int], buffer: int, window: int) -> None:
    """Over a socket that takes it in parts; what it has not taken as the loan ends goes back encrypted, and
    nothing is encrypted twice."""
    pair = Pair(loan(send_window=window))
    sock = socket.socket(fileno=pair.lent.fd)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    content = [os.urandom(size) for size in sizes]
    try:
        accepted = 0
        for part in content:
            count = pair.lent.send((part[:20], memoryview(part)[20:]))
            accepted += count
            assert count <= window and (count == 0 or not pair.lent.over)
            if count < len(part):
                break
        returned, carried = pair.lent.end()
        pair.peer.read()
        pair.peer.take(carried)
        assert pair.peer.content == b"".join(content)[:accepted]
        assert returned.send_window == window - accepted
        assert returned.unsent == len(carried)
        assert returned.send_sequence == (0xFFFFFFFE + len(pair.peer.payloads)) & 0xFFFFFFFF
    finally:
        sock.close()
        pair.peer.socket.close()


def test_what_waits_is_sent_once_there_is_room(pair: Pair) -> None:
    content = os.urandom(400_000)
    sent = 0
    while sent < len(content):
        sent += pair.lent.send((memoryview(content)[sent:],))
        pair.peer.read()
        pair.lent.flush()
    pair.peer.read()
    assert pair.peer.content == content and not pair.lent.unsent


def test_a_used_up_window_takes_nothing_until_it_is_opened(pair: Pair) -> None:
    pair.close()
    pair.__init__(loan(send_window=10))  # type: ignore[misc]
    assert pair.lent.send((bytes(20),)) == 10
    assert not pair.lent.room and pair.lent.send((bytes(10),)) == 0 and not pair.lent.over
    pair.send(pair.peer.packet(Byte(93) + UInt32(OURS) + UInt32(5)))
    assert pair.read() == b"" and pair.lent.room
    assert pair.lent.send((bytes(10),)) == 5


def test_keys_are_exchanged_before_too_much_was_sent(pair: Pair) -> None:
    pair.close()
    pair.__init__(loan(rekey_after=100_000))  # type: ignore[misc]
    total = 0
    while count := pair.lent.send((bytes(1000),)):
        total += count
        pair.peer.read()
    assert 95_000 < total < 100_000 and "keys" in pair.lent.over
    returned, _ = pair.lent.end()
    assert total < returned.sent < 100_000


def test_a_loan_does_not_last_for_ever(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lent_connection, "MOST_PACKETS", 3)
    assert state.MOST_PACKETS < 1 << 31
    for _ in range(4):
        pair.send(pair.peer.data(b"x"))
        assert pair.read() == b"x"
    assert pair.lent.over


def test_nothing_is_left_of_the_keys(pair: Pair) -> None:
    pair.lent.end()
    assert not hasattr(pair.lent, "_sealer") and not hasattr(pair.lent, "_opener")
    assert pair.lent.send((b"x",)) == 0 and pair.lent.receive_into(pair.space) == 0
    pair.lent.flush()
    pair.peer.read()
    assert pair.peer.payloads == []


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize(("size", "stream"), [(100_000, True), (10_000, False)])
def test_a_stream_goes_back_to_two_processes_and_small_requests_do_not(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, way: str, size: int, stream: bool
) -> None:
    monkeypatch.setattr(lent_connection, "STREAM_SIZE", 1 << 19)
    turns = 0
    while not pair.lent.over and turns < 100:
        turns += 1
        if way == "down":
            pair.send(pair.peer.data(bytes(size)))
            assert len(pair.read()) == size
        else:
            assert pair.lent.send((bytes(size),)) == size or pair.lent.flush() is None
        pair.peer.read()
        pair.send(pair.peer.packet(Byte(93) + UInt32(OURS) + UInt32(size)))
        assert pair.read() == b""
    assert (turns < 20) == stream
    returned, _ = pair.lent.end()
    assert returned.stream == stream
