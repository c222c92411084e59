"""Size, times and mode of files with dirty content: replies by hand."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from sftpfs.data.buffers.chunk_cache import CHUNK_BYTES
from sftpfs.types import AttributeChange
from tests.component.data_room import Room, content, in_room, perform_rest


def test_truncation_waits_for_the_writes_before_it(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        handle = room.open()
        await room.perform(handle.read, 0, 100)
        assert handle.write_nowait(0, b"WRITTEN")
        truncating = await room.start(handle.setattr, AttributeChange(size=3))
        assert "setattr" not in room.kinds()
        attributes = await perform_rest(room, truncating)
        assert attributes.size == 3 and room.path.read_bytes() == b"WRI"
        assert bytes(await room.perform(handle.read, 0, 100)) == b"WRI"

    in_room(tmp_path, test, b"content")


def test_who_asks_by_a_handle_keeps_its_file_open(tmp_path: Path) -> None:
    """A truncation by path goes by what another program has open, and may close before it is sent."""

    async def test(room: Room) -> None:
        handle = room.open()
        assert handle.write_nowait(0, b"WRITTEN")
        truncating = await room.start(handle.setattr, AttributeChange(size=3))
        releasing = await room.start(handle.release)
        attributes = await perform_rest(room, truncating)
        await perform_rest(room, releasing)
        assert attributes.size == 3 and room.path.read_bytes() == b"WRI"
        assert handle.remote.closed

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
        resize = partial(handle.setattr, AttributeChange(size=0))
        for change in (lambda: handle.write(0, b"x"), handle.flush, resize):
            await room.perform(change)
            epochs.append(room.content.epoch)
        assert epochs == sorted(set(epochs))

    in_room(tmp_path, test)
