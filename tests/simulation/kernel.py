"""A model of Linux's VFS and FUSE client (fs/fuse) above pyfuse3's handlers: dentries, inodes, and walks.

What sftpfs can see of the kernel is here: names and attributes kept for as long as it was told, forgets at
any moment, the locks held around a request, the second look after ESTALE. ``kernel_names`` and
``kernel_files`` add the system calls. Follows Linux 6.18's fs/namei.c, fs/fuse/dir.c; where a detail cannot
be seen it is left out.
"""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, TypeVar

import trio

from tests.simulation.disk import failure
from tests.simulation.locks import RwSem

T = TypeVar("T")

PAGE = 4096
ROOT = 1


FORCED = ("flush", "release", "releasedir", "forget")
"""Requests made for a process that was killed, too (fuse_args.force)."""


class Process:
    """Who makes system calls. ``killed``: a request under way is waited for (the daemon has it); no other is
    made but those that are forced, and EINTR is for nobody to see (request_wait_answer)."""

    def __init__(self) -> None:
        self.killed = False


process: ContextVar[Process | None] = ContextVar("process", default=None)
"""Whose system call this task makes."""


class KInode:
    """An inode as the kernel holds it.

    INVARIANT: ``lookups`` is what the file system was or will be asked to forget, all of it.
    """

    __slots__ = (
        "attr_version",
        "attributes",
        "children",
        "dentries",
        "lock",
        "locked",
        "looking_up",
        "lookups",
        "mode",
        "number",
        "opens",
        "pages",
        "reading",
        "size",
        "unstable",
        "valid_until",
    )

    def __init__(self, number: int, mode: int) -> None:
        self.number = number
        self.mode = mode
        self.size = 0
        self.lookups = 0
        self.opens = 0
        self.attributes: Any = None
        self.valid_until = 0.0
        self.attr_version = 0
        self.unstable = False
        self.lock = RwSem()
        self.pages: dict[int, bytes] = {}
        self.reading: dict[int, trio.Event] = {}
        self.locked: dict[trio.Event, None] = {}
        """READs under way, whose pages are locked, also where another READ of them would be sent now."""
        self.children: dict[bytes, Dentry] = {}
        self.dentries: list[Dentry] = []
        self.looking_up: dict[bytes, trio.Event] = {}

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)


class Dentry:
    """A name in a directory; ``inode`` None says that there is none."""

    __slots__ = ("directory", "hashed", "inode", "name", "valid_until")

    def __init__(self, directory: KInode, name: bytes) -> None:
        self.directory = directory
        self.name = name
        self.inode: KInode | None = None
        self.valid_until = 0.0
        self.hashed = False


class KernelCore:
    """Dentries, inodes and walks. ``operations`` is the product's; its handlers are called as pyfuse3
    does."""

    def __init__(self, operations: Any, rng: random.Random) -> None:
        self.operations = operations
        self.rng = rng
        self.inodes: dict[int, KInode] = {}
        self.context = SimpleNamespace(uid=os.getuid(), gid=os.getgid(), pid=1, umask=0o022)
        self.attr_version = 1
        self.requests = 0
        self.answered: Callable[[str, float], None] = lambda request, seconds: None
        """Told of each request how long it took."""
        self.trace: Callable[[str], None] | None = None
        self.under_way = 0
        self.rename_lock = RwSem()
        self.forgotten: list[tuple[int, int]] = []
        self.invalidating = 0
        """Threads of the mount's that tell it what is outdated."""
        self.root = KInode(ROOT, stat.S_IFDIR | 0o755)
        self.root.lookups = 1
        self.inodes[ROOT] = self.root

    # -- requests ----------------------------------------------------------------

    async def call(self, handler: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """A request and its reply, which is taken a moment after it was given."""
        from pyfuse3 import FUSEError

        caller = process.get()
        if caller is not None and caller.killed and handler.__name__ not in FORCED:
            raise failure(errno.EINTR)
        self.requests += 1
        self.under_way += 1
        begin = trio.current_time()
        if self.trace is not None:
            self.trace(f"  > {handler.__name__}{arguments[:3]!r:.80}")
        try:
            result = await handler(*arguments)
        except FUSEError as problem:
            if self.trace is not None:
                self.trace(f"  < {handler.__name__} {errno.errorcode.get(problem.errno, problem.errno)}")
            raise failure(problem.errno) from None
        finally:
            self.under_way -= 1
            self.answered(handler.__name__, trio.current_time() - begin)
        if self.trace is not None:
            self.trace(f"  < {handler.__name__} {_shown(result)}")
        return result

    async def forget_some(self) -> None:
        """Send what was dropped, in one batch."""
        batch, self.forgotten = self.forgotten, []
        if batch:
            await self.operations.forget(batch)

    # -- inodes and attributes -----------------------------------------------------

    def iget(self, entry: Any, version: int) -> KInode:
        """The inode of an entry reply, looked up once more (fuse_iget)."""
        node = self.inodes.get(entry.st_ino)
        if node is None:
            node = self.inodes[entry.st_ino] = KInode(entry.st_ino, entry.st_mode)
            node.size = entry.st_size
        elif stat.S_IFMT(node.mode) != stat.S_IFMT(entry.st_mode):
            raise AssertionError(f"inode {entry.st_ino} changed its type")
        node.lookups += 1
        self.change_attributes(node, entry, version)
        return node

    def bump(self) -> int:
        self.attr_version += 1
        return self.attr_version

    def change_attributes(self, node: KInode, entry: Any, version: int) -> None:
        """fuse_change_attributes: with ``version`` 0 in any case, else unless something newer is known."""
        if (version and node.attr_version > version) or node.unstable:
            return
        old_mtime = node.attributes.st_mtime_ns if node.attributes is not None else None
        old_size = node.size
        self.install_attributes(node, entry)
        node.size = entry.st_size
        if stat.S_ISREG(node.mode) and (old_size != entry.st_size or old_mtime != entry.st_mtime_ns):
            self.drop_pages(node)

    def install_attributes(self, node: KInode, entry: Any) -> None:
        node.attr_version = self.bump()
        node.attributes = entry
        node.mode = entry.st_mode
        node.valid_until = trio.current_time() + entry.attr_timeout

    @staticmethod
    def drop_pages(node: KInode) -> None:
        """Clean pages go; those being read stay locked, and count as read anew."""
        node.pages.clear()
        node.reading.clear()

    async def getattr(self, node: KInode, force: bool = False) -> Any:
        """Attributes, asked for where they are no longer valid (fuse_update_get_attr)."""
        if force or node.attributes is None or trio.current_time() >= node.valid_until:
            version = self.attr_version
            entry = await self.call(self.operations.getattr, node.number, self.context)
            if stat.S_IFMT(entry.st_mode) != stat.S_IFMT(node.mode):
                raise failure(errno.EIO)
            self.change_attributes(node, entry, version)
        return node.attributes

    # -- dentries ------------------------------------------------------------------

    def add(self, directory: KInode, name: bytes, node: KInode | None, timeout: float) -> Dentry:
        """``name`` leads to ``node`` for ``timeout`` seconds. A directory has one name only
        (d_splice_alias)."""
        if node is not None and node.is_dir:
            for other in list(node.dentries):
                self.unhash(other, keep=True)
        old = directory.children.get(name)
        if old is not None:
            self.unhash(old, keep=True)
        dentry = Dentry(directory, name)
        dentry.inode = node
        dentry.hashed = True
        dentry.valid_until = trio.current_time() + timeout
        directory.children[name] = dentry
        if node is not None:
            node.dentries.append(dentry)
        return dentry

    def unhash(self, dentry: Dentry, keep: bool = False) -> None:
        """The name is not known any more; its inode goes unless it is used or to be kept for a moment."""
        if not dentry.hashed:
            return
        dentry.hashed = False
        if dentry.directory.children.get(dentry.name) is dentry:
            del dentry.directory.children[dentry.name]
        if dentry.inode is not None:
            dentry.inode.dentries.remove(dentry)
            if not keep:
                self.evict(dentry.inode)

    def evict(self, node: KInode) -> None:
        """Forget an inode that nothing leads to."""
        if node.number == ROOT or node.dentries or node.opens or node.children or node.lock.held:
            return
        if self.inodes.pop(node.number, None) is node:
            self.forgotten.append((node.number, node.lookups))

    def invalidate(self, dentry: Dentry) -> None:
        """d_invalidate: what is below goes as far as nobody uses it."""
        if dentry.inode is not None and dentry.inode.is_dir:
            self.shrink(dentry.inode)
        self.unhash(dentry)

    def shrink(self, directory: KInode, chance: float = 1.0) -> None:
        """Names below ``directory`` go that nobody uses, each with ``chance``."""
        for dentry in list(directory.children.values()):
            node = dentry.inode
            if node is not None and node.is_dir:
                self.shrink(node, chance)
                if node.children or node.opens or node.lock.held:
                    continue
            if node is not None and (node.opens or node.looking_up):
                continue
            if chance >= 1.0 or self.rng.random() < chance:
                self.unhash(dentry)

    # -- walks ---------------------------------------------------------------------

    async def lookup(
        self, directory: KInode, name: bytes, *, reval: bool = False, locked: bool = False
    ) -> Dentry:
        """The dentry of ``name``, positive or negative. ``reval``: asked for also while it is valid.
        ``locked``: the caller has the directory's lock."""
        directory.opens += 1
        try:
            return await self._lookup(directory, name, reval, locked)
        finally:
            directory.opens -= 1

    async def _lookup(self, directory: KInode, name: bytes, reval: bool, locked: bool) -> Dentry:
        while True:
            dentry = directory.children.get(name)
            if dentry is not None:
                if await self._revalidate(dentry, reval):
                    if dentry.hashed:
                        return dentry
                    continue
                self.invalidate(dentry)
            waiting = directory.looking_up.get(name)
            if waiting is not None:
                await waiting.wait()
                continue
            if locked:
                return await self._lookup_slow(directory, name)
            async with directory.lock.shared():
                if name in directory.children or name in directory.looking_up:
                    continue
                return await self._lookup_slow(directory, name)

    async def _lookup_slow(self, directory: KInode, name: bytes) -> Dentry:
        event = directory.looking_up[name] = trio.Event()
        version = self.attr_version
        try:
            try:
                entry = await self.call(self.operations.lookup, directory.number, name, self.context)
            except OSError as problem:
                if problem.errno != errno.ENOENT:
                    raise
                return self.add(directory, name, None, 0.0)
            if not entry.st_ino:
                return self.add(directory, name, None, entry.entry_timeout)
            return self.add(directory, name, self.iget(entry, version), entry.entry_timeout)
        finally:
            del directory.looking_up[name]
            event.set()

    async def _revalidate(self, dentry: Dentry, reval: bool) -> bool:
        """fuse_dentry_revalidate."""
        if trio.current_time() < dentry.valid_until and not reval:
            return True
        node = dentry.inode
        if node is None:
            return False
        version = self.attr_version
        node.opens += 1  # the dentry is held meanwhile
        try:
            try:
                entry = await self.call(
                    self.operations.lookup, dentry.directory.number, dentry.name, self.context
                )
            except OSError:
                return False
            if not entry.st_ino:
                return False
            if entry.st_ino != node.number or stat.S_IFMT(entry.st_mode) != stat.S_IFMT(node.mode):
                self.forgotten.append((entry.st_ino, 1))
                return False
            node.lookups += 1
            self.change_attributes(node, entry, version)
            dentry.valid_until = trio.current_time() + entry.entry_timeout
            return True
        finally:
            node.opens -= 1

    async def walk(self, base: KInode, parts: list[bytes], reval: bool = False) -> KInode:
        """The inode at ``parts`` below ``base``; ENOENT, ENOTDIR. Links are not followed."""
        node = base
        for index, part in enumerate(parts):
            if not node.is_dir:
                raise failure(errno.ENOTDIR)
            dentry = await self.lookup(node, part, reval=reval)
            if dentry.inode is None:
                raise failure(errno.ENOENT)
            node = dentry.inode
            if stat.S_ISLNK(node.mode) and index < len(parts) - 1:
                raise failure(errno.ELOOP)
        return node

    async def retried(self, work: Callable[[bool], Awaitable[T]]) -> T:
        """A system call by path: once more, asking for every name, where it comes to ESTALE."""
        try:
            return await work(False)
        except OSError as problem:
            if problem.errno != errno.ESTALE:
                raise
        return await work(True)

    # -- what the file system tells ---------------------------------------------------

    def invalidate_inode(self, number: int, attr_only: bool = False) -> None:
        """fuse_reverse_inval_inode."""
        if self.trace is not None:
            self.trace(f"  ! inode {number} is outdated, its {'attributes' if attr_only else 'pages, too'}")
        node = self.inodes.get(number)
        if node is None:
            raise failure(errno.ENOENT)
        node.valid_until = 0.0
        node.attr_version = self.bump()
        if not attr_only:
            self.drop_pages(node)

    def invalidate_entry(self, parent: int, name: bytes) -> None:
        """fuse_reverse_inval_entry."""
        directory = self.inodes.get(parent)
        dentry = directory.children.get(name) if directory is not None else None
        if dentry is None:
            raise failure(errno.ENOENT)
        self.invalidate(dentry)

    async def invalidate_all(self, entries: list[tuple[int, bytes]], inodes: list[int]) -> None:
        """Both, as a thread of the mount's asks for them: a name goes under the lock of its directory."""
        self.invalidating += 1
        try:
            for parent, name in entries:
                directory = self.inodes.get(parent)
                if directory is not None:
                    async with directory.lock.exclusive():
                        with suppress(FileNotFoundError):
                            self.invalidate_entry(parent, name)
        finally:
            self.invalidating -= 1
        for number in inodes:
            with suppress(FileNotFoundError):
                self.invalidate_inode(number)


def _shown(reply: Any) -> str:
    """A reply in a trace."""
    if isinstance(reply, tuple):
        return " ".join(map(_shown, reply))
    if hasattr(reply, "st_ino"):
        return (
            f"inode {reply.st_ino}, {reply.st_size} bytes, mode {reply.st_mode:o}, "
            f"name {reply.entry_timeout:.3f} s, attributes {reply.attr_timeout:.3f} s"
        )
    if hasattr(reply, "keep_cache"):
        return f"handle {reply.fh}, keep {reply.keep_cache}"
    return f"{len(reply)} bytes" if isinstance(reply, bytes | bytearray | memoryview) else repr(reply)
