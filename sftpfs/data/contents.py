"""The content of all files of a mount: vfs makes it at the mount, and asks it for each inode's content.

Owns what all files share (``data.content_state.SharedBuffers``), the dirty data that waits to be sent, and
the failures that no program was told of.
"""

from __future__ import annotations

from contextlib import suppress
from weakref import WeakSet

import trio

from sftpfs import clock
from sftpfs.config import DataConfig
from sftpfs.data.content_state import DirtyFile, SharedBuffers
from sftpfs.data.file_content import FileContent
from sftpfs.data.observer import ContentObserver
from sftpfs.data.writing.writer import LINGER_SECONDS
from sftpfs.server_clock import ServerClock


class Contents:
    """The content of every file of the mount."""

    def __init__(self, config: DataConfig, observer: ContentObserver, server_clock: ServerClock) -> None:
        self._mount = SharedBuffers(config, observer, server_clock)
        self._open: WeakSet[FileContent] = WeakSet()

    def create(self, number: int) -> FileContent:
        """The content of a new inode."""
        content = FileContent(number, self._mount)
        self._open.add(content)
        return content

    def reserve(self, size: int) -> bool:
        """Whether there is room for ``size`` bytes that nobody has asked for yet. If so, their use or
        ``unreserve`` must follow."""
        config = self._mount.config
        return config.read_ahead and not config.direct_io and self._mount.budget.take(size)

    def unreserve(self, size: int) -> None:
        """What was reserved did not come."""
        self._mount.budget.waste(size)

    async def run(self) -> None:
        """Sends what nobody flushes; runs for the life of the mount, until cancelled."""
        while True:
            await trio.sleep(LINGER_SECONDS / 2)
            now = clock.wall_ns()
            for writer in list(self._mount.dirty.values()):
                writer.flush_idle(now)

    async def drain(self) -> list[tuple[int, OSError]]:
        """Brings everything dirty to the server. Returns what nobody was told of (``unreported``)."""
        mount = self._mount
        mount.send_all()
        for writer in list(mount.dirty.values()):
            with suppress(OSError):  # the handles know of it
                await writer.settle()
        return self.unreported()

    def give_up(self, failure: OSError) -> list[tuple[int, OSError]]:
        """As ``drain``, but at once: whatever is not on the server is lost, because of ``failure``."""
        for writer in list(self._mount.dirty.values()):
            writer.give_up(failure)
        return self.unreported()

    def unreported(self) -> list[tuple[int, OSError]]:
        """By inode number, the first failed write that no program was surely told of, by ``write`` or
        ``fsync``: once each for handles that are released, and for open ones until they are told."""
        failed = self._mount.failed.copy()
        self._mount.failed.clear()
        for content in list(self._open):
            for handle in content.handles:
                if handle.error is not None and handle.unheard:
                    failed.setdefault(content.number, handle.error)
        return list(failed.items())

    def made_good(self, number: int) -> None:
        """Nobody misses what inode ``number`` has lost any more."""
        self._mount.made_good(number)

    async def settle_all(self) -> list[tuple[int, OSError]]:
        """Everything written so far is acknowledged or failed. Returns inode numbers and errors of what
        failed, and of what nobody was told of before. The handles report theirs all the same."""
        mount = self._mount
        failed: dict[int, OSError] = {}

        async def settle(writer: DirtyFile) -> None:
            try:
                problem = await writer.flush(None)
            except OSError as error:
                problem = error
            if problem is not None:
                failed[writer.number] = problem

        mount.send_all()
        async with trio.open_nursery() as nursery:
            for writer in list(mount.dirty.values()):
                nursery.start_soon(settle, writer)
        return list((failed | dict(self.unreported())).items())

    def dirty(self) -> list[tuple[int, int]]:
        """(inode number, size in bytes) of every file with something that is not on the server yet."""
        return [(number, writer.extents.held) for number, writer in self._mount.dirty.items()]

    @property
    def dirty_bytes(self) -> int:
        """Bytes written and not yet acknowledged by the server."""
        return self._mount.gate.held

    def misses(self) -> dict[str, int]:
        """Why reads waited for the server: reason → how often (``chunk_cache.MISS_REASONS``)."""
        return dict(self._mount.chunks.miss_counts)

    def statistics(self) -> dict[str, int]:
        """Counters since the mount, and sizes now, in bytes where they say so."""
        mount = self._mount
        chunks, budget = mount.chunks, mount.budget
        return {
            "chunk_hits": chunks.hits,
            "chunk_misses": chunks.misses,
            "chunk_evictions": chunks.evicted,
            "cached_bytes": chunks.held,
            "read_ahead_issued_bytes": budget.issued,
            "read_ahead_used_bytes": budget.used,
            "read_ahead_wasted_bytes": budget.wasted,
            "read_ahead_held_bytes": budget.held,
            "read_ahead_window_bytes": mount.link.window,
            "dirty_bytes": mount.gate.held,
            "dirty_files": len(mount.dirty),
        }
