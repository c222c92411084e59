"""System calls on open files: pages, reads ahead, writes through, flushes; see ``kernel``."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from typing import Any

import trio

from tests.simulation.disk import failure
from tests.simulation.kernel import PAGE, KInode
from tests.simulation.kernel_names import NameCalls

READ_AHEAD = 32
"""Pages the kernel asks for at once (128 KiB)."""
MOST_WRITTEN = 1 << 20
"""Bytes of one FUSE_WRITE."""


class KFile:
    """An open file description; ``descriptors`` counts those that lead to it (dup, fork)."""

    __slots__ = ("bypass", "descriptors", "direct", "flags", "handle", "node", "oracle", "position")

    def __init__(self, node: KInode, info: Any, flags: int) -> None:
        self.node = node
        self.handle = info.fh
        self.flags = flags
        self.bypass = bool(info.direct_io)
        """FOPEN_DIRECT_IO: the file system wants no pages of it."""
        self.direct = self.bypass or bool(flags & os.O_DIRECT)
        """No pages are used, one way or the other."""
        self.position = 0
        self.descriptors = 1
        self.oracle: Any = None
        """What the oracle notes of it."""


class Kernel(NameCalls):
    """open, read, write, fsync, ftruncate, close. ``nursery`` runs what nobody waits for (RELEASE)."""

    nursery: trio.Nursery
    releases = 0
    """RELEASE requests under way."""

    async def open(self, base: KInode, parts: list[bytes], flags: int, mode: int = 0o644) -> KFile:
        return await self.retried(partial(self._open_path, base, parts, flags, mode))

    async def _open_path(self, base: KInode, parts: list[bytes], flags: int, mode: int, reval: bool) -> KFile:
        directory = await self.parent(base, parts, reval)
        if not flags & os.O_CREAT:
            dentry = await self.lookup(directory, parts[-1], reval=reval)
            if dentry.inode is None:
                raise failure(errno.ENOENT)
            return await self._open_node(dentry.inode, flags)
        async with directory.lock.exclusive():
            dentry = await self.lookup(
                directory, parts[-1], reval=reval or bool(flags & os.O_EXCL), locked=True
            )
            if dentry.inode is None:
                return await self._create_open(directory, parts[-1], flags, mode)
            node = dentry.inode
            if flags & os.O_EXCL:
                raise failure(errno.EEXIST)
        return await self._open_node(node, flags)

    async def _create_open(self, directory: KInode, name: bytes, flags: int, mode: int) -> KFile:
        version = self.attr_version
        info, entry = await self.call(
            self.operations.create,
            directory.number,
            name,
            stat.S_IFREG | mode,
            flags & ~os.O_NOCTTY,
            self.context,
        )
        node = self.iget(entry, version)
        node.opens += 1
        self.add(directory, name, node, entry.entry_timeout)
        self.dir_changed(directory)
        if flags & os.O_TRUNC:
            self._truncated(node)
        elif not info.keep_cache:
            self.drop_pages(node)
        return KFile(node, info, flags)

    async def _open_node(self, node: KInode, flags: int) -> KFile:
        if node.is_dir:
            if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_CREAT:
                raise failure(errno.EISDIR)
            raise failure(errno.EISDIR)
        if stat.S_ISLNK(node.mode):
            raise failure(errno.ELOOP)
        node.opens += 1
        try:
            info = await self.call(
                self.operations.open,
                node.number,
                flags & ~(os.O_CREAT | os.O_EXCL | os.O_NOCTTY),
                self.context,
            )
        except OSError:
            node.opens -= 1
            raise
        if flags & os.O_TRUNC:
            self._truncated(node)
        elif not info.keep_cache:
            self.drop_pages(node)
        return KFile(node, info, flags)

    def _truncated(self, node: KInode) -> None:
        """fuse_truncate_update_attr: the server did it with the open."""
        node.attr_version = self.bump()
        node.size = 0
        node.valid_until = 0.0
        self.drop_pages(node)

    # -- reading -------------------------------------------------------------------

    async def read(self, file: KFile, offset: int, size: int) -> bytes:
        """pread(2): fuse_cache_read_iter over pages."""
        node = file.node
        if file.flags & os.O_ACCMODE == os.O_WRONLY:
            raise failure(errno.EBADF)
        if file.bypass:
            return bytes(await self.call(self.operations.read, file.handle, offset, size))
        if trio.current_time() >= node.valid_until:
            await self.getattr(node)  # FUSE_AUTO_INVAL_DATA
        if file.direct:
            return await self._read_direct(file, offset, size)
        return await self._read_cached(file, offset, size)

    async def _read_cached(self, file: KFile, offset: int, size: int) -> bytes:
        node = file.node
        end = min(offset + size, node.size)
        pieces = []
        position = offset
        while position < end:
            page = await self._page(file, position // PAGE)
            end = min(end, node.size)
            if position >= end:
                break
            begin = position % PAGE
            piece = page[begin : begin + min(PAGE - begin, end - position)]
            pieces.append(piece)
            position += len(piece)
        return b"".join(pieces)

    async def _read_direct(self, file: KFile, offset: int, size: int) -> bytes:
        """generic_file_read_iter: what is short, and not at the end as it is known, is read by pages."""
        data = bytes(await self.call(self.operations.read, file.handle, offset, size))
        end = offset + len(data)
        if len(data) < size and end < file.node.size:
            data += await self._read_cached(file, end, size - len(data))
        return data

    async def _page(self, file: KFile, number: int) -> bytes:
        """One page, with those behind it where it has to be asked for."""
        node = file.node
        for _ in range(20):
            page = node.pages.get(number)
            if page is not None:
                return page
            under_way = node.reading.get(number)
            if under_way is not None:
                await under_way.wait()
                if node.reading.get(number) is under_way:
                    del node.reading[number]
                continue
            try:
                await self._read_pages(file, number, READ_AHEAD)
            except OSError:  # of what was read ahead; the page itself is asked for then (filemap_read_folio)
                if number not in node.pages:
                    await self._read_pages(file, number, 1)
        return node.pages.get(number, bytes(PAGE))

    async def _read_pages(self, file: KFile, first: int, most: int) -> None:
        """One READ of up to ``most`` pages (fuse_readahead, fuse_readpages_end)."""
        node = file.node
        last = min(first + most, max(first + 1, -(-node.size // PAGE)))
        count = 0
        while first + count < last and first + count not in node.pages and first + count not in node.reading:
            count += 1
        event = trio.Event()
        node.locked[event] = None
        for number in range(first, first + count):
            node.reading[number] = event
        version = self.attr_version
        try:
            data = bytes(await self.call(self.operations.read, file.handle, first * PAGE, count * PAGE))
            if len(data) < count * PAGE:
                self._short(node, first * PAGE + len(data), version)
                data += bytes(count * PAGE - len(data))
            for index in range(count):
                if node.reading.get(first + index) is event:
                    node.pages[first + index] = data[index * PAGE : (index + 1) * PAGE]
            if node.reading.get(first) is None:
                node.pages.setdefault(first, data[:PAGE])
        finally:
            for number in range(first, first + count):
                if node.reading.get(number) is event:
                    del node.reading[number]
            del node.locked[event]
            event.set()

    def _short(self, node: KInode, end: int, version: int) -> None:
        """fuse_read_update_size: the file is as short as that, unless something newer is known."""
        if version >= node.attr_version and end < node.size and not node.unstable:
            node.attr_version = self.bump()
            node.size = end

    # -- writing -------------------------------------------------------------------

    async def write(self, file: KFile, offset: int | None, data: bytes) -> int:
        """pwrite(2), at the end with O_APPEND: fuse_perform_write. Returns bytes written."""
        node = file.node
        if file.flags & os.O_ACCMODE == os.O_RDONLY:
            raise failure(errno.EBADF)
        async with node.lock.exclusive():
            position = node.size if file.flags & os.O_APPEND or offset is None else offset
            written = 0
            while written < len(data):
                piece = data[written : written + MOST_WRITTEN]
                if file.oracle is not None:
                    file.oracle.writing(position, piece)
                try:
                    count = await self.call(self.operations.write, file.handle, position, piece)
                except OSError:
                    if written:
                        break
                    raise
                if file.oracle is not None:
                    file.oracle.wrote(position, piece)
                if file.direct:
                    self._written_directly(node, position, piece)
                else:
                    self._written(node, position, piece)
                written += count
                position += count
            return written

    def _written(self, node: KInode, position: int, data: bytes) -> None:
        node.attr_version = self.bump()
        for number in range(position // PAGE, (position + len(data) - 1) // PAGE + 1):
            page = node.pages.get(number)
            begin, end = max(position, number * PAGE), min(position + len(data), (number + 1) * PAGE)
            piece = data[begin - position : end - position]
            if page is not None:
                node.pages[number] = page[: begin - number * PAGE] + piece + page[end - number * PAGE :]
            elif len(piece) == PAGE:
                node.pages[number] = piece
        node.size = max(node.size, position + len(data))
        node.valid_until = 0.0

    def _written_directly(self, node: KInode, position: int, data: bytes) -> None:
        """invalidate_inode_pages2_range, fuse_write_update_attr."""
        node.attr_version = self.bump()
        for number in range(position // PAGE, (position + len(data) - 1) // PAGE + 1):
            node.pages.pop(number, None)
            node.reading.pop(number, None)
        node.size = max(node.size, position + len(data))
        node.valid_until = 0.0

    async def ftruncate(self, file: KFile, size: int) -> None:
        await self.setattr(file.node, file.handle, size=size)

    async def fstat(self, file: KFile) -> Any:
        await self.getattr(file.node)
        return self.shown(file.node)

    async def fsync(self, file: KFile) -> None:
        async with file.node.lock.exclusive():
            await self.call(self.operations.fsync, file.handle, False)

    async def close(self, file: KFile) -> None:
        """close(2) of one descriptor: FLUSH, and RELEASE behind the last, for which nobody waits."""
        try:
            await self.call(self.operations.flush, file.handle)
        finally:
            file.descriptors -= 1
            if not file.descriptors:
                self.releases += 1
                self.nursery.start_soon(self._release, file)

    async def _release(self, file: KFile) -> None:
        try:
            await self.call(self.operations.release, file.handle)
        except OSError:
            pass  # nobody hears of it
        finally:
            self.releases -= 1
            file.node.opens -= 1
            self.evict_unused(file.node)

    async def truncate(self, base: KInode, parts: list[bytes], size: int) -> None:
        async def work(reval: bool) -> None:
            node = await self.walk(base, parts, reval)
            if node.is_dir:
                raise failure(errno.EISDIR)
            await self.setattr(node, size=size)

        await self.retried(work)
