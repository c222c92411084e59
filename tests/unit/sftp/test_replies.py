"""Reply bodies: what is well formed comes back as it was sent, all else is refused."""

from __future__ import annotations

import errno
import stat
import struct
import tracemalloc
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpfs.errors import ProtocolError, Status, StatusError
from sftpfs.sftp import extensions, replies
from sftpfs.sftp.packets import PACKET_LIMIT
from sftpfs.types import UNKNOWN_ID, Attributes
from tests.harness import sftp_wire as wire
from tests.harness.corpus import tried_first

u32 = st.integers(0, 0xFFFFFFFE)
kinds = st.sampled_from([stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK])
modes = st.builds(int.__or__, kinds, st.integers(0, 0o7777))
sizes = st.integers(0, 2**63 - 1)
names = st.binary(min_size=1, max_size=255).filter(
    lambda name: name not in (b".", b"..") and b"/" not in name and b"\0" not in name
)
pairs = st.none() | st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=4)


def view(body: bytes) -> memoryview:
    return memoryview(body)


@given(sizes, st.none() | st.tuples(u32, u32), modes, st.none() | st.tuples(u32, u32), pairs)
def test_attributes(
    size: int,
    ids: tuple[int, int] | None,
    mode: int,
    times: tuple[int, int] | None,
    extended: list[tuple[bytes, bytes]] | None,
) -> None:
    body = wire.attrs(size=size, ids=ids, mode=mode, times=times, pairs=extended)
    uid, gid = ids or (UNKNOWN_ID, UNKNOWN_ID)
    atime, mtime = times or (0, 0)
    assert replies.decode_attributes(view(body)) == Attributes(mode, size, uid, gid, atime, mtime)


def test_bits_above_the_mode_are_dropped_and_nobodys_id_is_unknown() -> None:
    body = wire.attrs(size=1, ids=(0xFFFFFFFF, 0xFFFFFFFF), mode=0xFFF00000 | 0o100644, times=(1, 2))
    found = replies.decode_attributes(view(body))
    assert found == Attributes(0o100644, 1, UNKNOWN_ID, UNKNOWN_ID, 1, 2)


@pytest.mark.parametrize(
    "body",
    [
        wire.attrs(),
        wire.attrs(size=1, ids=(0, 0), times=(0, 0)),
        wire.attrs(size=1, ids=(0, 0), mode=0o644, times=(0, 0)),
        wire.attrs(size=1, ids=(0, 0), mode=0o030644, times=(0, 0)),
        wire.attrs(ids=(0, 0), mode=0o100644, times=(0, 0)),
        wire.attrs(size=2**63, ids=(0, 0), mode=0o100644, times=(0, 0)),
        wire.attrs(size=2**64 - 1, mode=0o100644),
    ],
)
def test_attributes_without_type_or_size_are_an_error_and_none_in_a_listing(body: bytes) -> None:
    with pytest.raises(OSError) as caught:
        replies.decode_attributes(view(body))
    assert caught.value.errno == errno.EIO
    listing = wire.names((b"name", b"", body), (b"next", b"", wire.attrs(mode=0o040755)))
    entries, dropped = replies.decode_listing(view(listing))
    assert entries is not None
    assert dropped == 0
    assert entries[0] == (b"name", None)
    assert entries[1].attributes == Attributes(0o040755, 0, UNKNOWN_ID, UNKNOWN_ID, 0, 0)


@given(sizes, st.tuples(u32, u32), modes, pairs, st.data())
def test_truncated_attributes(
    size: int,
    ids: tuple[int, int],
    mode: int,
    extended: list[tuple[bytes, bytes]] | None,
    data: st.DataObject,
) -> None:
    body = wire.attrs(size=size, ids=ids, mode=mode, times=(1, 2), pairs=extended)
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ProtocolError):
        replies.decode_attributes(view(body[:cut]))


def test_a_lying_count_of_extended_attributes() -> None:
    body = struct.pack(">III", 0x80000000, 0xFFFFFFFF, 0)
    with pytest.raises(ProtocolError, match="4294967295 extended"):
        replies.decode_attributes(view(body))


@given(st.lists(st.tuples(names, sizes, modes), max_size=20, unique_by=lambda one: one[0]))
def test_listings(found: list[tuple[bytes, int, int]]) -> None:
    body = wire.names(
        *(
            (name, b"", wire.attrs(size=size, ids=(1, 2), mode=mode, times=(3, 4)))
            for name, size, mode in found
        )
    )
    entries, dropped = replies.decode_listing(view(body))
    assert dropped == 0
    assert (entries or []) == [(name, Attributes(mode, size, 1, 2, 3, 4)) for name, size, mode in found]
    assert (entries is None) == (not found)


def test_each_line_of_a_listing_is_judged_as_if_it_were_the_only_one() -> None:
    """A line like one before it is not taken apart again."""
    forms = (b"%s %3s %-8s %-8s %8d %s %s", b"%s %s %s %s %d %s %s", b"%s\t%s %s %s%9d %s %s")
    modes = ((0o100644, b"-rw-r--r--"), (0o100600, b"-rw-------"), (0o100644, b"-rw-------"))
    owners = ((b"alice", b"users"), (b"1000", b"100"), (b"1000", b"101"), (b"alice", b"1 12345678"))
    sizes = ((0, 0), (7, 7), (7, 8), (12345678, 12345678), (12345678, 9), (2**40, 2**40))
    entries, expected = [], []
    for form, (mode, shown), links, owner, (size, told) in product(forms, modes, b"120?", owners, sizes):
        name = b"f%d" % len(entries)
        line = form % (shown, b"%c" % links, *owner, told, b"Nov 29 12:00", name)
        entries.append((name, line, wire.attrs(size=size, ids=(1000, 100), mode=mode, times=(3, 4))))
        attributes = Attributes(mode, size, 1000, 100, 3, 4)
        expected.append((name, attributes._replace(nlink=replies.link_count(line, attributes))))
    assert len({attributes.nlink for _, attributes in expected}) == 3
    assert replies.decode_listing(view(wire.names(*entries)))[0] == expected


def test_names_no_file_can_have_are_dropped_and_counted() -> None:
    fine = wire.attrs(size=1, ids=(1, 2), mode=0o100644, times=(3, 4))
    bad = [b"", b"a/b", b"/", b"../x", b"nul\0", b"x" * 1025]
    body = wire.names(*((name, b"", fine) for name in [b".", b"..", *bad, b"good\n\xff"]))
    entries, dropped = replies.decode_listing(view(body))
    assert entries is not None
    assert [entry.name for entry in entries] == [b"good\n\xff"]
    assert dropped == len(bad)


def test_owners_in_the_lines_of_a_listing() -> None:
    body = wire.attrs(size=42, ids=(1000, 100), mode=0o100644, times=(0, 0))
    line = b"-rw-r--r--    ? alice users 42 Jan  1 00:00 a name"
    lines = [
        line.replace(b"?", b"1"),
        line,
        line.replace(b"?", b"1").replace(b" 42 ", b" 43 "),
        b"",
        b"a b c d",
    ]
    found = replies.decode_owner_lines(
        view(wire.names(*((b"n%d" % n, one, body) for n, one in enumerate(lines))))
    )
    assert [(user, group, attributes.uid) for user, group, attributes in found] == [
        (b"alice", b"users", 1000)
    ]


def test_a_listing_of_dots_alone_is_not_the_end() -> None:
    body = wire.names((b".", b"", wire.attrs()), (b"..", b"", wire.attrs()))
    assert replies.decode_listing(view(body)) == ([], 0)


@pytest.mark.parametrize("count", [2, 1000, 0xFFFFFFFF])
def test_a_lying_count_of_names_allocates_nothing(count: int) -> None:
    body = view(wire.names((b"name", b"", wire.attrs()), count=count))
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            replies.decode_listing(body)
        with pytest.raises(ProtocolError):
            replies.decode_path(body)
        assert tracemalloc.get_traced_memory()[1] < PACKET_LIMIT
    finally:
        tracemalloc.stop()


DECODERS: list[Callable[[memoryview], object]] = [
    replies.decode_attributes,
    replies.decode_listing,
    replies.decode_owner_lines,
    replies.decode_path,
    replies.decode_status,
    replies.decode_handle,
    lambda payload: replies.decode_data(payload, 100),
    extensions.announced_extensions,
    extensions.decode_limits,
    extensions.decode_statvfs,
    extensions.decode_names,
]


@tried_first(__file__, "replies", lambda body: [(decode, body) for decode in DECODERS])
@given(st.sampled_from(DECODERS), st.binary(max_size=400))
def test_arbitrary_bytes_decode_or_fail_as_foreseen(
    decode: Callable[[memoryview], object], body: bytes
) -> None:
    tracemalloc.start()
    try:
        decode(view(body))
    except (ProtocolError, OSError):
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < PACKET_LIMIT


plausible = st.builds(
    lambda flags, rest: struct.pack(">I", flags) + rest,
    st.sampled_from([0, 1, 3, 7, 15, 0x8000000F, 0x80000000, 0xFFFFFFFF]),
    st.binary(max_size=60),
)


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=60), plausible), max_size=5))
def test_listings_of_arbitrary_attributes(found: list[tuple[bytes, bytes, bytes]]) -> None:
    try:
        entries, _ = replies.decode_listing(view(wire.names(*found)))
    except ProtocolError:
        return
    for entry in entries or []:
        assert entry.name
        assert b"/" not in entry.name
        if entry.attributes is not None:
            assert 0 <= entry.attributes.size < 2**63


LINE = b"-rw-r--r--    3 alice    users          42 Jan  1 12:00 a name"
PLAIN = Attributes(0o100644, 42, 1000, 100, 0, 0)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (LINE, 3),
        (b"-rw-r--r--    3 1000     100            42 Jan  1 12:00 a name", 3),
        (LINE.replace(b"42", b"43"), UNKNOWN_ID),
        (LINE.replace(b"-rw-r--r--", b"-rw-rw-r--"), UNKNOWN_ID),
        (LINE.replace(b"alice", b"1001"), UNKNOWN_ID),
        (LINE.replace(b"users", b"101"), UNKNOWN_ID),
        (LINE.replace(b" 3 ", b" 0 "), UNKNOWN_ID),
        (LINE.replace(b" 3 ", b" -3 "), UNKNOWN_ID),
        (LINE.replace(b" 3 ", b" ? "), UNKNOWN_ID),
        (LINE.replace(b" 3 ", b" 4294967296 "), UNKNOWN_ID),
        (LINE.replace(b" 3 ", b" " + b"9" * 5000 + b" "), UNKNOWN_ID),
        (LINE.replace(b" 42 ", b" " + b"9" * 5000 + b" "), UNKNOWN_ID),
        (b"a name", UNKNOWN_ID),
        (b"", UNKNOWN_ID),
    ],
)
def test_link_counts_are_taken_from_lines_that_agree(line: bytes, expected: int) -> None:
    assert replies.link_count(line, PLAIN) == expected
    body = wire.names((b"a name", line, wire.attrs(size=42, ids=(1000, 100), mode=0o100644, times=(0, 0))))
    assert replies.decode_listing(view(body))[0] == [(b"a name", PLAIN._replace(nlink=expected))]


@tried_first(__file__, "listing_lines", lambda line: [(line, PLAIN)])
@given(st.binary(max_size=200), st.sampled_from([PLAIN, PLAIN._replace(mode=0o120777)]))
def test_any_line_gives_a_count_the_kernel_can_hold_or_none(line: bytes, attributes: Attributes) -> None:
    count = replies.link_count(line, attributes)
    assert count == UNKNOWN_ID or 0 < count <= 0xFFFFFFFF


@given(u32, st.binary(max_size=400))
def test_status_messages_are_one_printable_line(code: int, message: bytes) -> None:
    found, text = replies.decode_status(view(wire.status(0, code, message)[9:]))
    assert found == code
    assert text.isprintable()
    assert len(text) <= 200


def test_what_happened_is_read_behind_long_paths() -> None:
    """As servers written in Go tell it."""
    told = b"rename %s %s: file exists" % (b"/old" * 400, b"/new" * 400)
    code, text = replies.decode_status(view(wire.status(0, Status.FAILURE, told)[9:]))
    assert text.startswith("rename /old/old")
    failure = StatusError(code, text)
    assert (failure.errno, failure.explicit) == (errno.EEXIST, True)


def test_status_without_a_message() -> None:
    assert replies.decode_status(view(b"\0\0\0\2")) == (2, "")


@given(st.binary(max_size=256))
def test_handles(value: bytes) -> None:
    assert replies.decode_handle(view(wire.string(value))) == value


def test_a_handle_too_long() -> None:
    with pytest.raises(ProtocolError, match="257"):
        replies.decode_handle(view(wire.string(bytes(257))))


@given(st.binary(min_size=1, max_size=300))
def test_data_as_long_as_asked_or_shorter(value: bytes) -> None:
    assert replies.decode_data(view(wire.string(value)), len(value)) == value
    assert replies.decode_data(view(wire.string(value)), 300) == value
    with pytest.raises(ProtocolError, match="asked for"):
        replies.decode_data(view(wire.string(value)), len(value) - 1)
    with pytest.raises(ProtocolError):
        replies.decode_data(view(wire.string(value)[:-1]), 300)


def test_empty_data_is_no_answer() -> None:
    """Neither some bytes nor the end of the file; the session goes on."""
    with pytest.raises(OSError, match="with no bytes"):
        replies.decode_data(view(wire.string(b"")), 10)


@given(st.binary(min_size=1, max_size=300).filter(lambda path: b"\0" not in path))
def test_paths(path: bytes) -> None:
    assert replies.decode_path(view(wire.names((path, path, wire.attrs())))) == path


@pytest.mark.parametrize(
    ("path", "number"), [(b"", errno.EIO), (b"a\0b", errno.EIO), (b"x" * 4096, errno.ENAMETOOLONG)]
)
def test_paths_that_cannot_be(path: bytes, number: int) -> None:
    with pytest.raises(OSError) as caught:
        replies.decode_path(view(wire.names((path, b"", wire.attrs()))))
    assert caught.value.errno == number


def test_a_path_is_one_name() -> None:
    for entries in ([], [(b"a", b"", wire.attrs())] * 2):
        with pytest.raises(ProtocolError, match="not one name"):
            replies.decode_path(view(wire.names(*entries)))
