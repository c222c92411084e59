"""Makes what ``sftpfs cp`` hands to the mount: directories, links and small files, each new and whole, or not
at all.

The kernel creates the names of a directory one after the other, a round trip each. Here many are made side by
side, by the operations that the kernel's requests use. So nothing that the mount knows can come to differ
from what it would know after such requests. What the kernel's locks would keep apart is kept apart by
``vfs.tree.path_requests``: two changes of one name follow each other.

Only names that are free are made. What has a name already, and may be open, locked or being written, is left
to the kernel's requests.

Waits for the server. The caller bounds how many are under way, and has the kernel ask anew for what it was
shown before (``Made``).
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sftpfs import clock
from sftpfs.errors import error
from sftpfs.types import NAME_MAX
from sftpfs.vfs.filesystem import Filesystem
from sftpfs.vfs.namespace import Caller
from sftpfs.vfs.open_file import OpenFile
from sftpfs.vfs.setattr import SetattrRequest
from sftpfs.vfs.tree.inode import Inode

log = logging.getLogger(__name__)

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
"""Flags (open(2)'s) of a file that is made."""

PIECE = 128 << 10
"""Bytes handed to the writer at once, as the kernel does: what is full of them is sent while the rest
comes."""


class Keep(NamedTuple):
    """What a name is given once it is there: times in nanoseconds, and the mode of a file. ``owner`` (uid and
    gid, as the mount shows them): only if it has this owner."""

    mode: int
    atime_ns: int
    mtime_ns: int
    owner: tuple[int, int] | None = None


class Made(NamedTuple):
    """What was made. ``kept``: it has all that it was to be given.

    What the kernel must ask for anew: ``entry`` (the directory's inode number, the name), if it may hold that
    there is no such name, or another file; and ``inode``, if a program has met the file meanwhile.
    """

    kept: bool
    entry: tuple[int, bytes] | None = None
    inode: int | None = None


class UnfinishedError(OSError):
    """A file could not be written to its end. ``removed``: it is gone again."""

    def __init__(self, problem: OSError, removed: bool) -> None:
        super().__init__(problem.errno or errno.EIO, problem.strerror or str(problem))
        self.removed = removed


class TreeWriter:
    """See the module. One object for each request of a client, ``caller``."""

    def __init__(self, filesystem: Filesystem, caller: Caller, withdrawn: Callable[[], bool]) -> None:
        """``withdrawn``: nobody wants what is not finished yet."""
        self._filesystem = filesystem
        self._tree = filesystem.tree
        self._caller = caller
        self._withdrawn = withdrawn
        self._fresh: set[int] = set()
        """Directories made here: the kernel holds no name of them from before."""

    async def directory(self, number: int, name: bytes, mode: int) -> Made:
        """Makes directory ``name`` in directory ``number``. EEXIST if the name is taken; ESTALE if the kernel
        has forgotten the directory. One round trip, as each of these."""
        with self._free_name(number, name) as parent:
            inode = await self._filesystem.namespace.mkdir(parent, name, mode, self._caller)
            self._fresh.add(inode.number)
            return self._made(parent, name, inode, kept=False)

    async def link(self, number: int, name: bytes, target: bytes, keep: Keep) -> Made:
        """Makes a symbolic link; as ``directory``. One more round trip for its times."""
        with self._free_name(number, name) as parent:
            inode = await self._filesystem.namespace.symlink(parent, name, target, self._caller)
            with self._held(inode):
                kept = self._owned(inode, keep)
                try:
                    await self._filesystem.attributes.change(
                        inode, SetattrRequest(atime_ns=keep.atime_ns, mtime_ns=keep.mtime_ns), None
                    )
                except OSError as problem:
                    log.debug("a link keeps its own times: %s", problem)  # as cp, whatever is asked for
            return self._made(parent, name, inode, kept=kept)

    async def file(self, number: int, name: bytes, mode: int, content: bytes, keep: Keep) -> Made:
        """Makes a file of ``mode`` with ``content``, and gives it what is to be kept. When this returns, the
        server has acknowledged all of it, and CLOSE too.

        Raises UnfinishedError if the file was made and is not whole, OSError otherwise. Three round trips.
        """
        with self._free_name(number, name) as parent:
            create = self._filesystem.files.create
            inode, opened, _ = await create(parent, name, mode, NEW, self._caller)
            with self._held(inode):
                try:
                    kept = await self._finish(inode, opened, content, keep)
                except OSError as problem:
                    raise UnfinishedError(problem, await self._removed(inode, opened)) from None
                except BaseException:  # the mount ends, and reports what it could not write
                    await self._filesystem.files.release(opened)
                    raise
                await self._filesystem.files.release(opened)
            return self._made(parent, name, inode, kept=kept)

    # -- one file ------------------------------------------------------------------------------

    async def _finish(self, inode: Inode, opened: OpenFile, content: bytes, keep: Keep) -> bool:
        """Writes and closes it on the server. Returns whether it has what it was to be given."""
        handle = opened.handle
        for start in range(0, len(content), PIECE):
            self._refuse_withdrawn()
            piece = content[start : start + PIECE]
            if not handle.write_nowait(start, piece):
                await handle.write(start, piece)
        kept = self._owned(inode, keep) and await self._give(inode, opened, keep)
        self._refuse_withdrawn()
        unnamed = handle.unnamed
        await handle.finish()
        if unnamed and not handle.unnamed:
            self._tree.name_given(inode)
        return kept

    async def _give(self, inode: Inode, opened: OpenFile, keep: Keep) -> bool:
        """Sets mode and times; most servers get them with the last write. False if they may not be set."""
        requested = SetattrRequest(mode=keep.mode, atime_ns=keep.atime_ns, mtime_ns=keep.mtime_ns)
        try:
            await self._filesystem.attributes.change(inode, requested, opened.handle)
        except OSError as problem:
            if problem.errno == errno.ETIMEDOUT:
                raise
            return False
        return True

    def _owned(self, inode: Inode, keep: Keep) -> bool:
        return keep.owner is None or self._filesystem.owners.show(inode.attributes)[1:] == keep.owner

    def _refuse_withdrawn(self) -> None:
        if self._withdrawn():
            raise error(errno.ECANCELED, "the copy was given up")

    async def _removed(self, inode: Inode, opened: OpenFile) -> bool:
        """Closes what is no whole file, and takes it away again. True if it is gone. Within the time that the
        operation has: a server that was away for all of it is not waited for once more. Another file that has
        the name by now stays."""
        opened.handle.unheard = False  # whoever copies is told, and has the data
        gone = False
        try:
            self._tree.expire(inode)
            await self._filesystem.resolver.revalidate(inode, firmly=True)  # while it is open, and so known
        except OSError as problem:
            gone = problem.errno == errno.ESTALE
        await self._filesystem.files.release(opened)
        try:
            if not gone and inode.parent is not None and inode.linked:
                await self._filesystem.namespace.unlink(inode.parent, inode.name)
        except OSError as problem:
            return problem.errno == errno.ENOENT
        return True

    # -- names ---------------------------------------------------------------------------------

    @contextmanager
    def _free_name(self, number: int, name: bytes) -> Iterator[Inode]:
        """The directory ``number``, which is held meanwhile. EEXIST if ``name`` in it is known to be
        taken."""
        self._refuse_withdrawn()
        parent = self._tree.find(number)
        if parent is None or parent.directory is None:
            raise error(errno.ESTALE, "the directory is no longer known by its number")
        if len(name) > NAME_MAX:
            raise error(errno.ENAMETOOLONG)
        if name in parent.directory.children:
            raise error(errno.EEXIST)
        with self._held(parent):
            yield parent

    @contextmanager
    def _held(self, inode: Inode) -> Iterator[None]:
        """We use ``inode`` as the kernel does: it is known by its number until the block ends."""
        self._tree.hold(inode)
        try:
            yield
        finally:
            self._tree.forget(inode.number, 1)

    def _made(self, parent: Inode, name: bytes, inode: Inode, *, kept: bool) -> Made:
        """What the kernel must ask for anew. (What a program works in must not lose its name there.)"""
        directory = parent.directory
        if inode.lookups or directory is None or directory.children.get(name) is not inode:
            return Made(kept, inode=inode.number)
        if parent.number in self._fresh and directory.absences_shown_until <= clock.now():
            return Made(kept)
        return Made(kept, entry=(parent.number, name))
