"""What goes to the server when, and what becomes of it: replies given by hand."""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from sftpfs.config import DataConfig
from sftpfs.data import Contents, FileContent, FileHandle
from sftpfs.data.chunks import CHUNK_BYTES
from sftpfs.types import AttributeChange
from tests.component.data_server import (
    Observer,
    SteppedServer,
    age,
    attach,
    perform,
    settle_tasks,
    start,
)
from tests.component.sftp_servers import ungrouped

MIB = 1 << 20


class Room:
    """One file, its server and its content."""

    def __init__(self, path: Path, data: bytes, *, ordered: bool = True, **config: Any) -> None:
        path.write_bytes(data)
        age(path)
        self.path = path
        self.server = SteppedServer(path, ordered=ordered)
        self.observer = Observer()
        self.contents = Contents(DataConfig(**config), self.observer)
        self.content: FileContent = self.contents.create(9)
        self.nursery: trio.Nursery

    def open(self, **options: Any) -> FileHandle:
        return attach(self.content, self.server, **options)[0]

    async def start(self, operation: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return await start(self.nursery, operation, *args)

    async def perform(self, operation: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return await perform(self.server, self.nursery, operation, *args)

    def kinds(self) -> list[str]:
        """What waits at the server, in the order sent."""
        return [request.kind for request in self.server.requests]

    def statistics(self) -> dict[str, int]:
        return self.contents.statistics()

    async def close(self) -> None:
        self.server.finish_all()
        for handle in list(self.content.handles):
            assert isinstance(handle, FileHandle)
            await self.perform(handle.release)
        self.server.finish_all()


Test = Callable[[Room], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    """Run a test over a room with a file of ``data``; nothing dirty may remain."""

    def runner(test: Test, data: bytes = b"", **options: Any) -> None:
        async def inside() -> None:
            room = Room(tmp_path / "file", data, **options)
            with trio.fail_after(30):
                async with trio.open_nursery() as room.nursery:
                    await test(room)
                    await room.close()
            assert room.statistics()["dirty_bytes"] == 0
            assert room.statistics()["dirty_files"] == 0
            room.content.forget()
            assert room.statistics()["read_ahead_held_bytes"] == 0

        with ungrouped():
            trio.run(inside)

    return runner


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


# reading


def test_first_read_brings_fstat_and_is_one_batch(run: Callable[..., None]) -> None:
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

    run(test, data)


def test_hit_inside_a_chunk_is_a_view(run: Callable[..., None]) -> None:
    data = content(CHUNK_BYTES)

    async def test(room: Room) -> None:
        handle = room.open()
        await room.perform(handle.read, 0, CHUNK_BYTES)
        found = handle.read_nowait(4096, 4096)
        assert isinstance(found, memoryview) and found == data[4096:8192]

    run(test, data)


def test_readers_share_one_request(run: Callable[..., None]) -> None:
    data = content(CHUNK_BYTES)

    async def test(room: Room) -> None:
        one, other = room.open(), room.open()
        outcomes = [await room.start(handle.read, at, 4096) for handle in (one, other) for at in (0, 8192)]
        assert room.server.counts == {"fstat": 1, "read": 1}
        room.server.finish_all()
        await settle_tasks()
        assert [bytes(outcome.take()) for outcome in outcomes] == [data[:4096], data[8192:12288]] * 2

    run(test, data)


def test_file_changed_since_the_open_is_read_again_whole(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        reading = await room.start(handle.read, 0, 4096)
        read = room.server.pending("read")[0]
        read.execute()  # the old content is on its way
        room.path.write_bytes(b"new content, longer")
        assert bytes(await perform_rest(room, reading)) == b"new content, longer"
        assert room.server.counts["read"] == 2

    run(test, b"old content")


async def perform_rest(room: Room, outcome: Any) -> Any:
    for _ in range(100):
        if outcome.done:
            return outcome.take()
        room.server.finish_all()
        await settle_tasks()
    raise AssertionError("does not end")


def test_sequential_reader_is_read_ahead_of_in_one_batch(run: Callable[..., None]) -> None:
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

    run(test, data)


def test_random_small_reads_fetch_little_more_than_asked(run: Callable[..., None]) -> None:
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

    run(test, data)


def test_read_ahead_can_be_turned_off(run: Callable[..., None]) -> None:
    data = content(8 * CHUNK_BYTES)

    async def test(room: Room) -> None:
        handle = room.open()
        for at in range(0, len(data), CHUNK_BYTES):
            await room.perform(handle.read, at, CHUNK_BYTES)
            assert room.kinds() == []
        assert room.statistics()["read_ahead_issued_bytes"] == 0

    run(test, data, read_ahead=False)


def test_read_across_chunks_is_joined(run: Callable[..., None]) -> None:
    data = content(3 * CHUNK_BYTES)

    async def test(room: Room) -> None:
        handle = room.open()
        assert (
            bytes(await room.perform(handle.read, 1000, 2 * CHUNK_BYTES))
            == data[1000 : 1000 + 2 * CHUNK_BYTES]
        )

    run(test, data)


def test_file_that_shrank_ends_early_and_is_not_padded(run: Callable[..., None]) -> None:
    data = content(4 * CHUNK_BYTES)

    async def test(room: Room) -> None:
        handle = room.open()
        await room.perform(handle.read, 0, 4096)
        room.server.finish_all()
        os.truncate(room.path, 3 * CHUNK_BYTES + 10)
        found = await room.perform(handle.read, 3 * CHUNK_BYTES, 4096)
        assert bytes(found) == data[3 * CHUNK_BYTES : 3 * CHUNK_BYTES + 10]

    run(test, data)


def test_file_that_grew_is_read_on_once_known(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert bytes(await room.perform(handle.read, 0, 4096)) == b"first\n"
        with room.path.open("ab") as file:
            file.write(b"second\n")
        assert room.content.revalidated(room.server.attributes(), time.time())
        assert bytes(await room.perform(handle.read, 0, 4096)) == b"first\nsecond\n"
        assert not room.content.revalidated(room.server.attributes(), time.time())

    run(test, b"first\n")


def test_failed_read_is_an_error_and_the_next_tries_again(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["read"] = errno.EIO
        with pytest.raises(OSError) as caught:
            await room.perform(handle.read, 0, 100)
        assert caught.value.errno == errno.EIO
        assert bytes(await room.perform(handle.read, 0, 100)) == b"content"

    run(test, b"content")


def test_read_needs_a_handle_that_may_read(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open(write=False)
        with pytest.raises(OSError) as caught:
            await handle.write(0, b"x")
        assert caught.value.errno == errno.EBADF
        handle.readable = False
        with pytest.raises(OSError) as caught:
            await handle.read(0, 1)
        assert caught.value.errno == errno.EBADF and handle.read_nowait(0, 1) is None

    run(test)


# close-to-open


def test_unchanged_file_is_served_from_memory_after_reopening(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        await room.perform(handle.read, 0, 100)
        await room.perform(handle.release)
        again, keep_cache = attach(room.content, room.server)
        assert keep_cache
        assert bytes(again.read_nowait(0, 100) or b"") == b"content"

    run(test, b"content")


@pytest.mark.parametrize("change", ["size", "mtime"])
def test_changed_file_is_dropped_at_the_open(run: Callable[..., None], change: str) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        await room.perform(handle.read, 0, 100)
        room.path.write_bytes(b"CONTENT" if change == "mtime" else b"longer content")
        if change == "size":
            age(room.path)
        again, keep_cache = attach(room.content, room.server)
        assert not keep_cache
        assert again.read_nowait(0, 100) is None
        assert bytes(await room.perform(again.read, 0, 100)) == room.path.read_bytes()

    run(test, b"content")


def test_change_within_the_second_of_the_fetch_is_seen_by_the_next_open(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        now = time.time()
        os.utime(room.path, (now, now))
        handle = room.open()
        assert bytes(await room.perform(handle.read, 0, 100)) == b"before"
        with room.path.open("r+b") as file:
            file.write(b"after!")
        os.utime(room.path, (now, now))  # the same whole second, the same size
        again, keep_cache = attach(room.content, room.server)
        assert not keep_cache
        assert bytes(await room.perform(again.read, 0, 100)) == b"after!"

    run(test, b"before")


def test_server_clock_behind_ours_is_taken_into_account(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        age(room.path, 60)
        options = {"readable": True, "writable": True, "append": False, "synchronous": False, "direct": False}
        handle = room.open()
        await room.perform(handle.read, 0, 100)
        for fetched, trusted in ((time.time(), True), (time.time() - 70, False)):
            remote = room.server.open(handle.remote.flags)
            known = room.server.attributes()
            assert room.content.attach(remote, **options, known=known, fetched=fetched)[1] is trusted

    run(test, b"content")


def test_version_found_while_reading_is_kept_from_the_kernel_at_the_next_open(
    run: Callable[..., None],
) -> None:
    """The kernel may hold pages of the version before: the next open must not let it keep them."""

    async def test(room: Room) -> None:
        first = room.open()
        await room.perform(first.read, 0, 100)
        second = room.open()
        room.path.write_bytes(b"another content")
        age(room.path, 1000)
        room.content.invalidate()
        assert bytes(await room.perform(second.read, 0, 100)) == b"another content"
        assert attach(room.content, room.server)[1] is False
        assert attach(room.content, room.server)[1] is True

    run(test, b"content")


def test_kernel_cache_keeps_pages_whatever_happened(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        await room.perform(room.open().read, 0, 100)
        room.path.write_bytes(b"changed altogether")
        again, keep_cache = attach(room.content, room.server)
        assert keep_cache
        assert bytes(await room.perform(again.read, 0, 100)) == b"changed altogether"

    run(test, b"content", kernel_cache=True)


def test_without_auto_cache_no_page_is_kept(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        await room.perform(room.open().read, 0, 100)
        assert attach(room.content, room.server)[1] is False

    run(test, b"content", auto_cache=False)


def test_own_writes_are_not_taken_for_unchanged(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"written")
        assert attach(room.content, room.server)[1] is True  # dirty: ours is the truth
        await room.perform(handle.flush)
        await room.perform(handle.setattr, AttributeChange(atime=1000, mtime=1000))
        assert attach(room.content, room.server)[1] is False

    run(test, b"content")


# writing


def test_close_of_a_small_file_is_one_batch(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"hello")
        assert room.kinds() == []
        assert (room.content.dirty, room.content.size) == (True, 5)
        assert room.content.mtime_ns is not None
        closing = await room.start(handle.flush)
        assert room.kinds() == ["write", "fstat"]
        room.server.finish_all()
        await settle_tasks()
        closing.take()
        assert (room.content.dirty, room.content.size, room.content.mtime_ns) == (False, None, None)
        assert room.observer.settled == [(9, room.server.attributes())]
        await handle.flush()
        assert room.kinds() == []

    run(test)


def test_fsync_goes_along(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"hello")
        syncing = await room.start(handle.fsync)
        assert room.kinds() == ["write", "fsync", "fstat"]
        room.server.finish_all()
        await settle_tasks()
        syncing.take()
        again = await room.start(handle.fsync)
        assert room.kinds() == ["fsync"]
        room.server.finish_all()
        await settle_tasks()
        again.take()

    run(test)


def test_over_several_connections_fsync_and_fstat_follow_the_writes(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, bytes(MIB)) and handle.write_nowait(MIB, b"tail")
        syncing = await room.start(handle.fsync)
        assert room.kinds() == ["write", "write"]
        room.server.finish_all()
        await settle_tasks()
        assert set(room.kinds()) <= {"fsync", "fstat"}
        await perform_rest(room, syncing)
        assert room.observer.settled[-1][1].size == MIB + 4

    run(test, ordered=False)


def test_full_extents_leave_at_once_and_large_writes_uncopied(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        for at in range(0, MIB, 4096):
            assert handle.write_nowait(at, bytes(4096))
        assert [request.length for request in room.server.requests] == [MIB // 4] * 4
        assert handle.write_nowait(MIB, bytes(MIB))
        assert room.server.requests[-1].length == MIB

    run(test)


def test_no_two_overlapping_writes_are_under_way(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"a" * MIB)
        assert handle.write_nowait(1000, b"b" * MIB)
        assert len(room.server.requests) == 1
        closing = await room.start(handle.flush)
        assert room.kinds() == ["write"]
        room.server.finish(room.server.requests[0])
        await settle_tasks()
        assert room.kinds() == ["write"]
        await perform_rest(room, closing)
        assert room.path.read_bytes() == b"a" * 1000 + b"b" * MIB

    run(test, ordered=False)


def test_writer_waits_where_too_much_is_dirty_and_what_is_unsent_leaves(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        for at in range(16):
            assert handle.write_nowait(at * 10_000, bytes(4096))
        assert room.kinds() == []
        assert not handle.write_nowait(MIB, bytes(4096))
        writing = await room.start(handle.write, MIB, bytes(4096))
        assert not writing.done and len(room.kinds()) == 16
        room.server.finish(room.server.requests[3])
        await settle_tasks()
        writing.take()
        assert room.contents.dirty_bytes == 64 << 10

    run(test, dirty_bytes=64 << 10)


def test_read_sees_what_is_dirty_without_asking_for_it(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"0123456789")
        assert bytes(await handle.read(2, 100)) == b"23456789"
        assert room.kinds() == []

    run(test)


def test_hole_under_own_write_reads_as_zeros(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(10_000, b"far")
        expected = b"start" + bytes(9_995) + b"far"
        assert bytes(await room.perform(handle.read, 0, 20_000)) == expected
        await room.perform(handle.flush)
        assert bytes(await room.perform(handle.read, 0, 20_000)) == expected

    run(test, b"start")


def test_chunk_asked_for_before_a_write_is_not_cached_after_it(run: Callable[..., None]) -> None:
    data = content(CHUNK_BYTES)

    async def test(room: Room) -> None:
        handle = room.open()
        reading = await room.start(handle.read, 0, 4096)
        for request in room.server.requests:
            request.execute()
        assert handle.write_nowait(0, b"W" * 4096)
        closing = await room.start(handle.flush)
        late = room.server.pending("read")[0]
        for _ in ("write", "fstat"):
            for request in [one for one in room.server.requests if one is not late]:
                room.server.finish(request)
            await settle_tasks()
        closing.take()
        room.server.finish(late)
        assert bytes(await perform_rest(room, reading)) == b"W" * 4096
        assert bytes(await room.perform(handle.read, 0, CHUNK_BYTES)) == b"W" * 4096 + data[4096:]

    run(test, data, ordered=False)


def test_appends_travel_in_order_and_land_behind_what_others_appended(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open(append=True)
        await room.perform(handle.read, 0, 100)
        assert handle.write_nowait(0, b"one ")
        assert room.content.size == 8
        with room.path.open("ab") as file:
            file.write(b"foreign ")
        assert handle.write_nowait(0, b"two ")
        await room.perform(handle.flush)
        assert room.path.read_bytes() == b"log foreign one two "
        assert bytes(await room.perform(handle.read, 0, 100)) == b"log foreign one two "
        assert attach(room.content, room.server)[1] is False

    run(test, b"log ")


def test_append_and_other_writes_do_not_pass_each_other(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        plain, first, second = room.open(), room.open(append=True), room.open(append=True)
        assert plain.write_nowait(6, b"plain")
        assert not first.write_nowait(0, b"-first")
        await room.perform(first.write, 0, b"-first")
        assert not second.write_nowait(0, b"-second") and not plain.write_nowait(0, b"P")
        await room.perform(second.write, 0, b"-second")
        await room.perform(plain.write, 0, b"P")
        expected = b"Prefi\0plain-first-second"
        assert bytes(await room.perform(plain.read, 0, 100)) == expected
        await room.perform(plain.flush)
        assert room.path.read_bytes() == expected

    run(test, b"prefi")


def test_synchronous_write_waits_and_o_sync_syncs(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open(synchronous=True)
        assert not handle.write_nowait(0, b"x")
        writing = await room.start(handle.write, 0, b"x")
        assert room.kinds() == ["write", "fsync"] and not writing.done
        room.server.finish_all()
        await settle_tasks()
        writing.take()

    run(test)


def test_configured_synchronous_writes_wait_without_fsync(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert not handle.write_nowait(0, b"x")
        writing = await room.start(handle.write, 0, b"x")
        assert room.kinds() == ["write"] and not writing.done
        await perform_rest(room, writing)

    run(test, synchronous_writes=True)


def test_direct_handle_passes_the_cache(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        await room.perform(room.open().read, 0, 100)
        handle = room.open(direct=True)
        room.path.write_bytes(b"a longer CONTENT")
        assert handle.read_nowait(0, 100) is None
        assert bytes(await room.perform(handle.read, 0, 100)) == b"a longer CONTENT"
        assert not handle.write_nowait(0, b"x")
        await room.perform(handle.write, 0, b"A")
        assert room.path.read_bytes() == b"A longer CONTENT"

    run(test, b"content")


# truncation and attributes


def test_truncation_waits_for_the_writes_before_it(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        await room.perform(handle.read, 0, 100)
        assert handle.write_nowait(0, b"WRITTEN")
        truncating = await room.start(room.content.truncate, None, 3)
        assert "setattr" not in room.kinds()
        attributes = await perform_rest(room, truncating)
        assert attributes.size == 3 and room.path.read_bytes() == b"WRI"
        assert bytes(await room.perform(handle.read, 0, 100)) == b"WRI"

    run(test, b"content")


def test_truncation_needs_a_handle_that_may_write(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        room.open(write=False)
        with pytest.raises(OSError) as caught:
            await room.perform(room.content.truncate, None, 3)
        assert caught.value.errno == errno.EBADF

    run(test, b"content")


def test_truncation_by_path_drops_what_is_beyond(run: Callable[..., None]) -> None:
    data = content(3 * CHUNK_BYTES)

    async def test(room: Room) -> None:
        handle = room.open()
        await room.perform(handle.read, 0, len(data))
        for size in (CHUNK_BYTES + 5, 2 * CHUNK_BYTES):
            os.truncate(room.path, size)
            room.content.truncated(room.server.attributes())
        expected = data[: CHUNK_BYTES + 5] + bytes(CHUNK_BYTES - 5)
        assert bytes(handle.read_nowait(0, CHUNK_BYTES) or b"") == data[:CHUNK_BYTES]
        assert bytes(await room.perform(handle.read, 0, len(data))) == expected

    run(test, data)


def test_mtime_is_set_after_the_writes(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"written")
        attributes = await room.perform(handle.setattr, AttributeChange(atime=1000, mtime=2000))
        await room.perform(handle.flush)
        assert attributes.mtime == 2000 and int(os.stat(room.path).st_mtime) == 2000

    run(test)


def test_mode_is_set_without_waiting_for_writes(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"written")
        changing = await room.start(handle.setattr, AttributeChange(mode=0o600))
        assert room.kinds() == ["setattr", "fstat"]
        assert (await perform_rest(room, changing)).mode & 0o777 == 0o600
        assert room.content.dirty and room.content.size == 7

    run(test)


def test_every_change_of_content_moves_the_epoch(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        epochs = [room.content.epoch]
        for change in (lambda: handle.write(0, b"x"), handle.flush, lambda: room.content.truncate(None, 0)):
            await room.perform(change)
            epochs.append(room.content.epoch)
        assert epochs == sorted(set(epochs))

    run(test)


# failures


def test_failed_write_is_told_once_to_each_writer_open_then(
    run: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def test(room: Room) -> None:
        one, two, three, reader = room.open(), room.open(), room.open(), room.open(write=False)
        room.server.fail_next["write"] = errno.ENOSPC
        assert one.write_nowait(100, b"lost")
        for operation in (one.flush, two.fsync, lambda: three.write(0, b"x")):
            with pytest.raises(OSError) as caught:
                await room.perform(operation)
            assert caught.value.errno == errno.ENOSPC
        late = room.open()
        for handle in (one, two, three, reader, late):
            await room.perform(handle.flush)
        assert await room.perform(room.contents.drain) == []

    run(test, b"content")
    assert "inode 9: bytes 100 to 104" in caplog.text


def test_size_of_lost_data_is_not_shown(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["write"] = errno.ENOSPC
        assert handle.write_nowait(100, b"lost")
        assert room.content.size == 104
        with pytest.raises(OSError):
            await room.perform(room.content.settle)
        assert room.content.size is None and not room.content.dirty
        assert room.observer.settled[-1][1].size == 7
        with pytest.raises(OSError):
            await room.perform(handle.flush)
        assert bytes(await room.perform(handle.read, 0, 200)) == b"content"

    run(test, b"content")


def test_lost_data_is_not_shown_where_the_server_does_not_answer_either(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next.update(write=errno.EIO, fstat=errno.EIO)
        assert handle.write_nowait(100, b"lost")
        with pytest.raises(OSError):
            await room.perform(handle.flush)
        assert not room.content.dirty and room.observer.settled[-1][1].size == 7
        assert attach(room.content, room.server)[1] is False

    run(test, b"content")


def test_written_data_stays_the_truth_until_the_server_tells(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["fstat"] = errno.EIO
        assert handle.write_nowait(0, b"longer than before")
        await room.perform(handle.flush)
        assert room.content.dirty and room.content.size == 18
        room.server.fail_next["fstat"] = errno.EIO
        with pytest.raises(OSError):
            await room.perform(room.content.settle)
        settled = await room.perform(room.content.settle)
        assert settled.size == 18 and not room.content.dirty

    run(test, b"content")


def test_release_without_flush_writes_first_and_tells_the_truth_it_knows(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["fstat"] = errno.EIO
        assert handle.write_nowait(0, b"longer than before")
        await room.perform(handle.release)
        assert room.path.read_bytes() == b"longer than before"
        assert not room.content.dirty and room.observer.settled[-1][1].size == 18

    run(test, b"content")


def test_failure_nobody_was_told_of_comes_out_at_unmount(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["write"] = errno.EDQUOT
        assert handle.write_nowait(0, b"lost")
        await room.perform(handle.release)
        ((number, problem),) = await room.perform(room.contents.drain)
        assert (number, problem.errno) == (9, errno.EDQUOT)
        assert await room.perform(room.contents.drain) == []

    run(test)


def test_release_in_the_middle_leaves_nothing_dirty(run: Callable[..., None]) -> None:
    """A release that is cancelled closes all the same; what was under way still counts."""

    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, bytes(MIB))
        with trio.move_on_after(0):
            await handle.release()
        room.server.finish_all()
        assert not room.content.dirty and room.contents.dirty_bytes == 0

    run(test)


def test_drain_sends_everything_at_once(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        other = room.contents.create(10)
        handles = [room.open(), attach(other, room.server)[0]]
        for at, handle in enumerate(handles):
            assert handle.write_nowait(at, b"x")
        draining = await room.start(room.contents.drain)
        assert room.kinds()[:2] == ["write", "write"]
        assert await perform_rest(room, draining) == []
        assert room.statistics()["dirty_files"] == 0
        await room.perform(handles[1].release)

    run(test)


def test_lingering_data_is_sent_and_then_settled(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"lingers")
        writer = room.content.writer
        writer.tidy(time.time_ns())
        assert room.kinds() == []
        writer.tidy(time.time_ns() + 2 * 10**9)
        assert room.kinds() == ["write"]
        room.server.finish_all()
        writer.tidy(time.time_ns() + 2 * 10**9)
        assert room.kinds() == ["fstat"]
        room.server.finish_all()
        assert not room.content.dirty and room.observer.settled

    run(test)


def test_write_after_the_fstat_left_keeps_the_file_dirty(run: Callable[..., None]) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"first")
        closing = await room.start(handle.flush)
        assert handle.write_nowait(5, b"second")
        await perform_rest(room, closing)
        assert room.content.dirty and room.content.size == 11 and not room.observer.settled

    run(test)
