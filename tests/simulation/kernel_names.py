"""System calls that change or list names, and those on attributes; see ``kernel``."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from copy import copy
from types import SimpleNamespace
from typing import Any

import trio

from tests.simulation.disk import failure
from tests.simulation.kernel import Dentry, KernelCore, KInode

ENTRY_OVERHEAD = 152
"""Bytes of a name in a readdirplus reply besides the name (fuse_direntplus)."""


class OpenDirectory:
    """An open directory: the kernel's file, and where its reader is."""

    __slots__ = ("closed", "handle", "node", "offset")

    def __init__(self, node: KInode, handle: int) -> None:
        self.node = node
        self.handle = handle
        self.offset = 0
        self.closed = False


class Token:
    """A reply to READDIRPLUS being made; takes the place of pyfuse3's."""

    __slots__ = ("entries", "room")

    def __init__(self, room: int) -> None:
        self.room = room
        self.entries: list[tuple[bytes, Any, int]] = []

    def __repr__(self) -> str:
        return f"room {self.room}"  # nothing of an address: traces of two runs are compared


def readdir_reply(token: Token, name: bytes, attributes: Any, next_id: int) -> bool:
    """As pyfuse3.readdir_reply: the caller may set other attributes in the same object next."""
    size = ENTRY_OVERHEAD + (len(name) + 7) // 8 * 8
    if size > token.room:
        return False
    token.room -= size
    token.entries.append((name, copy(attributes), next_id))
    return True


class NameCalls(KernelCore):
    """mkdir, rmdir, unlink, rename, link, symlink, readdir, stat, chmod, utime."""

    async def parent(self, base: KInode, parts: list[bytes], reval: bool) -> KInode:
        """The directory of a path whose last name is to be changed."""
        directory = await self.walk(base, parts[:-1], reval)
        if not directory.is_dir:
            raise failure(errno.ENOTDIR)
        return directory

    def dir_changed(self, directory: KInode) -> None:
        """fuse_dir_changed: its attributes are asked for anew."""
        directory.valid_until = 0.0

    async def stat(self, base: KInode, parts: list[bytes]) -> Any:
        async def work(reval: bool) -> Any:
            return self.shown(await self._held_stat(await self.walk(base, parts, reval)))

        return await self.retried(work)

    async def _held_stat(self, node: KInode) -> KInode:
        node.opens += 1
        try:
            await self.getattr(node)
        finally:
            node.opens -= 1
        return node

    @staticmethod
    def shown(node: KInode) -> Any:
        """What stat(2) says: the attributes, and the size as the kernel has it now."""
        entry = node.attributes
        return SimpleNamespace(
            ino=node.number,
            mode=entry.st_mode,
            nlink=entry.st_nlink,
            size=node.size,
            mtime=entry.st_mtime_ns // 10**9,
            ctime_ns=entry.st_ctime_ns,
        )

    async def _create(self, base: KInode, parts: list[bytes], handler: Any, *arguments: Any) -> KInode:
        async def work(reval: bool) -> KInode:
            directory = await self.parent(base, parts, reval)
            async with directory.lock.exclusive():
                dentry = await self.lookup(directory, parts[-1], reval=True, locked=True)
                if dentry.inode is not None:
                    raise failure(errno.EEXIST)
                version = self.attr_version
                with self.taken(dentry):
                    entry = await self.call(handler, directory.number, parts[-1], *arguments, self.context)
                node = self.iget(entry, version)
                self.add(directory, parts[-1], node, entry.entry_timeout)
                self.dir_changed(directory)
                return node

        return await self.retried(work)

    @contextmanager
    def taken(self, dentry: Dentry) -> Iterator[None]:
        """create_new_entry: a name that the server has is not believed to be missing."""
        try:
            yield
        except FileExistsError:
            self.invalidate(dentry)
            raise

    async def mkdir(self, base: KInode, parts: list[bytes], mode: int = 0o755) -> None:
        await self._create(base, parts, self.operations.mkdir, stat.S_IFDIR | mode)

    async def symlink(self, base: KInode, parts: list[bytes], target: bytes) -> None:
        await self._create(base, parts, self.operations.symlink, target)

    async def readlink(self, base: KInode, parts: list[bytes]) -> bytes:
        async def work(reval: bool) -> bytes:
            node = await self.walk(base, parts, reval)
            if not stat.S_ISLNK(node.mode):
                raise failure(errno.EINVAL)
            return await self.call(self.operations.readlink, node.number, self.context)

        return await self.retried(work)

    async def link(self, base: KInode, existing: list[bytes], parts: list[bytes]) -> None:
        async def work(reval: bool) -> None:
            async with AsyncExitStack() as held:
                node = self.hold(held, await self.walk(base, existing, reval))
                directory = await self.parent(base, parts, reval)
                await held.enter_async_context(directory.lock.exclusive())
                dentry = await self.lookup(directory, parts[-1], reval=True, locked=True)
                if dentry.inode is not None:
                    raise failure(errno.EEXIST)
                if node.is_dir:
                    raise failure(errno.EPERM)
                async with node.lock.exclusive():
                    version = self.attr_version
                    with self.taken(dentry):
                        entry = await self.call(
                            self.operations.link, node.number, directory.number, parts[-1], self.context
                        )
                linked = self.iget(entry, version)
                self.add(directory, parts[-1], linked, entry.entry_timeout)
                self.dir_changed(directory)

        await self.retried(work)

    def unlinked(self, dentry: Dentry) -> None:
        """fuse_entry_unlinked, d_delete."""
        if dentry.inode is not None:
            dentry.inode.valid_until = 0.0
        self.unhash(dentry)

    async def _remove(self, base: KInode, parts: list[bytes], want_dir: bool) -> None:
        async def work(reval: bool) -> None:
            directory = await self.parent(base, parts, reval)
            async with directory.lock.exclusive():
                dentry = await self.lookup(directory, parts[-1], reval=reval, locked=True)
                node = dentry.inode
                if node is None:
                    raise failure(errno.ENOENT)
                if node.is_dir != want_dir:
                    raise failure(errno.ENOTDIR if want_dir else errno.EISDIR)
                node.opens += 1
                try:
                    async with node.lock.exclusive():
                        if want_dir:
                            self.shrink(node)
                        handler = self.operations.rmdir if want_dir else self.operations.unlink
                        try:
                            await self.call(handler, directory.number, parts[-1], self.context)
                        except OSError as problem:
                            if problem.errno == errno.ENOENT:
                                self.invalidate(dentry)
                            raise
                finally:
                    node.opens -= 1
                self.dir_changed(directory)
                self.unlinked(dentry)

        await self.retried(work)

    async def unlink(self, base: KInode, parts: list[bytes]) -> None:
        await self._remove(base, parts, want_dir=False)

    async def rmdir(self, base: KInode, parts: list[bytes]) -> None:
        await self._remove(base, parts, want_dir=True)

    async def rename(self, base: KInode, old: list[bytes], new: list[bytes], flags: int = 0) -> None:
        async def work(reval: bool) -> None:
            async with AsyncExitStack() as held:
                source = self.hold(held, await self.parent(base, old, reval))
                target = self.hold(held, await self.parent(base, new, reval))
                if source is not target:
                    await held.enter_async_context(self.rename_lock.exclusive())
                for directory in sorted({source, target}, key=lambda one: (self._depth(one), one.number)):
                    await held.enter_async_context(directory.lock.exclusive())
                await self._rename_locked(source, old[-1], target, new[-1], flags, reval)

        await self.retried(work)

    @staticmethod
    def _depth(node: KInode) -> int:
        depth = 0
        while node.dentries and depth < 100:
            node = node.dentries[0].directory
            depth += 1
        return depth

    @staticmethod
    def _above(node: KInode, below: KInode) -> bool:
        """Whether ``below`` is ``node`` or under it."""
        for _ in range(100):
            if below is node:
                return True
            if not below.dentries:
                return False
            below = below.dentries[0].directory
        return False

    async def _rename_locked(
        self, source: KInode, old: bytes, target: KInode, new: bytes, flags: int, reval: bool
    ) -> None:
        first = await self.lookup(source, old, reval=reval, locked=True)
        node = first.inode
        if node is None:
            raise failure(errno.ENOENT)
        node.opens += 1  # a name in use is not one that memory is short for
        try:
            second = await self.lookup(target, new, reval=True, locked=True)
        finally:
            node.opens -= 1
        over = second.inode
        if over is not None and flags & 1:
            raise failure(errno.EEXIST)
        if not first.hashed or first.inode is not node:
            raise failure(errno.ESTALE)
        if node.is_dir and self._above(node, target):
            raise failure(errno.EINVAL)
        if over is not None and over.is_dir and self._above(over, source):
            raise failure(errno.ENOTEMPTY)
        if over is node:
            return
        if over is not None and over.is_dir != node.is_dir:
            raise failure(errno.ENOTDIR if node.is_dir else errno.EISDIR)
        locked = [one for one in (node, over) if one is not None and one not in (source, target)]
        if source is target:  # directories moved within their own are not locked
            locked = [one for one in locked if not one.is_dir or one is over]
        async with AsyncExitStack() as held:
            for one in (node, over):
                if one is not None:
                    self.hold(held, one)
            for one in sorted(locked, key=lambda one: one.number):
                await held.enter_async_context(one.lock.exclusive())
            try:
                await self.call(
                    self.operations.rename, source.number, old, target.number, new, flags, self.context
                )
            except OSError as problem:
                if problem.errno == errno.ENOENT:
                    self.invalidate(first)
                    self.invalidate(second)
                raise
            self.dir_changed(source)
            self.dir_changed(target)
            node.valid_until = 0.0
            if second.inode is not None:
                second.inode.valid_until = 0.0
            valid_until = first.valid_until
            self.unhash(second, keep=True)
            self.unhash(first, keep=True)
            self.add(target, new, node, max(0.0, valid_until - trio.current_time()))
        if over is not None:
            self.evict(over)

    def hold(self, held: AsyncExitStack, node: KInode) -> KInode:
        """Keep ``node`` until ``held`` is left."""
        node.opens += 1
        held.callback(self._put, node)
        return node

    def _put(self, node: KInode) -> None:
        node.opens -= 1

    # -- attributes ----------------------------------------------------------------

    async def setattr(self, node: KInode, handle: int | None = None, **wanted: int) -> None:
        """notify_change: under the inode's lock. ``size``, ``mode``, ``mtime`` and ``atime`` in seconds."""
        node.opens += 1
        try:
            async with node.lock.exclusive():
                await self.setattr_locked(node, handle, **wanted)
        finally:
            node.opens -= 1

    async def setattr_locked(self, node: KInode, handle: int | None = None, **wanted: int) -> None:
        attributes = SimpleNamespace(
            st_size=wanted.get("size", 0),
            st_mode=stat.S_IFMT(node.mode) | wanted.get("mode", 0),
            st_uid=0,
            st_gid=0,
            st_atime_ns=wanted.get("atime", 0) * 10**9,
            st_mtime_ns=wanted.get("mtime", 0) * 10**9,
        )
        fields = SimpleNamespace(
            update_size="size" in wanted,
            update_mode="mode" in wanted,
            update_uid=False,
            update_gid=False,
            update_atime="atime" in wanted,
            update_mtime="mtime" in wanted,
        )
        if "size" in wanted:
            node.unstable = True
        try:
            entry = await self.call(
                self.operations.setattr, node.number, attributes, fields, handle, self.context
            )
            old = node.size
            self.install_attributes(node, entry)
            node.size = entry.st_size
            if "size" in wanted or old != entry.st_size:
                for under_way in list(node.locked):  # truncate_pagecache
                    await under_way.wait()
                self.drop_pages(node)
        finally:
            node.unstable = False

    async def chmod(self, base: KInode, parts: list[bytes], mode: int) -> None:
        async def work(reval: bool) -> None:
            await self.setattr(await self.walk(base, parts, reval), mode=mode)

        await self.retried(work)

    async def utime(self, base: KInode, parts: list[bytes], when: int) -> None:
        async def work(reval: bool) -> None:
            await self.setattr(await self.walk(base, parts, reval), atime=when, mtime=when)

        await self.retried(work)

    # -- directories -----------------------------------------------------------------

    async def opendir(self, base: KInode, parts: list[bytes]) -> OpenDirectory:
        async def work(reval: bool) -> OpenDirectory:
            node = await self.walk(base, parts, reval)
            if not node.is_dir:
                raise failure(errno.ENOTDIR)
            node.opens += 1
            try:
                handle = await self.call(self.operations.opendir, node.number, self.context)
            except OSError:
                node.opens -= 1
                raise
            return OpenDirectory(node, handle)

        return await self.retried(work)

    async def getdents(self, opened: OpenDirectory, room: int) -> list[tuple[bytes, int]]:
        """The next names with their inode numbers, as many as one reply of ``room`` bytes has; [] at the
        end."""
        node = opened.node
        async with node.lock.shared():
            version = self.attr_version
            token = Token(room)
            await self.call(self.operations.readdir, opened.handle, opened.offset, token)
            told = []
            for name, entry, next_id in token.entries:
                opened.offset = next_id
                if name not in (b".", b".."):
                    await self._link_listed(node, name, entry, version)
                told.append((name, entry.st_ino))
            return told

    async def _link_listed(self, directory: KInode, name: bytes, entry: Any, version: int) -> None:
        """fuse_direntplus_link."""
        while name in directory.looking_up:
            await directory.looking_up[name].wait()
        dentry = directory.children.get(name)
        if dentry is not None:
            node = dentry.inode
            if node is not None and node.number == entry.st_ino:
                node.lookups += 1
                self.change_attributes(node, entry, version)
                dentry.valid_until = trio.current_time() + entry.entry_timeout
                return
            self.invalidate(dentry)
        self.add(directory, name, self.iget(entry, version), entry.entry_timeout)

    async def closedir(self, opened: OpenDirectory) -> None:
        opened.closed = True
        opened.node.opens -= 1
        await self.call(self.operations.releasedir, opened.handle)
        self.evict_unused(opened.node)

    def evict_unused(self, node: KInode) -> None:
        """Nothing is open any more: an inode without a name goes at once."""
        if not node.opens and not node.dentries:
            for dentry in list(node.children.values()):
                self.unhash(dentry)
            self.evict(node)
