"""Requests as the draft has them, and packets cut from any stream of bytes."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sftpfs.errors import ProtocolError
from sftpfs.sftp import packets
from sftpfs.sftp.packets import BUFFER_SIZE, LISTING_LIMIT, PACKET_LIMIT, Decoder
from sftpfs.types import AttributeChange, OpenFlags
from tests.harness import sftp_wire as wire
from tests.harness.corpus import tried_first

ids = st.integers(0, 0xFFFFFFFF)
offsets = st.integers(0, 2**64 - 1)
strings = st.binary(max_size=300)
optional_u32 = st.none() | ids


def feed(decoder: Decoder, chunk: bytes) -> list[tuple[int, int, bytes]]:
    """Put ``chunk`` in as reads would, and take every packet out."""
    found = []
    while True:
        space = decoder.space()
        assert len(space) > 0
        size = min(len(space), len(chunk))
        space[:size] = chunk[:size]
        decoder.received(size)
        chunk = chunk[size:]
        while (packet := decoder.next_packet()) is not None:
            found.append((packet[0], packet[1], bytes(packet[2])))
        if not chunk:
            return found


def changes() -> st.SearchStrategy[AttributeChange]:
    pair = st.none() | st.tuples(ids, ids)
    return st.builds(
        lambda size, owner, mode, times: AttributeChange(
            size=size,
            uid=owner and owner[0],
            gid=owner and owner[1],
            mode=mode,
            atime=times and times[0],
            mtime=times and times[1],
        ),
        st.none() | st.integers(0, 2**63 - 1),
        pair,
        optional_u32,
        pair,
    )


def as_wire(change: AttributeChange) -> dict[str, object]:
    found: dict[str, object] = {}
    if change.size is not None:
        found["size"] = change.size
    if change.uid is not None:
        found["ids"] = (change.uid, change.gid)
    if change.mode is not None:
        found["mode"] = change.mode
    if change.atime is not None:
        found["times"] = (change.atime, change.mtime)
    return found


def test_init_is_version_three() -> None:
    assert packets.encode_init() == b"\0\0\0\5\1\0\0\0\3"


@given(kind=st.sampled_from([4, 7, 8, 11, 12, 13, 15, 16, 17, 19]), identifier=ids, argument=strings)
def test_requests_of_one_string(kind: int, identifier: int, argument: bytes) -> None:
    request = wire.asked(packets.encode_string_request(kind, identifier, argument))
    assert (request.kind, request.identifier) == (kind, identifier)
    assert request.fields.string() == argument
    assert not request.fields.rest


@given(kind=st.sampled_from([18, 20]), identifier=ids, first=strings, second=strings)
def test_requests_of_two_strings(kind: int, identifier: int, first: bytes, second: bytes) -> None:
    request = wire.asked(packets.encode_strings_request(kind, identifier, first, second))
    assert (request.kind, request.identifier) == (kind, identifier)
    assert (request.fields.string(), request.fields.string(), request.fields.rest) == (first, second, b"")


@given(identifier=ids, path=strings, flags=ids.map(OpenFlags), mode=optional_u32)
def test_open(identifier: int, path: bytes, flags: OpenFlags, mode: int | None) -> None:
    request = wire.asked(packets.encode_open(identifier, path, flags, mode))
    assert (request.kind, request.identifier) == (3, identifier)
    assert (request.fields.string(), request.fields.uint32()) == (path, flags)
    assert request.fields.attrs() == ({} if mode is None else {"mode": mode})
    assert not request.fields.rest


@given(identifier=ids, handle=strings, offset=offsets, length=ids)
def test_read(identifier: int, handle: bytes, offset: int, length: int) -> None:
    request = wire.asked(packets.encode_read(identifier, handle, offset, length))
    assert (request.kind, request.identifier) == (5, identifier)
    fields = request.fields
    assert (fields.string(), fields.uint64(), fields.uint32(), fields.rest) == (handle, offset, length, b"")


@given(identifier=ids, handle=strings, offset=offsets, data=strings)
def test_write_header_and_data_make_a_packet(
    identifier: int, handle: bytes, offset: int, data: bytes
) -> None:
    header = packets.encode_write_header(identifier, handle, offset, len(data))
    request = wire.asked(header + data)
    assert (request.kind, request.identifier) == (6, identifier)
    fields = request.fields
    assert (fields.string(), fields.uint64(), fields.string(), fields.rest) == (handle, offset, data, b"")


@given(identifier=ids, path=strings, mode=ids)
def test_mkdir(identifier: int, path: bytes, mode: int) -> None:
    request = wire.asked(packets.encode_mkdir(identifier, path, mode))
    assert (request.kind, request.identifier) == (14, identifier)
    assert (request.fields.string(), request.fields.attrs(), request.fields.rest) == (
        path,
        {"mode": mode},
        b"",
    )


@given(kind=st.sampled_from([9, 10]), identifier=ids, target=strings, change=changes())
def test_setstat(kind: int, identifier: int, target: bytes, change: AttributeChange) -> None:
    request = wire.asked(packets.encode_setstat(kind, identifier, target, change))
    assert (request.kind, request.identifier) == (kind, identifier)
    assert request.fields.string() == target
    assert request.fields.attrs() == as_wire(change)
    assert not request.fields.rest


def test_times_outside_32_bits_become_the_nearest() -> None:
    encoded = packets.encode_change(AttributeChange(atime=-5, mtime=2**40))
    assert wire.Fields(encoded).attrs() == {"times": (0, 0xFFFFFFFF)}


@given(identifier=ids, name=strings, arguments=strings)
def test_extended(identifier: int, name: bytes, arguments: bytes) -> None:
    request = wire.asked(packets.encode_extended(identifier, name, arguments))
    assert (request.kind, request.identifier) == (200, identifier)
    assert (request.fields.string(), request.fields.rest) == (name, arguments)


@given(
    sent=st.lists(st.tuples(st.integers(0, 255), ids, strings), max_size=20),
    cuts=st.lists(st.integers(1, 500), max_size=30),
)
def test_packets_come_out_whole_however_the_stream_is_cut(
    sent: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(wire.packet(*one) for one in sent)
    decoder = Decoder()
    found = []
    for size in cuts:
        found += feed(decoder, stream[:size])
        stream = stream[size:]
    assert found + feed(decoder, stream) == sent
    assert decoder.unread() == b""


@tried_first(__file__, "packets", lambda stream: [([stream],), ([bytes([byte]) for byte in stream],)])
@given(st.lists(st.binary(max_size=2000), max_size=10))
def test_arbitrary_bytes_are_packets_or_a_protocol_error(chunks: list[bytes]) -> None:
    decoder = Decoder()
    taken = 0
    try:
        for chunk in chunks:
            taken += sum(9 + len(payload) for _, _, payload in feed(decoder, chunk))
    except ProtocolError:
        return
    assert taken + len(decoder.unread()) == sum(map(len, chunks))


@given(
    sizes=st.lists(st.integers(0, PACKET_LIMIT - 5), min_size=1, max_size=10),
    chunk=st.integers(50_000, 2 * BUFFER_SIZE),
)
@example(sizes=[PACKET_LIMIT - 5] * 10, chunk=PACKET_LIMIT - 100)
def test_great_packets_go_through_the_same_buffer(sizes: list[int], chunk: int) -> None:
    sent = [(103, number, bytes([number]) * size) for number, size in enumerate(sizes)]
    stream = b"".join(wire.packet(*one) for one in sent)
    decoder = Decoder()
    found = []
    for at in range(0, len(stream), chunk):
        found += feed(decoder, stream[at : at + chunk])
        assert len(decoder.space()) + len(decoder.unread()) <= BUFFER_SIZE
    assert found == sent


@pytest.mark.parametrize("length", [0, 1, 4, LISTING_LIMIT + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_length_no_packet_has_is_refused_as_soon_as_it_is_there(length: int) -> None:
    decoder = Decoder()
    with pytest.raises(ProtocolError, match=f"{length} bytes"):
        feed(decoder, struct.pack(">I", length))


@pytest.mark.parametrize("kind", [101, 102, 103, 105, 201])
def test_a_listing_alone_may_be_longer(kind: int) -> None:
    decoder = Decoder()
    assert feed(decoder, struct.pack(">I", PACKET_LIMIT + 1)) == []
    with pytest.raises(ProtocolError, match=f"{PACKET_LIMIT + 1} bytes"):
        feed(decoder, bytes([kind]))


@pytest.mark.parametrize("size", [PACKET_LIMIT - 4, BUFFER_SIZE - 9, BUFFER_SIZE, 5_000_000])
@pytest.mark.parametrize("chunk", [100_000, 1 << 20])
def test_a_long_listing(size: int, chunk: int) -> None:
    """In a buffer that grows with what came of it, and is given back."""
    payload = random.Random(size).randbytes(size)
    stream = wire.packet(101, 1, b"before") + wire.packet(104, 7, payload) + wire.packet(101, 2, b"behind")
    decoder = Decoder()
    found = []
    for at in range(0, len(stream), chunk):
        found += feed(decoder, stream[at : at + chunk])
        room = len(decoder.space()) + decoder.held
        assert room <= max(BUFFER_SIZE, 2 * decoder.held + BUFFER_SIZE)
    assert found == [(101, 1, b"before"), (104, 7, payload), (101, 2, b"behind")]
    assert len(decoder.space()) == BUFFER_SIZE


def test_the_longest_packet_is_taken() -> None:
    payload = bytes(PACKET_LIMIT - 5)
    assert feed(Decoder(), wire.packet(103, 7, payload)) == [(103, 7, payload)]
