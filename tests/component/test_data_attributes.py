"""Size, times and mode of files with dirty content: replies by hand."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sftpfs.data.chunks import CHUNK_BYTES
from sftpfs.types import AttributeChange
from tests.component.data_room import Room, content, in_room, perform_rest


def test_truncation_waits_for_the_writes_before_it(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        await room.perform(handle.read, 0, 100)
        assert handle.write_nowait(0, b"WRITTEN")
        truncating = await room.start(room.content.truncate, None, 3)
        assert "setattr" not in room.kinds()
        attributes = await perform_rest(room, truncating)
        assert attributes.size == 3 and room.path.read_bytes() == b"WRI"
        assert bytes(await room.perform(handle.read, 0, 100)) == b"WRI"

    in_room(tmp_path, test, b"content")


def test_truncation_needs_a_handle_that_may_write(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        room.open(write=False)
        with pytest.raises(OSError) as caught:
            await room.perform(room.content.truncate, None, 3)
        assert caught.value.errno == errno.EBADF

    in_room(tmp_path, test, b"content")


def test_truncation_by_path_drops_what_is_beyond(tmp_path: Path) -> None:
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

    in_room(tmp_path, test, data)


def test_mtime_is_set_after_the_writes(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"written")
        attributes = await room.perform(handle.setattr, AttributeChange(atime=1000, mtime=2000))
        await room.perform(handle.flush)
        assert attributes.mtime == 2000 and int(os.stat(room.path).st_mtime) == 2000

    in_room(tmp_path, test)


def test_mode_is_set_without_waiting_for_writes(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"written")
        changing = await room.start(handle.setattr, AttributeChange(mode=0o600))
        assert room.kinds() == ["setattr", "fstat"]
        assert (await perform_rest(room, changing)).mode & 0o777 == 0o600
        assert room.content.dirty and room.content.size == 7

    in_room(tmp_path, test)


def test_every_change_of_content_moves_the_epoch(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        epochs = [room.content.epoch]
        for change in (lambda: handle.write(0, b"x"), handle.flush, lambda: room.content.truncate(None, 0)):
            await room.perform(change)
            epochs.append(room.content.epoch)
        assert epochs == sorted(set(epochs))

    in_room(tmp_path, test)
