"""OpenSSH's extensions: which are spoken, their payloads, and limits made sane."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpfs.errors import ProtocolError
from sftpfs.sftp import extensions
from sftpfs.types import FilesystemStatistics, Limits
from tests.harness import sftp_wire as wire

u64 = st.integers(0, 2**64 - 1)
u32s = st.lists(st.integers(0, 0xFFFFFFFF), max_size=20)


def offered(*pairs: tuple[bytes, bytes]) -> memoryview:
    return memoryview(wire.version(3, *pairs)[9:])


def test_every_extension_in_the_version_we_speak() -> None:
    pairs = [(name.encode(), version) for name, version in extensions.VERSIONS.items()]
    assert extensions.spoken_extensions(extensions.announced_extensions(offered(*pairs))) == set(
        extensions.VERSIONS
    )


def test_other_versions_and_names_are_not_spoken() -> None:
    payload = offered((b"statvfs@openssh.com", b"1"), (b"newline", b"\r\n"), (b"\xff\xfe", b"1"))
    assert extensions.spoken_extensions(extensions.announced_extensions(payload)) == frozenset()


@given(u64, u64, u64, u64)
def test_limits(packet: int, read: int, write: int, handles: int) -> None:
    payload = memoryview(struct.pack(">QQQQ", packet, read, write, handles))
    told = extensions.decode_limits(payload)
    assert told == Limits(read, write, packet, handles)
    with pytest.raises(ProtocolError):
        extensions.decode_limits(payload[:-1])


@given(
    st.none() | st.builds(Limits, u64, u64, u64, u64),
    st.none() | st.integers(1, 2**40),
    st.none() | st.integers(1, 2**40),
)
def test_limits_in_force_are_sane(told: Limits | None, max_read: int | None, max_write: int | None) -> None:
    limits = extensions.effective_limits(told, max_read, max_write)
    for size, asked in ((limits.read_size, max_read), (limits.write_size, max_write)):
        assert 1024 <= size <= 261120
        assert asked is None or size <= max(asked, 1024)


@pytest.mark.parametrize(
    ("told", "asked", "expected"),
    [
        (None, None, (32768, 32768)),
        (None, 65536, (65536, 65536)),
        (None, 1 << 20, (65536, 65536)),
        (Limits(261120, 261120, 262144, 0), None, (261120, 261120)),
        (Limits(261120, 261120, 262144, 0), 131072, (131072, 131072)),
        (Limits(0, 0, 0, 0), None, (261120, 261120)),
        (Limits(100000, 90000, 262144, 0), 200000, (100000, 90000)),
        (Limits(261120, 261120, 34000, 0), None, (261120, 32976)),
    ],
)
def test_limits_in_force(told: Limits | None, asked: int | None, expected: tuple[int, int]) -> None:
    limits = extensions.effective_limits(told, asked, asked)
    assert (limits.read_size, limits.write_size) == expected


blocks = st.integers(1, 1 << 31)


@given(blocks, blocks, st.lists(u64, min_size=9, max_size=9))
def test_statvfs(bsize: int, frsize: int, rest: list[int]) -> None:
    counts, (fsid, flags, namemax) = rest[:6], rest[6:]
    payload = memoryview(struct.pack(">11Q", bsize, frsize, *counts, fsid, flags, namemax))
    found = extensions.decode_statvfs(payload)
    assert found == FilesystemStatistics(bsize, frsize, *counts, namemax, flags & 1 == 1)
    with pytest.raises(ProtocolError):
        extensions.decode_statvfs(payload[:-1])


@pytest.mark.parametrize("sizes", [(0, 4096), (4096, 0), (1 << 32, 4096), (4096, 1 << 63)])
def test_statvfs_of_impossible_blocks(sizes: tuple[int, int]) -> None:
    with pytest.raises(OSError) as caught:
        extensions.decode_statvfs(memoryview(struct.pack(">11Q", *sizes, *range(9))))
    assert caught.value.errno == errno.EIO


@given(u32s, u32s)
def test_ids(uids: list[int], gids: list[int]) -> None:
    fields = wire.Fields(extensions.encode_ids(uids, gids))
    for expected in (uids, gids):
        packed = fields.string()
        assert list(struct.unpack(f">{len(packed) // 4}I", packed)) == expected
    assert not fields.rest


@given(st.lists(st.binary(max_size=20), max_size=9), st.lists(st.binary(max_size=20), max_size=9))
def test_names_of_ids(users: list[bytes], groups: list[bytes]) -> None:
    payload = wire.string(b"".join(map(wire.string, users))) + wire.string(b"".join(map(wire.string, groups)))
    assert extensions.decode_names(memoryview(payload)) == (users, groups)


@given(st.binary(max_size=9), u64, u64, st.binary(max_size=9), u64)
def test_copy_data(source: bytes, offset: int, length: int, destination: bytes, to: int) -> None:
    fields = wire.Fields(extensions.encode_copy_data(source, offset, length, destination, to))
    assert (fields.string(), fields.uint64(), fields.uint64()) == (source, offset, length)
    assert (fields.string(), fields.uint64(), fields.rest) == (destination, to, b"")
