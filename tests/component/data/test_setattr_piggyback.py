"""Changes of mode and times that travel with the writes: replies by hand."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

import pytest
import trio

from sftpfs.data import FileHandle
from sftpfs.types import AttributeChange
from tests.component.data.test_shadow import Shadow
from tests.component.data_room import Room, content, in_room, perform_rest
from tests.component.data_server import attach, settle_tasks

MODE = AttributeChange(mode=0o640)
TIMES = AttributeChange(atime=1000, mtime=2000)
MIB = 1 << 20


def creator(room: Room) -> FileHandle:
    """A handle that created the file."""
    return attach(room.content, room.server, created=True)[0]


def defer(room: Room, *changes: AttributeChange, demanded: bool = True) -> None:
    """Absorb changes, at no request."""
    assert room.content.may_defer
    before = room.kinds()
    for change in changes:
        room.content.defer(change, demanded=demanded)
    assert room.kinds() == before


def has(room: Room, mode: int = 0o640, mtime: int = 2000) -> None:
    """The server's file has this mode and mtime."""
    found = os.stat(room.path)
    assert (oct(stat.S_IMODE(found.st_mode)), int(found.st_mtime)) == (oct(mode), mtime)


def test_changes_go_between_the_writes_and_what_settles(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = creator(room)
        assert handle.write_nowait(0, b"written")
        defer(room, TIMES, MODE)
        assert room.content.mtime == 2000
        closing = await room.start(handle.flush)
        assert room.kinds() == ["write", "setattr", "fstat"]
        await perform_rest(room, closing)
        assert not room.content.dirty and not room.content.deferring
        has(room)
        assert room.observer.settled[-1][1] == room.server.attributes()

    in_room(tmp_path, test)


def test_fsync_covers_the_change(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = creator(room)
        assert handle.write_nowait(0, b"written")
        defer(room, MODE)
        syncing = await room.start(handle.fsync)
        assert room.kinds() == ["write", "setattr", "fsync", "fstat"]
        await perform_rest(room, syncing)

    in_room(tmp_path, test)


def test_an_empty_file_gets_its_change_too(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = creator(room)
        defer(room, MODE)
        assert room.content.dirty and room.content.size == 0
        await room.perform(handle.flush)
        has(room, mtime=int(os.stat(room.path).st_mtime))

    in_room(tmp_path, test)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_file_over_several_connections_is_changed_after_its_writes(tmp_path: Path, ordered: bool) -> None:
    data = content(3 * MIB)

    async def test(room: Room) -> None:
        handle = creator(room)
        for offset in range(0, len(data), MIB):
            await room.perform(handle.write, offset, data[offset : offset + MIB])
        defer(room, TIMES, MODE)
        closing = await room.start(handle.flush)
        if not ordered:
            assert "setattr" not in room.kinds()
        await perform_rest(room, closing)
        has(room)
        assert room.path.read_bytes() == data and not room.content.dirty

    in_room(tmp_path, test, ordered=ordered)


def test_a_write_waits_for_the_times_before_it(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = creator(room)
        assert handle.write_nowait(0, b"written")
        defer(room, TIMES)
        assert not handle.write_nowait(7, b"later")
        writing = await room.start(handle.write, 7, b"later")
        assert room.kinds() == ["write"]
        room.server.finish_all()
        await settle_tasks()
        room.server.finish_all()
        await settle_tasks()
        assert writing.done
        has(room, mode=stat.S_IMODE(os.stat(room.path).st_mode))
        assert room.content.mtime is not None and room.content.mtime > 2000
        await room.perform(handle.flush)
        found = os.stat(room.path)
        assert int(found.st_atime) == 1000 and found.st_mtime > 10**9
        assert room.path.read_bytes() == b"writtenlater"

    in_room(tmp_path, test)


def test_a_write_does_not_wait_for_a_mode(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = creator(room)
        defer(room, MODE)
        assert handle.write_nowait(0, b"written") and room.kinds() == []

    in_room(tmp_path, test)


def test_a_change_during_a_flush_is_not_lost(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = creator(room)
        assert handle.write_nowait(0, b"written")
        defer(room, AttributeChange(mode=0o600))
        closing = await room.start(handle.flush)
        defer(room, TIMES, MODE)
        await perform_rest(room, closing)
        await room.perform(handle.flush)
        has(room)
        assert not room.content.dirty

    in_room(tmp_path, test)


def test_a_change_while_another_is_under_way_keeps_the_file_dirty(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = creator(room)
        assert handle.write_nowait(0, b"written")
        defer(room, MODE)
        closing = await room.start(handle.flush)
        for kinds in (["write"], ["setattr"]):
            assert room.kinds() == kinds
            if kinds == ["setattr"]:
                defer(room, TIMES)
            room.server.finish_all()
            await settle_tasks()
        await perform_rest(room, closing)
        assert room.content.dirty
        await room.perform(handle.flush)
        has(room)

    in_room(tmp_path, test, ordered=False)


def test_other_handles_bring_it_through_the_one_that_created(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle, other = creator(room), room.open()
        defer(room, TIMES, MODE)
        await room.perform(other.flush)
        has(room)
        defer(room, AttributeChange(mode=0o604))
        await room.perform(handle.release)
        has(room, 0o604)
        assert not room.content.may_defer
        await room.perform(other.write, 0, b"x")
        await room.perform(other.flush)

    in_room(tmp_path, test)


def test_only_the_handle_that_created_may_carry(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        room.open()
        attach(room.content, room.server, created=True, write=False)
        attach(room.content, room.server, created=True, synchronous=True)
        assert not room.content.may_defer

    in_room(tmp_path, test)


@pytest.mark.parametrize("operation", ["flush", "fsync", "write"])
def test_failure_is_reported_like_a_failed_write(
    tmp_path: Path, operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(room: Room) -> None:
        handle, other = creator(room), room.open()
        assert handle.write_nowait(0, b"written")
        defer(room, TIMES, MODE)
        room.server.fail_next["setattr"] = errno.EPERM
        with pytest.raises(OSError) as caught:
            await room.perform(getattr(handle, operation), *([7, b"x"] if operation == "write" else []))
            assert operation == "write"
            await room.perform(handle.fsync)
        assert caught.value.errno == errno.EPERM
        for later in (other.flush, other.fsync):
            with pytest.raises(OSError):
                await room.perform(later)
        if operation == "flush":
            assert room.contents.unreported() == [], "no data"
            with pytest.raises(OSError):
                await room.perform(handle.fsync)
        await room.perform(handle.flush)
        assert room.path.read_bytes().startswith(b"written"), "no data is lost"
        assert not room.content.dirty and not room.content.deferring

    in_room(tmp_path, test)
    assert "inode 9: mode or times could not be set" in caplog.text


def test_what_nobody_asked_for_fails_unheard(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = creator(room)
        defer(room, MODE, demanded=False)
        room.server.fail_next["setattr"] = errno.EOPNOTSUPP
        await room.perform(handle.flush)
        assert not room.content.dirty

    in_room(tmp_path, test)


def test_what_nobody_flushes_goes_after_a_while(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        creator(room)
        defer(room, TIMES, MODE)
        writer = room.content.writer
        writer.flush_idle(time.time_ns())
        assert room.kinds() == []
        writer.flush_idle(time.time_ns() + 2 * 10**9)
        assert room.kinds() == ["setattr"]
        room.server.finish_all()
        has(room)
        writer.flush_idle(time.time_ns() + 2 * 10**9)
        assert room.kinds() == ["fstat"]
        room.server.finish_all()
        assert not room.content.dirty


def test_a_writer_that_never_rests_does_not_keep_a_mode_back(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = creator(room)
        defer(room, MODE)
        assert handle.write_nowait(0, b"written")
        room.content.writer.flush_idle(time.time_ns() + 2 * 10**9)
        assert room.kinds() == ["write", "setattr"]

    in_room(tmp_path, test)


def test_changes_at_once_follow_deferred_ones(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = creator(room)
        assert handle.write_nowait(0, b"written")
        defer(room, AttributeChange(mode=0o600), TIMES)
        attributes = await room.perform(handle.setattr, AttributeChange(mode=0o640))
        assert (stat.S_IMODE(attributes.mode), attributes.mtime) == (0o640, 2000)
        defer(room, TIMES)
        attributes = await room.perform(handle.setattr, AttributeChange(size=3))
        assert attributes.size == 3 and attributes.mtime > 10**9

    in_room(tmp_path, test)


def test_the_server_clock_is_learned_from_writes_only(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = creator(room)
        assert handle.write_nowait(0, b"written")
        await room.perform(handle.flush)
        assert room.content.server_dated
        defer(room, MODE)
        await room.perform(handle.flush)
        assert not room.content.server_dated
        assert handle.write_nowait(0, b"written")
        defer(room, TIMES)
        await room.perform(handle.flush)
        assert not room.content.server_dated

    in_room(tmp_path, test)


def test_stale_answers_do_not_undo_what_stat_shows(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = creator(room)
        before = room.server.attributes()
        defer(room, TIMES, MODE)
        shown = room.content.over(before)
        assert (stat.S_IMODE(shown.mode), shown.atime, shown.mtime) == (0o640, 1000, 2000)
        await room.perform(handle.flush)
        assert room.content.over(before) == before

    in_room(tmp_path, test)


class RidingShadow(Shadow):
    """Random use with changes of mode and times in between; what the server must have in the end."""

    def __init__(self, path: Path, seed: int, *, ordered: bool) -> None:
        super().__init__(path, seed, ordered=ordered)
        self.mode = stat.S_IMODE(os.stat(path).st_mode)
        self.mtime: int | None = None
        """As set, None once something was written after it."""

    def open(self) -> None:
        self.handles.append(attach(self.content, self.server, created=True)[0])

    async def write(self, handle: FileHandle) -> None:
        await super().write(handle)
        self.mtime = None

    async def truncate(self, handle: FileHandle) -> None:
        await super().truncate(handle)
        self.mtime = None

    async def change(self, handle: FileHandle) -> None:
        """Deferred mostly, else at once."""
        change = AttributeChange()
        if self.random.random() < 0.6:
            self.mode = self.random.choice((0o600, 0o640, 0o644, 0o755))
            change = AttributeChange(mode=self.mode)
        else:
            self.mtime = self.random.randrange(1, 10**9)
            change = AttributeChange(atime=1, mtime=self.mtime)
        if self.random.random() < 0.9:
            self.content.defer(change, demanded=True)
        else:
            await self.perform(handle.setattr, change)
        shown = self.content.over(self.server.attributes())
        assert stat.S_IMODE(shown.mode) == self.mode

    async def step(self) -> None:
        if self.random.random() < 0.2:
            await self.change(self.handles[0])
        await super().step()
        assert self.mtime is None or self.content.mtime in (None, self.mtime)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_random_use_ends_with_the_last_mode_and_times(tmp_path: Path, seed: int, ordered: bool) -> None:
    async def test() -> None:
        shadow = RidingShadow(tmp_path / "file", seed, ordered=ordered)
        with trio.fail_after(100):
            async with trio.open_nursery() as shadow.nursery:
                shadow.open()
                shadow.open()
                for _ in range(300):
                    await shadow.step()
                assert await shadow.perform(shadow.contents.drain) == []
                found = os.stat(shadow.server.path)
                assert stat.S_IMODE(found.st_mode) == shadow.mode
                assert shadow.mtime in (None, int(found.st_mtime))
                assert shadow.server.path.read_bytes() == shadow.local
                shadow.server.finish_all()
                for handle in shadow.handles:
                    await shadow.perform(handle.release)
                assert shadow.contents.statistics()["dirty_files"] == 0

    trio.run(test)
