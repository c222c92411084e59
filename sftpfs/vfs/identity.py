"""Which inode an answer is about that came by a path: the one known by that name, or another file.

SFTP has no inode numbers: size and time are all there is to tell by. ``vfs.answers`` says what follows from
these alone; here an open handle is asked, which knows its file whoever has the name now. Every answer by
path goes through one of the two before it is believed.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from math import inf

import trio

from sftpfs.errors import error
from sftpfs.remote.api import Remote, RemoteFile
from sftpfs.types import AttributeChange, Attributes
from sftpfs.vfs import in_place
from sftpfs.vfs.answers import Asked, leads_to
from sftpfs.vfs.inodes import Inode
from sftpfs.vfs.leases import version_changed
from sftpfs.vfs.tree import Tree

LOOKS = 3
"""Size and time of an open file and of what has its name, asked for together, differ so often in a row
where these are two files. For one that is written to they are the same soon, or lie between each other
(``_may_be_one``), which three tell."""

LITTLE = 1.0
"""Seconds in which the kernel knows of a name, unless somebody who has the directory is held up: by a slow
server, or by the very request that waits. Then that fails, and the kernel looks up the name anew. It does so
once only: who did not wait would fail twice before the kernel knows."""

GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


class Identity:
    """See the module. One object a mount."""

    def __init__(self, tree: Tree, remote: Remote) -> None:
        self._tree = tree
        self._remote = remote

    async def judged(
        self, asked: Asked, attributes: Attributes, expected: Attributes | None = None
    ) -> tuple[bool, Attributes]:
        """Whether the name of ``asked``, which has ``attributes``, leads to the inode it led to, and what it
        has now. Asks only about open files of another version than ``expected`` (known, where None): one
        round trip a look."""
        inode = asked.inode
        if inode is None:
            return False, attributes
        same = leads_to(inode, attributes, expected)
        if same is None:
            return await self._compared(asked, inode, attributes)
        return same, attributes

    async def _compared(self, asked: Asked, inode: Inode, attributes: Attributes) -> tuple[bool, Attributes]:
        """As ``judged``, by what an open handle says."""

        async def both(path: bytes) -> tuple[Attributes, Attributes] | None:
            if not inode.handles:
                return None  # closed while a rename above was waited for
            handle = inode.handles[0]
            with handle.lent():
                opened = handle.start_fstat()
                named = await self._remote.lstat(path)
                return await opened.wait(), named

        looks: list[tuple[Attributes, Attributes]] = []
        while len(looks) < LOOKS:
            if not inode.handles:
                return leads_to(inode, attributes) is True, attributes
            try:
                told = await in_place.look(self._tree, both, (asked.parent, asked.name))
            except OSError as problem:
                # Where the name has gone as well, what it led to cannot be shown to be what is open.
                return problem.errno not in (errno.ESTALE, errno.ENOENT), attributes
            if told is None:
                continue
            opened, named = told
            attributes = named
            if opened.kind != named.kind or not version_changed(opened, named):
                return opened.kind == named.kind, named
            looks.append((opened, named))
        return _may_be_one(looks), attributes

    async def changed(
        self, asked: Asked, change: AttributeChange, attributes: Attributes, *, dated: bool = False
    ) -> Inode:
        """``change``, of ours and by the path of ``asked``, made ``attributes`` of what is there: its inode,
        one of its own where that is another file than the inode asked about.

        ``dated`` as ``Tree.own_change``.
        """
        inode = asked.inode
        assert inode is not None
        expected = inode.attributes
        if change.mtime is not None or change.size is not None:
            size = expected.size if change.size is None else change.size
            mtime = attributes.mtime if change.mtime is None else change.mtime
            expected = expected._replace(size=size, mtime=mtime)
        same = True
        if inode.change_mark == asked.mark:
            same, attributes = await self.judged(asked, attributes, expected)
        if not same:
            if not self._tree.stands(asked):
                raise error(errno.ESTALE, "the name led to another file, and is another's now")
            inode = self._tree.believe(asked, attributes, False)
        elif inode.content is not None and change.size is not None:
            inode.content.truncated(attributes)
        elif version_changed(expected, attributes):
            self._tree.refresh(inode, attributes)
        self._tree.own_change(inode, attributes, dated=dated, named=True)
        return inode

    async def verify(self, inode: Inode, *, changing: bool = False, patience: float = inf) -> None:
        """Before what may destroy, or must be of the newest version: what the names of ``inode`` lead to
        where that is in doubt, one round trip then. ESTALE makes the kernel look up the name by which it
        came, of which it says nothing.

        In doubt is each name of several, which are looked at together, and whether a file that is open has
        its name still before a change of it (``changing``): the kernel may have come by the name, or by what
        is open. Nothing, and no wait, else. ``patience``: seconds the kernel is waited for until it knows
        of names that lead elsewhere: LITTLE for a request with which it holds a directory or the file. Who
        has the directory may wait for the file, and we would wait for the directory.
        """
        apart = await self._names_apart(inode)
        if not apart and changing and inode.handles and not inode.aliases and inode.linked:
            apart = await self._renamed_over(inode)
        doubtful = False
        with trio.move_on_after(patience):
            while (outdating := self._tree.outdating(inode)) is not None:
                doubtful = True
                await outdating.wait()
        if apart or doubtful:
            raise error(errno.ESTALE, "the name may lead to another file now")

    async def _renamed_over(self, inode: Inode) -> bool:
        """Whether another file has the name of one that is open; it has an inode of its own then."""
        assert inode.parent is not None
        asked = self._tree.asked(inode.parent, inode.name)
        same, now = await self._compared(asked, inode, inode.attributes)
        if not same and self._tree.stands(asked):
            self._tree.believe(asked, now, False)
        return not same

    async def _names_apart(self, inode: Inode) -> bool:
        """Whether a name of several was found to lead elsewhere; it does so here, too, then."""
        while inode.aliases:
            while (changed := in_place.changing(self._tree, inode)) is not None:
                await changed.wait()
            for parent, name in inode.names():
                assert parent.directory is not None
                changing = parent.directory.changing.get(name)
                if changing is not None:
                    await changing.wait()
            asked = [self._tree.asked(parent, name) for parent, name in inode.names()]
            names = [(one.parent, one.name) for one in asked]
            answers = await in_place.look(self._tree, lambda *paths: self._remote.lstat_many(paths), *names)
            if in_place.changing(self._tree, inode) or any(self._tree.overtaken(one) for one in asked):
                continue
            apart = False
            for one, answer in zip(asked, answers, strict=True):
                if isinstance(answer, Attributes):
                    same, now = await self.judged(one, answer)
                    apart = self._tree.believe(one, now, same) is not inode or apart
                elif answer.errno in GONE:
                    self._tree.missing(one.parent, one.name)
                    apart = True
                else:
                    raise answer
            return apart
        return False


async def identified(
    inode: Inode,
    opened: RemoteFile,
    known: Attributes,
    attributes: Attributes,
    look: Callable[[], Awaitable[Attributes]] | None,
) -> tuple[bool, Attributes]:
    """Whether what was opened is the file that ``inode`` stands for, and what it has now.

    ``attributes`` came with the OPEN by name: of a version not ``known`` they may be those of a file
    renamed over it in between, or of what a link leads to that is there now. Of two handles on one file they
    are the same, unless it is growing. Where nothing is open ``look`` asks for what has the name; None for a
    file the OPEN has emptied.
    """
    if not version_changed(known, attributes) or (look is None and not inode.handles):
        return True, attributes
    looks: list[tuple[Attributes, Attributes]] = []
    while len(looks) < LOOKS:
        handle = inode.handles[0] if inode.handles else None
        told = opened.start_fstat()
        beside = handle.fstat() if handle is not None else look() if look is not None else None
        try:
            other = await beside if beside is not None else None
        except OSError as problem:
            attributes = await told.wait()
            if handle is None:
                return False, attributes
            # Lost for good: nothing is read through that one any more. ESTALE: it is another file.
            return problem.errno != errno.ESTALE, attributes
        attributes = await told.wait()
        if other is None or (other.kind == attributes.kind and not version_changed(attributes, other)):
            return leads_to(inode, attributes) is not False or look is None, attributes
        looks.append((attributes, other))
        if handle is None:
            attributes = other
    return _may_be_one(looks), attributes


def _may_be_one(looks: list[tuple[Attributes, Attributes]]) -> bool:
    """Whether what differed at each of these ``looks`` may be one file that is being written to. Each look
    was answered before the next was sent. So at each either is between what the other was at the look
    before and the look after: what writes make of size and time does not go back."""
    ones, others = [one for one, _ in looks], [other for _, other in looks]
    return _between(ones, others) and _between(others, ones)


def _between(told: list[Attributes], beside: list[Attributes]) -> bool:
    return all(
        now.kind == before.kind
        and before.size <= now.size <= after.size
        and before.mtime <= now.mtime <= after.mtime
        for before, now, after in zip(told, beside[1:], told[2:], strict=False)
    )
