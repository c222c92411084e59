"""The content of one file, and of all files of the mount.

``FileContent`` joins state, reader and writer of one inode and decides, open by open,
whether what was read before may still be used. ``Contents`` is what vfs makes at mount.
"""

from __future__ import annotations

import errno
import time
from weakref import WeakSet

import trio

from sftpfs.config import DataConfig
from sftpfs.data.chunks import CHUNK_SHIFT
from sftpfs.data.extents import DirtyExtents
from sftpfs.data.handle import FileHandle
from sftpfs.data.reader import ContentReader
from sftpfs.data.state import ContentObserver, ContentState, HandleState, MountContent
from sftpfs.data.writer import LINGER_SECONDS, ContentWriter
from sftpfs.errors import error
from sftpfs.remote.api import RemoteFile
from sftpfs.types import AttributeChange, Attributes


class FileContent:
    """The content of one inode, shared by all its handles."""

    __slots__ = ("__weakref__", "_mount", "_state", "handles", "reader", "writer")

    def __init__(self, number: int, mount: MountContent) -> None:
        extents: DirtyExtents[HandleState] = DirtyExtents()
        self._mount = mount
        self._state = ContentState(number)
        self.handles: list[HandleState] = []
        """The open handles, oldest first."""
        self.reader = ContentReader(self._state, mount, extents)
        self.writer = ContentWriter(self._state, mount, extents, self.reader, self.handles)

    @property
    def number(self) -> int:
        """The inode's number."""
        return self._state.number

    @property
    def epoch(self) -> int:
        """Grows with every local change of content: attributes asked for before it are outdated."""
        return self._state.epoch

    @property
    def dirty(self) -> bool:
        """Writes are absorbed or under way, or the server has not told its attributes since."""
        return self._state.dirty

    @property
    def size(self) -> int | None:
        """Bytes, while dirty: rules over the server's. None while clean."""
        return self._state.size

    @property
    def mtime_ns(self) -> int | None:
        """Time of the last write, while dirty; None while clean."""
        return self._state.mtime_ns

    def attach(
        self,
        remote: RemoteFile,
        *,
        readable: bool,
        writable: bool,
        append: bool,
        synchronous: bool,
        direct: bool,
        known: Attributes,
        fetched: float,
    ) -> tuple[FileHandle, bool]:
        """A new handle, and whether the kernel may keep the pages it has (close-to-open).

        ``known`` came with the OPEN, ``fetched`` is the wall-clock time it came, by the
        server's clock as far as known. While dirty what we have is newer and stays.
        """
        state, config = self._state, self._mount.config
        handle = FileHandle(
            self,
            remote,
            readable=readable,
            writable=writable,
            append=append,
            synchronous=synchronous or config.synchronous_writes,
            direct=direct or config.direct_io,
        )
        handle.fsync_writes = synchronous
        keep_cache = True
        if not state.dirty:
            clock_lag = max(0.0, time.time() - fetched)
            if not state.unchanged(known, clock_lag):
                self.reader.drop()
                keep_cache = False
            state.attributes = known
            state.verify = True
            state.pages_stale = False
            keep_cache = (keep_cache and config.auto_cache) or config.kernel_cache
        self.handles.append(handle)
        return handle, keep_cache

    def detach(self, handle: HandleState) -> None:
        """``handle`` is released."""
        if handle.error is not None:
            self._mount.unreported(self.number, handle.error)
        self.handles.remove(handle)
        if self.handles:
            return
        self.reader.unused()
        if self._state.dirty and not self.writer.extents:
            self.writer.abandon()

    def truncated(self, attributes: Attributes) -> None:
        """The server set a new size (SETSTAT by path, or O_TRUNC): ``attributes`` tell it."""
        self.changed(attributes, resized=True)

    def changed(self, attributes: Attributes, *, resized: bool) -> None:
        """A change of ours is done, ``attributes`` are what the file has now."""
        state = self._state
        state.epoch += 1
        if resized:
            state.generation += 1
            self.reader.drop_from(min(state.server_size, attributes.size) >> CHUNK_SHIFT)
        elif attributes.size != state.server_size and not state.dirty:
            self.reader.drop()
        if not state.same_version(attributes):
            state.trusted = False
        state.attributes = attributes
        if state.dirty and resized:
            state.size = max(attributes.size, self.writer.extents.end)

    def invalidate(self) -> None:
        """Another version was found: drop what is clean."""
        self.reader.drop()
        self._state.verify = True

    def revalidated(self, attributes: Attributes, fetched: float) -> bool:
        """LSTAT told ``attributes`` at ``fetched``; True where they are of another version, now dropped."""
        state = self._state
        if state.dirty or state.attributes is None:
            return False
        if state.same_version(attributes):
            return False
        self.reader.drop()
        state.attributes = attributes
        state.verify = True
        return True

    async def settle(self) -> Attributes | None:
        """Everything written is acknowledged (no fsync): the server's attributes after it.

        None where nothing was dirty. Raises the first write that failed since the file
        was last clean.
        """
        return await self.writer.settle()

    async def truncate(self, handle: FileHandle | None, size: int) -> Attributes:
        """Set the size through ``handle``, or any that may write. EBADF where there is none."""
        await self.settle()
        if handle is None or not handle.writable:
            writable = [one for one in self.handles if one.writable and isinstance(one, FileHandle)]
            if not writable:
                raise error(errno.EBADF)
            handle = writable[0]
        return await handle.setattr(AttributeChange(size=size))

    def forget(self) -> None:
        """The inode is gone."""
        self.reader.drop()


class Contents:
    """The content of every file of the mount."""

    def __init__(self, config: DataConfig, observer: ContentObserver) -> None:
        self._mount = MountContent(config, observer)
        self._open: WeakSet[FileContent] = WeakSet()

    def create(self, number: int) -> FileContent:
        """The content of a new inode."""
        content = FileContent(number, self._mount)
        self._open.add(content)
        return content

    async def run(self) -> None:
        """Send what nobody flushes; for the life of the mount, until cancelled."""
        while True:
            await trio.sleep(LINGER_SECONDS / 2)
            now = time.time_ns()
            for writer in list(self._mount.dirty):
                writer.tidy(now)

    async def drain(self) -> list[tuple[int, OSError]]:
        """Everything dirty to the server; inode numbers and errors of what could not be written."""
        mount = self._mount
        mount.send_all()
        for writer in list(mount.dirty):
            try:
                await writer.settle()
            except OSError as problem:
                mount.unreported(writer.number, problem)
        for content in list(self._open):
            for handle in content.handles:
                if handle.error is not None:  # its program was never told
                    mount.unreported(content.number, handle.error)
        failed = list(mount.failed.items())
        mount.failed.clear()
        return failed

    @property
    def dirty_bytes(self) -> int:
        """Bytes written and not yet acknowledged by the server."""
        return self._mount.gate.held

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
