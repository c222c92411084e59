"""Writes that fail, servers that do not tell, handles that go early: replies by hand."""

from __future__ import annotations

import errno
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from sftpfs.errors import IncompleteWriteError
from tests.component.data_room import Room, in_room, perform_rest
from tests.component.data_server import attach, settle_tasks

MIB = 1 << 20


def test_after_a_failure_a_write_waits_until_one_is_acknowledged(tmp_path: Path) -> None:
    """The position of a program, and of those that share its descriptor, stays where bytes are refused."""

    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_all["write"] = errno.ENOSPC
        assert handle.write_nowait(7, b" lost")
        room.content.writer.send_all()
        for text in (b" refused", b" refused again"):
            assert not handle.write_nowait(12, text)
            assert await errors_of(room, lambda: handle.write(12, text)) == [errno.ENOSPC]  # noqa: B023
        assert [bytes(one.data) for one in room.observer.lost] == [b" lost"], "the program has the others"
        room.server.fail_all.clear()
        assert not handle.write_nowait(12, b" is there")
        assert await errors_of(room, lambda: handle.write(12, b" is there")) == [0]
        assert room.path.read_bytes() == b"content" + bytes(5) + b" is there"
        assert handle.write_nowait(21, b".")
        assert await errors_of(room, handle.fsync) == [0]

    in_room(tmp_path, test, b"content")


async def errors_of(room: Room, *operations: Callable[[], Awaitable[None]]) -> list[int]:
    """The errno each operation in turn fails with, 0 for none."""
    numbers = []
    for operation in operations:
        try:
            await room.perform(operation)
        except OSError as problem:
            numbers.append(problem.errno or -1)
        else:
            numbers.append(0)
    return numbers


def test_failed_write_is_told_once_to_each_writer_open_then(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        one, two, three = room.open(), room.open(), room.open()
        room.server.fail_next["write"] = errno.ENOSPC
        assert one.write_nowait(100, b"lost")
        assert await errors_of(room, one.fsync, two.fsync, lambda: three.write(0, b"x")) == [errno.ENOSPC] * 3
        late = room.open()
        for handle in (one, two, three, late):
            assert await errors_of(room, handle.fsync, handle.flush) == [0, 0]
            await room.perform(handle.release)
        assert await room.perform(room.contents.drain) == [] and room.observer.unreported == []
        assert [(one.offset, bytes(one.data)) for one in room.observer.lost] == [(100, b"lost")]
        assert room.observer.lost[0].failure.errno == errno.ENOSPC

    in_room(tmp_path, test, b"content")


def test_close_tells_each_time_until_write_or_fsync_has_told(tmp_path: Path) -> None:
    """It comes for every copy of a descriptor: a child's, a duplicate, and for a program that just ends."""

    async def test(room: Room) -> None:
        for final in ("fsync", "write", "close", None):
            handle = room.open()
            room.server.fail_next["write"] = errno.ENOSPC
            assert handle.write_nowait(100, b"lost")
            assert await errors_of(room, handle.flush, handle.flush) == [errno.ENOSPC] * 2
            handle.listened = final == "close"  # the program that opened it lives
            if final in ("fsync", "write"):
                surely = handle.fsync if final == "fsync" else lambda: handle.write(0, b"x")  # noqa: B023
                assert await errors_of(room, surely, handle.flush, handle.fsync) == [errno.ENOSPC, 0, 0]
            assert await errors_of(room, handle.release) == [0]
            assert room.observer.unreported == ([] if final else [(9, errno.ENOSPC)])
        assert [number for number, _ in room.contents.unreported()] == [9]
        assert room.contents.unreported() == [] == await room.perform(room.contents.drain)

    in_room(tmp_path, test, b"content")


def test_what_an_outage_took_is_named_though_a_close_told_it(tmp_path: Path) -> None:
    """But for what ``fsync`` told, to a program that surely asks."""

    async def test(room: Room) -> None:
        for final in ("fsync", "close"):
            handle = room.open()
            room.server.fail_next["write"] = errno.ETIMEDOUT
            assert handle.write_nowait(100, b"lost")
            assert await errors_of(room, handle.flush) == [errno.ETIMEDOUT]
            handle.listened = True
            if final == "fsync":
                assert await errors_of(room, handle.fsync) == [errno.ETIMEDOUT]
            assert await errors_of(room, handle.release) == [0]
            assert room.observer.unreported == ([] if final == "fsync" else [(9, errno.ETIMEDOUT)])

    in_room(tmp_path, test, b"content")


@pytest.mark.parametrize("code", [errno.ETIMEDOUT, errno.ENOSPC])
def test_what_an_outage_took_is_named_though_a_write_told_it(tmp_path: Path, code: int) -> None:
    """Until it is written again; what ``write`` itself reported, and a refusal it told, are not."""

    async def test(room: Room) -> None:
        def write() -> Awaitable[None]:
            return handle.write(100, b"lost")

        handle = room.open()
        room.server.fail_next["write"] = code
        assert handle.write_nowait(100, b"lost")
        assert await errors_of(room, handle.flush, write) == [code, code]
        room.server.fail_next["write"] = code
        assert await errors_of(room, write) == [code]
        expected = [(9, code)] if code == errno.ETIMEDOUT else []
        assert room.observer.unreported == expected
        assert [(number, problem.errno) for number, problem in room.contents.unreported()] == expected
        assert await errors_of(room, write, handle.release) == [0, 0]
        assert room.contents.unreported() == [] == room.observer.unreported

    in_room(tmp_path, test, b"content")


def test_what_fails_later_of_the_writes_a_failure_was_told_of_is_no_news(tmp_path: Path) -> None:
    """``write`` tells the first failure of several under way: the others are what the program knows of."""

    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, bytes(MIB)) and handle.write_nowait(MIB, bytes(MIB))
        first, second = room.server.pending("write")
        for request in (first, second):
            request.error = OSError(errno.ENOSPC, "full")
        room.server.finish(first)
        assert await errors_of(room, lambda: handle.write(0, b"x")) == [errno.ENOSPC]
        assert await errors_of(room, handle.flush) == [errno.ENOSPC]
        await room.perform(handle.release)
        assert room.contents.unreported() == [] == room.observer.unreported

    in_room(tmp_path, test, b"content")


@pytest.mark.parametrize("ending", ["drain", "settle_all", "give_up"])
def test_what_an_open_file_was_not_told_of_comes_out_at_each_ending(tmp_path: Path, ending: str) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["write"] = errno.ENOSPC
        assert handle.write_nowait(100, b"lost")
        assert await errors_of(room, handle.flush) == [errno.ENOSPC]
        if ending == "give_up":
            failed = room.contents.give_up(OSError(errno.ECANCELED, "the end"))
        else:
            failed = await room.perform(getattr(room.contents, ending))
        assert [(number, problem.errno) for number, problem in failed] == [(9, errno.ENOSPC)]
        assert await errors_of(room, handle.fsync) == [errno.ENOSPC], "and its program is told all the same"
        assert await room.perform(room.contents.settle_all) == []

    in_room(tmp_path, test, b"content")


@pytest.mark.parametrize(("number", "named"), [(errno.ENOSPC, []), (errno.ETIMEDOUT, [9])])
def test_a_last_close_counts_though_the_kernel_gave_up_its_release(
    tmp_path: Path, number: int, named: list[int]
) -> None:
    """As it does where the mount is taken off just behind the close."""

    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["write"] = number
        assert handle.write_nowait(100, b"lost")
        assert await errors_of(room, handle.flush) == [number]
        handle.listened = True
        handle.content.closed(handle)
        assert [inode for inode, _ in await room.perform(room.contents.drain)] == named

    in_room(tmp_path, test, b"content")


def test_fsync_tells_whoever_has_or_opens_the_file_until_somebody_was_told(tmp_path: Path) -> None:
    """As Linux does it: a reader's fsync, and that of ``sync FILE``, which opens it after the failure."""

    async def test(room: Room) -> None:
        writer, reader = room.open(), room.open(write=False)
        room.server.fail_next["write"] = errno.ENOSPC
        assert writer.write_nowait(100, b"lost")
        assert await errors_of(room, reader.flush, writer.flush) == [0, errno.ENOSPC]
        after, other = room.open(write=False), room.open()
        for handle in (reader, after):
            assert await errors_of(room, handle.flush, handle.fsync, handle.fsync) == [0, errno.ENOSPC, 0]
        assert await errors_of(room, room.open(write=False).fsync) == [0], (
            "somebody was told before it was opened"
        )
        assert await errors_of(room, other.flush, lambda: other.write(0, b"x"), other.fsync) == [
            0,
            0,
            errno.ENOSPC,
        ]
        assert await errors_of(room, writer.fsync, writer.fsync) == [errno.ENOSPC, 0]

    in_room(tmp_path, test, b"content")


def test_what_fails_after_its_handle_was_released_is_told_to_nobody(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle, other = room.open(), room.open()
        assert handle.write_nowait(0, b"lost")
        with trio.move_on_after(0):
            await handle.release()
        room.server.requests[0].error = OSError(errno.EIO, "gone")
        room.server.finish_all()
        assert room.observer.unreported == [(9, errno.EIO)]
        assert await errors_of(room, other.fsync) == [errno.EIO], "though others are"

    in_room(tmp_path, test, b"content")


def test_what_the_rest_of_a_large_write_is_told_of_is_told_once_more(tmp_path: Path) -> None:
    """The kernel makes a short count of it, as if all before had been written."""

    async def test(room: Room) -> None:
        for rest, times in ((MIB, 2), (MIB + 1, 1)):
            handle = room.open()
            other = room.open()
            room.server.fail_next["write"] = errno.ENOSPC
            await room.perform(handle.write, 0, bytes(MIB))
            with pytest.raises(OSError):
                await room.perform(other.fsync)
            operations = (lambda: handle.write(rest, b"x"), handle.fsync, handle.flush)  # noqa: B023
            numbers = await errors_of(room, *operations)
            assert numbers == [errno.ENOSPC] * times + [0] * (3 - times), f"a write at {rest}"
            await room.perform(other.flush)

    in_room(tmp_path, test, b"content")


def test_a_short_count_and_a_failed_close_are_enough_to_know(tmp_path: Path) -> None:
    """What cp sees of a full disk: a write fails that may have been the rest of one, then it gives up."""

    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["write"] = errno.ENOSPC
        await room.perform(handle.write, 0, bytes(MIB))
        room.server.finish_all()
        assert (
            await errors_of(room, lambda: handle.write(MIB, bytes(MIB)), handle.flush) == [errno.ENOSPC] * 2
        )
        await room.perform(handle.release)
        assert room.contents.unreported() == [] == room.observer.unreported

    in_room(tmp_path, test, b"content")


def test_what_is_lost_after_the_file_was_clean_is_another_incident(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        for text in (b"one", b"two"):
            handle = room.open()
            room.server.fail_next["write"] = errno.EIO
            assert handle.write_nowait(0, text)
            with pytest.raises(OSError):
                await room.perform(handle.fsync)
        assert [bytes(one.data) for one in room.observer.lost] == [b"one", b"two"]
        assert len({one.incident for one in room.observer.lost}) == 2

    in_room(tmp_path, test)


def test_what_write_itself_reports_is_not_lost(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = attach(room.content, room.server, synchronous=True)[0]
        room.server.fail_next["write"] = errno.ENOSPC
        other = room.open()
        with pytest.raises(OSError):
            await room.perform(handle.write, 0, b"never accepted")
        assert room.observer.lost == []
        assert await errors_of(room, handle.fsync, other.flush) == [0, errno.ENOSPC]
        await room.perform(other.release)
        assert room.contents.unreported() == [], "nothing was lost"

    in_room(tmp_path, test)


def test_giving_up_loses_each_unacknowledged_byte_once(tmp_path: Path) -> None:
    """What is under way and what is not, the newer over the older; answers that still come change nothing."""

    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, bytes(MIB))
        room.server.finish_all()
        assert handle.write_nowait(MIB, b"a" * MIB)
        assert handle.write_nowait(MIB + 10, b"new")
        assert handle.write_nowait(5 * MIB, b"end")
        ((number, problem),) = room.contents.give_up(OSError(errno.ECANCELED, "the end"))
        assert (number, problem.errno) == (9, errno.ECANCELED)
        lost = [(one.offset, len(one.data)) for one in room.observer.lost]
        assert lost == [(MIB, MIB), (MIB + 10, 3), (5 * MIB, 3)]
        for request in room.server.pending("write"):
            request.error = OSError(errno.EIO, "gone")
        room.server.finish_all()
        assert len(room.observer.lost) == 3

    in_room(tmp_path, test)


def test_size_of_lost_data_is_not_shown(tmp_path: Path) -> None:
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

    in_room(tmp_path, test, b"content")


def test_lost_data_is_not_shown_where_the_server_does_not_answer_either(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next.update(write=errno.EIO, fstat=errno.EIO)
        assert handle.write_nowait(100, b"lost")
        with pytest.raises(OSError):
            await room.perform(handle.flush)
        assert not room.content.dirty and room.observer.settled[-1][1].size == 7
        assert room.observer.unknown == [9], (
            "so small it may be no more: who asks for the size asks the server"
        )
        assert attach(room.content, room.server)[1] is False

    in_room(tmp_path, test, b"content")


def test_written_data_stays_the_truth_until_the_server_tells(tmp_path: Path) -> None:
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
        assert room.observer.unknown == []

    in_room(tmp_path, test, b"content")


def test_release_without_flush_writes_first_and_tells_the_truth_it_knows(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["fstat"] = errno.EIO
        assert handle.write_nowait(0, b"longer than before")
        await room.perform(handle.release)
        assert room.path.read_bytes() == b"longer than before"
        assert not room.content.dirty and room.observer.settled[-1][1].size == 18

    in_room(tmp_path, test, b"content")


def test_settling_does_not_tell_of_an_old_failure_again(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["write"] = errno.ENOSPC
        assert handle.write_nowait(0, b"lost")
        with pytest.raises(OSError):
            await room.perform(handle.fsync)
        assert room.open().write_nowait(0, b"good")
        assert (await room.perform(room.content.settle)).size == 7
        assert await room.perform(room.content.settle) is None

    in_room(tmp_path, test, b"content")


def test_fsync_tells_of_the_failed_write_first(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next.update(write=errno.ENOSPC, fsync=errno.EIO)
        assert handle.write_nowait(0, b"lost")
        with pytest.raises(OSError) as caught:
            await room.perform(handle.fsync)
        assert caught.value.errno == errno.ENOSPC

    in_room(tmp_path, test, b"content")


def test_failure_nobody_was_told_of_comes_out_at_unmount(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["write"] = errno.EDQUOT
        assert handle.write_nowait(0, b"lost")
        await room.perform(handle.release)
        ((number, problem),) = await room.perform(room.contents.drain)
        assert (number, problem.errno) == (9, errno.EDQUOT)
        assert await room.perform(room.contents.drain) == []

    in_room(tmp_path, test)


def test_release_in_the_middle_leaves_nothing_dirty(tmp_path: Path) -> None:
    """A release that is cancelled closes all the same; what was under way still counts."""

    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, bytes(MIB))
        with trio.move_on_after(0):
            await handle.release()
        draining = await room.start(room.contents.drain)
        assert room.content.dirty and not draining.done
        room.server.finish_all()
        await settle_tasks()
        assert draining.take() == []
        assert not room.content.dirty and room.contents.dirty_bytes == 0

    in_room(tmp_path, test)


def test_drain_sends_everything_at_once(tmp_path: Path) -> None:
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

    in_room(tmp_path, test)


def test_lingering_data_is_sent_and_then_settled(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"lingers")
        writer = room.content.writer
        writer.flush_idle(time.time_ns())
        assert room.kinds() == []
        writer.flush_idle(time.time_ns() + 2 * 10**9)
        assert room.kinds() == ["write", "fstat"]
        room.server.finish_all()
        assert not room.content.dirty and room.observer.settled

    in_room(tmp_path, test)


def test_write_after_the_fstat_left_keeps_the_file_dirty(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"first")
        closing = await room.start(handle.flush)
        assert handle.write_nowait(5, b"second")
        await perform_rest(room, closing)
        assert room.content.dirty and room.content.size == 11 and not room.observer.settled

    in_room(tmp_path, test)


def test_a_clock_set_back_holds_nothing_back(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"written before")
        room.content.writer.flush_idle(time.time_ns() - 3600 * 10**9)
        assert room.kinds() == ["write", "fstat"]
        await room.perform(handle.flush)

    in_room(tmp_path, test)


@pytest.mark.parametrize("fsync", [False, True], ids=["flush", "fsync"])
def test_a_server_that_missed_the_deadline_is_not_asked_within_the_same_flush(
    tmp_path: Path, fsync: bool
) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        room.server.fail_next["write"] = errno.ETIMEDOUT
        assert handle.write_nowait(0, b"lost")
        outcome = await room.start(handle.fsync if fsync else handle.flush)
        assert room.kinds() == ["write"]
        room.server.finish(room.server.pending("write")[0])
        await settle_tasks()
        assert room.kinds() == []
        with pytest.raises(OSError) as caught:
            outcome.take()
        assert caught.value.errno == errno.ETIMEDOUT
        assert [bytes(one.data) for one in room.observer.lost] == [b"lost"]
        await errors_of(room, handle.fsync)
        assert await room.perform(handle.read, 0, 100) == b"content", "what is there, looked at anew"

    in_room(tmp_path, test, b"content", ordered=False)


def test_what_waits_for_a_write_that_fails_is_sent_in_a_loop(tmp_path: Path) -> None:
    """Thousands of small writes over one under way, as it fails and each that follows fails at once."""
    count = 3000

    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, bytes(MIB))
        for at in range(count):
            assert handle.write_nowait(at * 300, b"new")
        closing = await room.start(handle.flush)
        (first,) = room.server.pending("write")
        room.server.fail_all["write"] = errno.ESTALE
        first.error = OSError(errno.ESTALE, "another file")
        room.server.finish(first)
        with pytest.raises(OSError) as caught:
            await perform_rest(room, closing)
        assert caught.value.errno == errno.ESTALE
        assert len(room.observer.lost) == count + 1
        assert room.contents.dirty_bytes == 0

    in_room(tmp_path, test, b"content")


def test_what_waits_for_a_write_that_missed_the_deadline_has_missed_it(tmp_path: Path) -> None:
    """Sent then it would have a deadline of its own, and fsync would take two."""

    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, bytes(MIB)) and handle.write_nowait(10, b"over it")
        syncing = await room.start(handle.fsync)
        (first,) = room.server.pending("write")
        first.error = IncompleteWriteError(OSError(errno.ETIMEDOUT, "no answer"), [(100, 200)])
        room.server.finish(first)
        await settle_tasks()
        with pytest.raises(OSError) as caught:
            syncing.take()
        assert caught.value.errno == errno.ETIMEDOUT
        assert room.kinds() == []
        lost = [(one.offset, bytes(one.data)) for one in room.observer.lost]
        assert lost == [(100, bytes(100)), (10, b"over it")]
        assert room.contents.dirty_bytes == 0

    in_room(tmp_path, test, b"content", ordered=False)
