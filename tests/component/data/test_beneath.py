"""What the server has beneath what is being written: asked for while it is, and shown."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from sftpfs.data.buffers.chunk_cache import CHUNK_BYTES
from tests.component.data_room import Room, content, in_room, perform_rest
from tests.component.data_server import attach, settle_tasks

SECOND = 10**9
DATA = content(3 * CHUNK_BYTES)


def by_another(path: Path, offset: int, data: bytes) -> None:
    """Another client writes."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


async def opens_and_reads(room: Room, offset: int, size: int) -> bytes:
    """As ``vfs.open_file`` does it: ask, open, attach; then a read."""
    beneath = room.content.ask()
    if beneath is not None:
        room.server.finish_all()
        await settle_tasks()
    handle, keep = attach(room.content, room.server, write=False)
    assert not keep
    found = bytes(await room.perform(handle.read, offset, size))
    await room.perform(handle.release)
    return found


def test_an_open_beside_a_writer_sees_what_others_changed(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        writer = room.open()
        for number in range(4):
            assert writer.write_nowait(0, b"%d" % number)
            await opens_and_reads(room, CHUNK_BYTES, 4096)
            by_another(room.path, CHUNK_BYTES, b"theirs %d" % number)
            expected = b"theirs %d" % number + DATA[CHUNK_BYTES + 8 :]
            assert await opens_and_reads(room, CHUNK_BYTES, len(DATA)) == expected
            assert (await opens_and_reads(room, 0, 10))[:1] == b"%d" % number

    in_room(tmp_path, test, DATA)


@pytest.mark.parametrize("size", [4096, len(DATA)], ids=["some bytes", "chunks"])
def test_a_read_ends_however_often_the_file_is_opened_beside_it(tmp_path: Path, size: int) -> None:
    async def test(room: Room) -> None:
        writer, reader = room.open(), room.open(write=False)
        assert writer.write_nowait(0, b"x")
        reading = await room.start(reader.read, CHUNK_BYTES, size)
        while not reading.done:
            attach(room.content, room.server, write=False)
            room.server.finish(room.server.pending("read")[0])
            await settle_tasks()
            assert room.server.counts["read"] < 10
        assert bytes(reading.take()) == DATA[CHUNK_BYTES:][:size]
        by_another(room.path, CHUNK_BYTES, b"theirs")
        found = await opens_and_reads(room, CHUNK_BYTES, size)
        assert found == (b"theirs" + DATA[CHUNK_BYTES + 6 :])[:size]

    in_room(tmp_path, test, DATA)


def test_a_file_grown_or_cut_beneath_a_writer_has_that_size(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        writer = room.open()
        for size in (len(DATA) + 5000, len(DATA) + 200_000, CHUNK_BYTES + 1, 10, 500_000):
            assert writer.write_nowait(100, b"ours")
            os.truncate(room.path, size)
            expected = bytearray(room.path.read_bytes())
            expected[len(expected) : 104] = bytes(max(0, 104 - len(expected)))
            expected[100:104] = b"ours"
            assert await opens_and_reads(room, 0, 1 << 20) == expected
            assert room.content.size == max(size, 104)
            assert room.observer.reported[-1][1].size == size

    in_room(tmp_path, test, DATA)


@pytest.mark.parametrize("append", [False, True])
def test_who_never_stops_writing_has_the_server_asked_once_a_second(tmp_path: Path, append: bool) -> None:
    async def test(room: Room) -> None:
        handle = room.open(append=append)
        for number in range(10):
            assert handle.write_nowait(number, b"x")
            room.content.writer.flush_idle(time.time_ns())
            assert room.kinds() == []
            room.content.writer.flush_idle(time.time_ns() + 2 * SECOND)
            assert room.kinds()[-1] == "fstat" and room.kinds().count("fstat") == 1
            assert handle.write_nowait(number, b"y"), "so that it is not clean"
            with room.path.open("ab") as file:
                file.write(b"theirs")
            room.server.finish_all()
            size = room.path.stat().st_size
            assert room.content.size == (size + 1 if append else size)
        assert room.server.counts["fstat"] == 10

    in_room(tmp_path, test, b"content")


def test_what_both_append_is_read_as_the_server_has_it(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open(append=True)
        for number in range(10):
            assert handle.write_nowait(0, b"here %d\n" % number)
            with room.path.open("ab") as file:
                file.write(b"and there %d\n" % number)
            if number % 3 == 0:
                room.content.writer.send_all()
            found = await opens_and_reads(room, 0, 1 << 20)
            assert found == room.path.read_bytes() and found.count(b"here %d" % number) == 2
            assert not room.content.writer.extents
            assert handle.write_nowait(0, b"unsent"), "what is not there yet comes behind what is"
            assert room.content.size == room.path.stat().st_size + len(b"unsent")

    in_room(tmp_path, test, b"log\n")


def test_only_who_reads_the_end_waits_for_what_is_appended(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open(append=True)
        assert handle.write_nowait(0, b"appended")
        reading = await room.start(handle.read, 0, len(DATA))
        assert "write" not in room.kinds()
        assert bytes(await perform_rest(room, reading)) == DATA
        reading = await room.start(handle.read, len(DATA) - 4, 100)
        assert room.kinds() == ["write"]
        assert bytes(await perform_rest(room, reading)) == DATA[-4:] + b"appended"

    in_room(tmp_path, test, DATA)


def test_an_answer_that_may_have_seen_later_appends_says_no_size(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open(append=True)
        assert handle.write_nowait(0, b"one")
        room.content.writer.send_all()
        room.content.ask()
        (asked,) = room.server.pending("fstat")
        assert handle.write_nowait(0, b"two!")
        room.content.writer.send_all()
        for request in room.server.pending("write"):
            room.server.finish(request)
        assert room.content.size == 7 + 7
        room.server.finish(asked)
        assert room.content.size == 7 + 7 and not room.observer.reported

    in_room(tmp_path, test, b"content", ordered=False)


@pytest.mark.parametrize("sent_before", [True, False])
def test_an_answer_that_may_not_have_seen_a_write_makes_nothing_clean(
    tmp_path: Path, sent_before: bool
) -> None:
    """Over several connections FSTAT may be carried out before a write, and answered after it."""

    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(len(DATA), b"longer")
        if sent_before:
            room.content.writer.send_all()
        room.content.ask()
        room.content.writer.send_all()
        (asked,), (write,) = room.server.pending("fstat"), room.server.pending("write")
        asked.execute()
        room.server.finish(write)
        room.server.finish(asked)
        assert room.content.dirty and room.content.size == len(DATA) + 6
        assert bytes(await room.perform(handle.read, len(DATA), 100)) == b"longer"

    in_room(tmp_path, test, DATA, ordered=False)


def test_an_answer_from_before_a_truncation_says_nothing(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"written")
        room.content.writer.send_all()
        room.content.ask()
        writes, (asked,) = room.server.pending("write"), room.server.pending("fstat")
        room.server.finish(writes[0])
        asked.execute()
        os.truncate(room.path, 0)  # as an OPEN of ours did it
        room.content.truncated(room.server.attributes())
        room.server.finish(asked)
        assert room.content.size == 0
        assert bytes(await room.perform(handle.read, 0, 100)) == b""

    in_room(tmp_path, test, DATA, ordered=False)


@pytest.mark.parametrize("append", [False, True])
def test_settling_waits_for_what_was_written_before(tmp_path: Path, append: bool) -> None:
    """And for nothing that is written meanwhile, or it would end with the writer."""

    async def test(room: Room) -> None:
        handle = room.open(append=append)
        assert handle.write_nowait(0, b"before")
        settling = await room.start(room.content.settle)
        while not settling.done:
            assert handle.write_nowait(0, b"after!")
            room.content.writer.send_all()
            room.server.finish(room.server.requests[0])
            await settle_tasks()
            assert room.server.counts["write"] < 10
        assert settling.take().size >= 6 and room.content.dirty

    in_room(tmp_path, test)


def test_a_server_that_does_not_tell_leaves_what_is_known(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(len(DATA), b"more")
        room.server.fail_next["fstat"] = errno.EIO
        assert (await opens_and_reads(room, len(DATA) - 4, 100)) == DATA[-4:] + b"more"
        assert room.content.size == len(DATA) + 4

    in_room(tmp_path, test, DATA)
