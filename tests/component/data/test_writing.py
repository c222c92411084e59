"""When what is written goes to the server, and what reads see of it: replies by hand."""

from __future__ import annotations

from pathlib import Path

from sftpfs.data.buffers.chunk_cache import CHUNK_BYTES
from tests.component.data_room import Room, content, in_room, perform_rest
from tests.component.data_server import attach, settle_tasks

MIB = 1 << 20


def test_close_of_a_small_file_is_one_batch(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"hello")
        assert room.kinds() == []
        assert (room.content.dirty, room.content.size) == (True, 5)
        assert room.content.mtime is not None
        closing = await room.start(handle.flush)
        assert room.kinds() == ["write", "fstat"]
        room.server.finish_all()
        await settle_tasks()
        closing.take()
        assert (room.content.dirty, room.content.size, room.content.mtime) == (False, None, None)
        assert room.observer.settled == [(9, room.server.attributes())]
        await handle.flush()
        assert room.kinds() == []

    in_room(tmp_path, test)


def test_fsync_goes_along(tmp_path: Path) -> None:
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

    in_room(tmp_path, test)


def test_over_several_connections_fsync_and_fstat_follow_the_writes(tmp_path: Path) -> None:
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

    in_room(tmp_path, test, ordered=False)


def test_full_extents_leave_at_once_and_large_writes_uncopied(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        for at in range(0, MIB, 4096):
            assert handle.write_nowait(at, bytes(4096))
        assert [request.length for request in room.server.requests] == [MIB // 4] * 4
        assert handle.write_nowait(MIB, bytes(MIB))
        assert room.server.requests[-1].length == MIB

    in_room(tmp_path, test)


def test_no_two_overlapping_writes_are_under_way(tmp_path: Path) -> None:
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

    in_room(tmp_path, test, ordered=False)


def test_writer_waits_where_too_much_is_dirty_and_what_is_unsent_leaves(tmp_path: Path) -> None:
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

    in_room(tmp_path, test, dirty_bytes=64 << 10)


def test_read_sees_what_is_dirty_without_asking_for_it(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"0123456789")
        assert bytes(await handle.read(2, 100)) == b"23456789"
        assert room.kinds() == []

    in_room(tmp_path, test)


def test_hole_under_own_write_reads_as_zeros(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(10_000, b"far")
        expected = b"start" + bytes(9_995) + b"far"
        assert bytes(await room.perform(handle.read, 0, 20_000)) == expected
        await room.perform(handle.flush)
        assert bytes(await room.perform(handle.read, 0, 20_000)) == expected

    in_room(tmp_path, test, b"start")


def test_chunk_asked_for_before_a_write_is_not_cached_after_it(tmp_path: Path) -> None:
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

    in_room(tmp_path, test, data, ordered=False)


def test_appends_travel_in_order_and_land_behind_what_others_appended(tmp_path: Path) -> None:
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

    in_room(tmp_path, test, b"log ")


def test_an_append_request_ends_where_a_write_did(tmp_path: Path) -> None:
    """Another client's append may come between two requests, and would tear a line that is cut."""

    async def test(room: Room) -> None:
        room.server.write_limit = 1000
        handle = room.open(append=True)
        for number in range(25):
            assert handle.write_nowait(0, b"%099d\n" % number)
        assert handle.write_nowait(0, bytes(300)) and handle.write_nowait(0, bytes(2500))
        assert handle.write_nowait(0, bytes(1000)) and handle.write_nowait(0, b"end")
        await room.start(handle.flush)
        assert [one.length for one in room.server.pending("write")] == [1000, 1000, 800, 2500, 1000, 3]

    in_room(tmp_path, test, b"log\n")


def test_append_and_other_writes_do_not_pass_each_other(tmp_path: Path) -> None:
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

    in_room(tmp_path, test, b"prefi")


def test_synchronous_write_waits_and_o_sync_syncs(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open(synchronous=True)
        assert not handle.write_nowait(0, b"x")
        writing = await room.start(handle.write, 0, b"x")
        assert room.kinds() == ["write", "fsync"] and not writing.done
        room.server.finish_all()
        await settle_tasks()
        writing.take()

    in_room(tmp_path, test)


def test_configured_synchronous_writes_wait_without_fsync(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert not handle.write_nowait(0, b"x")
        writing = await room.start(handle.write, 0, b"x")
        assert room.kinds() == ["write"] and not writing.done
        await perform_rest(room, writing)

    in_room(tmp_path, test, synchronous_writes=True)


def test_direct_handle_passes_the_cache(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        await room.perform(room.open().read, 0, 100)
        handle = room.open(direct=True)
        room.path.write_bytes(b"a longer CONTENT")
        assert handle.read_nowait(0, 100) is None
        assert bytes(await room.perform(handle.read, 0, 100)) == b"a longer CONTENT"
        assert not handle.write_nowait(0, b"x")
        await room.perform(handle.write, 0, b"A")
        assert room.path.read_bytes() == b"A longer CONTENT"

    in_room(tmp_path, test, b"content")
