"""Copies between two files of the mount on the server, so that the data does not come here.

What was written to either file goes first. When the copy has ended, however it did, what is known of the
destination is right; the caller tells the kernel.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import NamedTuple

from sftpfs.errors import SessionLostError, error
from sftpfs.remote.api import Remote, ServerCopy
from sftpfs.types import Attributes
from sftpfs.vfs.file_identity import FileIdentity
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.leases import version_changed
from sftpfs.vfs.tree.server_answers import leads_to
from sftpfs.vfs.tree.tree import Tree

OPEN_ATTEMPTS = 4
"""How often the copy is opened if a file changes again and again meanwhile."""

LOSSES_IN_VAIN = 2
"""Connections that one copy may lose in a row without making progress."""


class Copied(NamedTuple):
    """A copy that was made."""

    size: int
    """Bytes copied: the source's size when the copy began, less what it lost since. Behind them the
    destination has its old content."""
    source_changed: bool
    """The source is another version than was known here."""


class ServerCopier:
    """Carries out copies for whoever looks after the mount."""

    def __init__(self, tree: Tree, remote: Remote, identity: FileIdentity, reconnect: bool) -> None:
        """``reconnect``: a copy outlives the loss of its connection."""
        self._tree = tree
        self._remote = remote
        self._identity = identity
        self._most_losses = LOSSES_IN_VAIN if reconnect else 0

    async def copy(self, source: int, destination: int, reached: Callable[[int], None]) -> Copied:
        """The content of inode ``source`` becomes that of ``destination``, which is not made shorter.

        ``reached`` is called with the bytes copied so far. EOPNOTSUPP if the server has no copy-data, with
        nothing done; EINVAL if both are one file; ESTALE for what is not a regular file, or no longer where
        it was. Two round trips before the copy, and one after its last piece.
        """
        if not self._remote.copies_data:
            raise error(errno.EOPNOTSUPP)
        origin, target = self._file(source), self._file(destination)
        if origin is target:
            raise error(errno.EINVAL)
        for inode in (origin, target):
            if inode.content is not None:
                await inode.content.settle()
                if inode.content.deferring:
                    await inode.content.advance()  # the server decides by the mode
            await self._identity.verify(inode)
        mark, known = origin.change_mark, origin.attributes
        try:
            size, reported, written = await self._carry(origin, target, reached)
        except BaseException:
            self._tree.distrust_inode(target)
            raise
        if target.content is not None:
            target.content.rewritten(written)
        self._tree.own_change(target, written, dated=True, named=True)
        if origin.change_mark == mark and leads_to(origin, reported):
            self._tree.refresh(origin, reported)
        return Copied(size, version_changed(known, reported))

    def _file(self, number: int) -> Inode:
        inode = self._tree.find(number)
        if inode is None or not stat.S_ISREG(inode.attributes.mode):
            raise error(errno.ESTALE)
        return inode

    async def _carry(
        self, source: Inode, destination: Inode, reached: Callable[[int], None]
    ) -> tuple[int, Attributes, Attributes]:
        """The bytes copied, and what both files are then. Outlives lost connections: it goes on from where it
        was if the source is still that version."""
        done = losses = 0
        version: Attributes | None = None

        def got(offset: int) -> None:
            nonlocal done, losses
            done, losses = offset, 0
            reached(offset)

        while True:
            with closing(await self._open(source, destination, resumed=version is not None)) as copy:
                if version is None or version_changed(version, copy.source) or copy.destination.size < done:
                    done, version = 0, copy.source
                try:
                    reported, written = await copy.run(done, version.size, got)
                    return min(version.size, reported.size), reported, written
                except SessionLostError:
                    losses += 1
                    if losses > self._most_losses:
                        raise

    async def _open(self, source: Inode, destination: Inode, *, resumed: bool) -> ServerCopy:
        """Both files, and no others that got their names meanwhile."""

        async def ask(source_path: bytes, destination_path: bytes) -> tuple[ServerCopy, bool]:
            with ExitStack() as lent:
                held = []
                for inode in (source, destination):
                    # The source goes on as the version that was copied so far, whoever has it open.
                    handles = () if resumed and inode is source else inode.handles or ()
                    handle = next(iter(handles), None)
                    if handle is not None:
                        lent.enter_context(handle.lent())
                    held.append(None if handle is None else handle.start_fstat())
                copy = await self._remote.open_copy(source_path, destination_path)
                try:
                    same = True
                    for slot, after in zip(held, (copy.source, copy.destination), strict=True):
                        same = (slot is None or not version_changed(await slot.wait(), after)) and same
                except BaseException:
                    copy.close()
                    raise
            return copy, same and stat.S_ISREG(copy.source.mode) and stat.S_ISREG(copy.destination.mode)

        for _ in range(OPEN_ATTEMPTS):
            copy, same = await path_requests.query(
                self._tree, ask, source, destination, drop=lambda opened: opened[0].close()
            )
            if same:
                return copy
            copy.close()
        raise error(errno.ESTALE)
