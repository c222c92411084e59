"""Close-to-open: what of the content an open may keep."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sftpfs import clock
from sftpfs.config import DataConfig
from sftpfs.data import Contents
from sftpfs.server_clock import ServerClock
from sftpfs.types import AttributeChange, WholeFile
from tests.component.data_room import Room, in_room
from tests.component.data_server import age, attach
from tests.harness.server_time import known_clock


def test_unchanged_file_is_served_from_memory_after_reopening(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        await room.perform(handle.read, 0, 100)
        await room.perform(handle.release)
        again, keep_cache = attach(room.content, room.server)
        assert keep_cache
        assert bytes(again.read_nowait(0, 100) or b"") == b"content"

    in_room(tmp_path, test, b"content")


@pytest.mark.parametrize("change", ["size", "mtime"])
def test_changed_file_is_dropped_at_the_open(tmp_path: Path, change: str) -> None:
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

    in_room(tmp_path, test, b"content")


def test_pages_are_kept_again_once_the_kernel_has_used_the_handle_that_dropped_them(tmp_path: Path) -> None:
    """Until then the kernel may not have dropped the old version's, and would mix them with the new one's."""

    async def test(room: Room) -> None:
        handle = room.open()
        await room.perform(handle.read, 0, 100)
        await room.perform(handle.release)
        room.path.write_bytes(b"longer content")
        age(room.path)
        first, keep_cache = attach(room.content, room.server)
        assert not keep_cache
        second, keep_cache = attach(room.content, room.server)
        assert not keep_cache
        for handle in (first, second):
            await room.perform(handle.read, 0, 100)
        assert attach(room.content, room.server)[1]

    in_room(tmp_path, test, b"content")


def test_change_within_the_second_of_the_fetch_is_seen_by_the_next_open(tmp_path: Path) -> None:
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

    in_room(tmp_path, test, b"before")


def test_change_after_a_file_fetched_ahead_was_read_is_seen_although_it_came_late(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        asked = time.time() - 5
        os.utime(room.path, (asked, asked))
        assert room.contents.reserve(6)
        assert room.content.prefetched(WholeFile(room.server.attributes(), b"before"), clock.now() - 5)
        first, _ = attach(room.content, room.server, ahead=True)
        assert bytes(first.read_nowait(0, 100) or b"") == b"before"
        room.path.write_bytes(b"after!")
        os.utime(room.path, (asked, asked))  # the same whole second, the same size
        again, keep_cache = attach(room.content, room.server)
        assert not keep_cache
        assert bytes(await room.perform(again.read, 0, 100)) == b"after!"

    in_room(tmp_path, test, b"before")


def test_change_within_the_second_of_a_read_is_seen_where_it_was_fetched_ahead_since(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        now = time.time()
        os.utime(room.path, (now, now))
        handle = room.open()
        assert bytes(await room.perform(handle.read, 0, 100)) == b"before"
        await room.perform(handle.release)
        room.path.write_bytes(b"after!")
        os.utime(room.path, (now, now))  # the same whole second, the same size
        assert room.contents.reserve(6)
        assert room.content.prefetched(WholeFile(room.server.attributes(), b"after!"), clock.now())
        again, keep_cache = attach(room.content, room.server, ahead=True)
        assert not keep_cache, "the kernel has pages of before"
        assert bytes(again.read_nowait(0, 100) or b"") == b"after!"

    in_room(tmp_path, test, b"before")


@pytest.mark.parametrize(("server_clock", "trusted"), [(known_clock(), True), (known_clock(-70), False)])
def test_a_version_is_dated_by_the_servers_clock(
    tmp_path: Path, server_clock: ServerClock, trusted: bool
) -> None:
    async def test(room: Room) -> None:
        age(room.path, 60)
        content = Contents(DataConfig(), room.observer, server_clock).create(9)
        handle, _ = attach(content, room.server)
        await room.perform(handle.read, 0, 100)
        assert attach(content, room.server)[1] is trusted

    in_room(tmp_path, test, b"content")


@pytest.mark.parametrize(("age_in_hours", "trusted"), [(23, False), (25, True)])
def test_a_version_of_the_day_is_not_trusted_while_the_servers_clock_is_unknown(
    tmp_path: Path, age_in_hours: int, trusted: bool
) -> None:
    async def test(room: Room) -> None:
        age(room.path, age_in_hours * 3600)
        content = Contents(DataConfig(), room.observer, ServerClock()).create(9)
        handle, _ = attach(content, room.server)
        await room.perform(handle.read, 0, 100)
        assert attach(content, room.server)[1] is trusted

    in_room(tmp_path, test, b"content")


def test_version_found_while_reading_is_kept_from_the_kernel_at_the_next_open(
    tmp_path: Path,
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
        third, keep_cache = attach(room.content, room.server)
        assert not keep_cache
        await room.perform(third.read, 0, 100)
        assert attach(room.content, room.server)[1] is True

    in_room(tmp_path, test, b"content")


def test_kernel_cache_keeps_pages_whatever_happened(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        await room.perform(room.open().read, 0, 100)
        room.path.write_bytes(b"changed altogether")
        again, keep_cache = attach(room.content, room.server)
        assert keep_cache
        assert bytes(await room.perform(again.read, 0, 100)) == b"changed altogether"

    in_room(tmp_path, test, b"content", kernel_cache=True)


def test_without_auto_cache_no_page_is_kept(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        await room.perform(room.open().read, 0, 100)
        assert attach(room.content, room.server)[1] is False

    in_room(tmp_path, test, b"content", auto_cache=False)


def test_own_writes_are_not_taken_for_unchanged(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"written")
        assert attach(room.content, room.server)[1] is False, "beneath it may be another's by now"
        await room.perform(handle.flush)
        await room.perform(handle.setattr, AttributeChange(atime=1000, mtime=1000))
        assert attach(room.content, room.server)[1] is False

    in_room(tmp_path, test, b"content")
