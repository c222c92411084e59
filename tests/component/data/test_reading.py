"""What a reader asks the server for and when, and what it is given: replies by hand."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from sftpfs import operation
from sftpfs.data import FileHandle
from sftpfs.data.buffers.chunk_cache import CHUNK_BYTES, CHUNK_OVERHEAD
from sftpfs.types import Buffer
from tests.component.data_room import Room, content, in_room, perform_rest
from tests.component.data_server import attach, settle_tasks

MIB = 1 << 20


def test_first_read_brings_fstat_and_is_one_batch(tmp_path: Path) -> None:
    data = content(1000)

    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.read_nowait(0, 4096) is None
        reading = await room.start(handle.read, 0, 4096)
        assert room.kinds() == ["fstat", "read"]
        assert room.server.sent_bytes["read"] == len(data)
        room.server.finish_all()
        await settle_tasks()
        assert bytes(reading.take()) == data
        assert bytes(handle.read_nowait(0, 4096) or b"") == data
        assert bytes(handle.read_nowait(100, 50) or b"") == data[100:150]
        assert room.kinds() == []

    in_room(tmp_path, test, data)


def test_hit_inside_a_chunk_is_a_view(tmp_path: Path) -> None:
    data = content(CHUNK_BYTES)

    async def test(room: Room) -> None:
        handle = room.open()
        await room.perform(handle.read, 0, CHUNK_BYTES)
        found = handle.read_nowait(4096, 4096)
        assert isinstance(found, memoryview) and found == data[4096:8192]

    in_room(tmp_path, test, data)


def test_readers_share_one_request(tmp_path: Path) -> None:
    data = content(CHUNK_BYTES)

    async def test(room: Room) -> None:
        one, other = room.open(), room.open()
        outcomes = [await room.start(handle.read, at, 4096) for handle in (one, other) for at in (0, 8192)]
        assert room.server.counts == {"fstat": 1, "read": 1}
        room.server.finish_all()
        await settle_tasks()
        assert [bytes(outcome.take()) for outcome in outcomes] == [data[:4096], data[8192:12288]] * 2

    in_room(tmp_path, test, data)


def test_file_changed_since_the_open_is_read_again_whole(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        reading = await room.start(handle.read, 0, 4096)
        read = room.server.pending("read")[0]
        read.execute()  # the old content is on its way
        room.path.write_bytes(b"new content, longer")
        assert bytes(await perform_rest(room, reading)) == b"new content, longer"
        assert room.server.counts["read"] == 2

    in_room(tmp_path, test, b"old content")


def test_sequential_reader_is_read_ahead_of_in_one_batch(tmp_path: Path) -> None:
    data = content(40 * CHUNK_BYTES + 77)

    async def test(room: Room) -> None:
        handle = room.open()
        most = 0
        for at in range(0, len(data), CHUNK_BYTES):
            found = handle.read_nowait(at, CHUNK_BYTES)
            if found is None:
                reading = await room.start(handle.read, at, CHUNK_BYTES)
                most = max(most, len(room.server.pending("read")))
                while not reading.done:  # only what is next arrives: the reader keeps up with us
                    room.server.finish(room.server.requests[0])
                    await settle_tasks()
                found = reading.take()
            assert bytes(found) == data[at : at + CHUNK_BYTES]
        assert most > 4
        assert room.server.counts["read"] == 41
        assert room.statistics()["read_ahead_wasted_bytes"] == 0

    in_room(tmp_path, test, data)


def test_random_small_reads_fetch_little_more_than_asked(tmp_path: Path) -> None:
    data = content(16 * MIB)
    choose = random.Random(3)

    async def test(room: Room) -> None:
        handle = room.open()
        asked = 0
        for _ in range(300):
            at = choose.randrange(1, len(data) // 4096) * 4096
            found = handle.read_nowait(at, 4096)
            if found is None:
                found = await room.perform(handle.read, at, 4096)
            assert bytes(found) == data[at : at + 4096]
            asked += 4096
        room.server.finish_all()
        assert room.server.sent_bytes["read"] <= 2 * asked

    in_room(tmp_path, test, data)


def test_read_ahead_can_be_turned_off(tmp_path: Path) -> None:
    data = content(8 * CHUNK_BYTES)

    async def test(room: Room) -> None:
        handle = room.open()
        for at in range(0, len(data), CHUNK_BYTES):
            await room.perform(handle.read, at, CHUNK_BYTES)
            assert room.kinds() == []
        assert room.statistics()["read_ahead_issued_bytes"] == 0

    in_room(tmp_path, test, data, read_ahead=False)


def test_what_was_fetched_ahead_of_a_closed_file_holds_no_budget(tmp_path: Path) -> None:
    data = content(8 * CHUNK_BYTES)

    async def test(room: Room) -> None:
        for arrives_before_close in (True, False):
            room.content.invalidate()
            handle = room.open()
            reading = await room.start(handle.read, 0, CHUNK_BYTES)
            for request in room.server.requests[:2]:
                room.server.finish(request)
            await settle_tasks()
            reading.take()
            assert room.statistics()["read_ahead_held_bytes"] >= CHUNK_BYTES
            if arrives_before_close:
                room.server.finish_all()
            await handle.release()
            assert room.statistics()["read_ahead_held_bytes"] == 0
            room.server.finish_all()
            again = room.open()
            assert bytes(again.read_nowait(CHUNK_BYTES, 100) or b"") == data[CHUNK_BYTES : CHUNK_BYTES + 100]
            await room.perform(again.release)

    in_room(tmp_path, test, data)


def test_read_across_chunks_is_joined(tmp_path: Path) -> None:
    data = content(3 * CHUNK_BYTES)

    async def test(room: Room) -> None:
        handle = room.open()
        assert (
            bytes(await room.perform(handle.read, 1000, 2 * CHUNK_BYTES))
            == data[1000 : 1000 + 2 * CHUNK_BYTES]
        )

    in_room(tmp_path, test, data)


def test_file_that_shrank_ends_early_and_is_not_padded(tmp_path: Path) -> None:
    data = content(4 * CHUNK_BYTES)

    async def test(room: Room) -> None:
        handle = room.open()
        await room.perform(handle.read, 0, 4096)
        room.server.finish_all()
        os.truncate(room.path, 3 * CHUNK_BYTES + 10)
        found = await room.perform(handle.read, 3 * CHUNK_BYTES, 4096)
        assert bytes(found) == data[3 * CHUNK_BYTES : 3 * CHUNK_BYTES + 10]

    in_room(tmp_path, test, data)


@pytest.mark.parametrize("size", [CHUNK_BYTES // 2, 2 * CHUNK_BYTES + 10])
def test_file_cut_while_partly_cached_is_read_anew(tmp_path: Path, size: int) -> None:
    """No read is made of the beginning of one version and the end of another."""
    data = content(4 * CHUNK_BYTES)

    async def test(room: Room) -> None:
        handle = room.open()
        await room.perform(handle.read, 0, 4096)
        room.path.write_bytes(bytes(size))
        assert bytes(await room.perform(handle.read, 0, len(data))) == bytes(size)

    in_room(tmp_path, test, data, read_ahead=False)


def test_file_without_the_bytes_its_size_tells_ends_where_it_ends(tmp_path: Path) -> None:
    """As files of /proc and /sys do."""

    async def test(room: Room) -> None:
        told = room.server.attributes()._replace(size=4096)
        handle, _ = attach(room.content, room.server, known=told)
        room.server.attributes = lambda: told  # type: ignore[method-assign]
        assert bytes(await room.perform(handle.read, 0, 4096)) == b"little"

    in_room(tmp_path, test, b"little")


def test_file_that_grew_is_read_on_once_known(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert bytes(await room.perform(handle.read, 0, 4096)) == b"first\n"
        with room.path.open("ab") as file:
            file.write(b"second\n")
        assert room.content.revalidated(room.server.attributes())
        assert bytes(await room.perform(handle.read, 0, 4096)) == b"first\nsecond\n"
        assert not room.content.revalidated(room.server.attributes())

    in_room(tmp_path, test, b"first\n")


def test_failed_read_is_an_error_and_the_next_tries_again(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["read"] = errno.EIO
        with pytest.raises(OSError) as caught:
            await room.perform(handle.read, 0, 100)
        assert caught.value.errno == errno.EIO
        assert bytes(await room.perform(handle.read, 0, 100)) == b"content"

    in_room(tmp_path, test, b"content")


def test_read_needs_a_handle_that_may_read(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open(write=False)
        with pytest.raises(OSError) as caught:
            await handle.write(0, b"x")
        assert caught.value.errno == errno.EBADF
        handle.readable = False
        with pytest.raises(OSError) as caught:
            await handle.read(0, 1)
        assert caught.value.errno == errno.EBADF and handle.read_nowait(0, 1) is None

    in_room(tmp_path, test)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("size", [30_000, 3 * CHUNK_BYTES + 5, 4096])
@pytest.mark.parametrize("there", [0, 100])
def test_a_size_that_is_not_there_is_an_error(tmp_path: Path, there: int, size: int, direct: bool) -> None:
    async def test(room: Room) -> None:
        real = room.server.attributes
        room.server.attributes = lambda: real()._replace(size=size)  # type: ignore[method-assign]
        handle = room.open(direct=direct)
        if size == 4096:
            assert bytes(await room.perform(handle.read, 0, 1 << 20)) == content(there), "as /sys tells it"
        else:
            with pytest.raises(OSError) as caught:
                await room.perform(handle.read, 0, 1 << 20)
            assert caught.value.errno == errno.EIO
        room.server.attributes = real  # type: ignore[method-assign]
        assert bytes(await room.perform(handle.read, 0, 1 << 20)) == content(there)

    in_room(tmp_path, test, content(there))


@pytest.mark.parametrize("direct", [False, True])
def test_a_file_cut_while_it_is_read_ends_there(tmp_path: Path, direct: bool) -> None:
    async def test(room: Room) -> None:
        handle = room.open(direct=direct)
        room.path.write_bytes(content(100))
        assert bytes(await room.perform(handle.read, 0, 1 << 20)) == content(100)

    in_room(tmp_path, test, content(30_000))


def test_a_fetch_given_up_with_an_earlier_operation_is_asked_for_again_by_a_later_one(tmp_path: Path) -> None:
    data = content(10_000)

    async def read(handle: FileHandle, offset: int) -> Buffer:
        operation.begin()
        return await handle.read(offset, 100)

    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["read"] = errno.ETIMEDOUT
        first = await room.start(read, handle, 0)
        second = await room.start(read, handle, 5000)
        assert room.kinds().count("read") == 1
        with pytest.raises(OSError) as raised:
            await perform_rest(room, first)
        assert raised.value.errno == errno.ETIMEDOUT
        assert await perform_rest(room, second) == data[5000:5100]

    in_room(tmp_path, test, data)


def test_why_reads_wait_for_the_server_is_counted(tmp_path: Path) -> None:
    data = content(3 * CHUNK_BYTES)

    async def test(room: Room) -> None:
        def reasons() -> dict[str, int]:
            return {reason: count for reason, count in room.contents.misses().items() if count}

        handle = room.open()
        await room.perform(handle.read, 0, CHUNK_BYTES)
        assert reasons() == {"new": 1}
        assert handle.read_nowait(0, CHUNK_BYTES) is not None
        await room.perform(handle.read, CHUNK_BYTES, CHUNK_BYTES)  # the cache has room for one
        await room.perform(handle.read, 0, CHUNK_BYTES)
        assert reasons() == {"new": 2, "evicted": 1}
        await room.perform(handle.read, 5000, 10)  # it is here
        await room.perform(room.open().read, CHUNK_BYTES + 5000, 10)  # a little, somewhere
        assert reasons() == {"new": 2, "evicted": 1, "uncached": 1}
        room.content.invalidate()
        await room.perform(handle.read, 0, CHUNK_BYTES)
        assert reasons() == {"new": 2, "evicted": 1, "uncached": 1, "changed": 1}
        await room.perform(handle.write, 100, b"x")
        await room.perform(handle.fsync)
        await room.perform(handle.read, 0, CHUNK_BYTES)
        assert reasons() == {"new": 2, "evicted": 1, "uncached": 1, "changed": 1, "written": 1}
        room.content.reader.forget()
        first = await room.start(handle.read, 0, CHUNK_BYTES)
        second = await room.start(handle.read, 0, CHUNK_BYTES)
        room.server.finish_all()
        await settle_tasks()
        assert first.done and second.done
        more = {"doubted": 1, "awaited": 1}
        assert reasons() == {"new": 2, "evicted": 1, "uncached": 1, "changed": 1, "written": 1, **more}
        assert room.statistics()["chunk_misses"] == sum(reasons().values()) - reasons()["uncached"]

    room_for_one = CHUNK_BYTES + CHUNK_OVERHEAD
    in_room(tmp_path, test, data, cache_bytes=room_for_one, read_ahead=False)
