"""Which inode an answer by path is about: the one known by that name, or another file.

SFTP has no inode numbers: only size and time can tell files apart. ``vfs.tree.server_answers`` says what
follows from these alone. Here an open handle is asked, which knows its file whoever has the name now. Every
answer by path goes through one of the two before it is believed.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from math import inf

import trio

from sftpfs.errors import error
from sftpfs.remote.api import Remote, RemoteFile
from sftpfs.types import AttributeChange, Attributes
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.leases import version_changed
from sftpfs.vfs.tree.server_answers import Asked, leads_to
from sftpfs.vfs.tree.tree import Tree

LOOKS = 3
"""How often in a row size and time of an open file and of what has its name, asked for together, must differ
before these are two files. For one file that is being written they are soon the same, or lie between each
other (``_may_be_one``), which three looks show."""

MOST_LOOKS = 4 * LOOKS
"""Some of these find nothing open for the moment, between two programs that write the file."""

SHORT_PATIENCE = 1.0
"""Seconds in which the kernel knows of a name, unless somebody who holds the directory is held up: by a slow
server, or by the very request that waits. Then that request fails, and the kernel looks up the name anew. It
does so only once: a caller that did not wait would fail twice before the kernel knows."""

GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


class FileIdentity:
    """See the module. One object a mount."""

    def __init__(self, tree: Tree, remote: Remote) -> None:
        self._tree = tree
        self._remote = remote

    async def compare(
        self,
        asked: Asked,
        attributes: Attributes,
        expected: Attributes | None = None,
        *,
        alone: bool = False,
    ) -> tuple[bool, Attributes]:
        """Whether the name of ``asked``, which has ``attributes``, leads to the inode it led to, and what it
        has now. Asks only about open files of another version than ``expected`` (None: the known one); one
        round trip a look. ``alone``: within a change of the inode, or ``undisturbed``: no other change of
        ours is made beside it.
        """
        inode = asked.inode
        if inode is None:
            return False, attributes
        same = leads_to(inode, attributes, expected)
        ours = same is False and attributes.kind == inode.attributes.kind and inode.change_mark != asked.mark
        if same is None or ours:  # perhaps: what we have made of it since is another version, too
            return await self._compared(asked, inode, attributes, alone)
        return same, attributes

    async def _compared(
        self, asked: Asked, inode: Inode, attributes: Attributes, alone: bool = False
    ) -> tuple[bool, Attributes]:
        """As ``compare``, by what an open handle says."""
        compared = await self._compared_beside(asked, inode, attributes, alone)
        if compared is None:
            async with path_requests.exclusively(self._tree, inode):
                compared = await self._compared_beside(asked, inode, attributes, True)
                assert compared is not None
        return compared

    async def _compared_beside(
        self, asked: Asked, inode: Inode, attributes: Attributes, alone: bool
    ) -> tuple[bool, Attributes] | None:
        """As ``_compared``; None if changes of ours came between, unless we are ``alone``."""

        async def both(path: bytes) -> tuple[Attributes | None, Attributes]:
            if not inode.handles:
                return None, await self._remote.lstat(path)
            handle = inode.handles[0]
            with handle.lent():
                opened = handle.start_fstat()
                named = await self._remote.lstat(path)
                return await opened.wait(), named

        mark = asked.mark
        looks: list[tuple[Attributes, Attributes]] = []
        for _ in range(MOST_LOOKS):
            if len(looks) == LOOKS:
                break
            if not inode.handles and inode.change_mark == mark:
                return leads_to(inode, attributes) is True, attributes
            mark = inode.change_mark
            before = path_requests.mutation_under_way(self._tree, inode)
            try:
                opened, attributes = await path_requests.query(self._tree, both, (asked.parent, asked.name))
            except OSError as problem:
                # If the name has gone as well, nothing can show that what it led to is what is open.
                return problem.errno not in (errno.ESTALE, errno.ENOENT), attributes
            one_kind = opened is not None and opened.kind == attributes.kind
            if opened is not None and not (one_kind and version_changed(opened, attributes)):
                return one_kind, attributes
            if not alone and (before is not None or path_requests.was_mutated(self._tree, inode, mark)):
                return None
            if opened is not None:
                looks.append((opened, attributes))
        return _may_be_one(looks), attributes

    async def changed(
        self, asked: Asked, change: AttributeChange, attributes: Attributes, *, dated: bool = False
    ) -> Inode:
        """A ``change`` of ours, by the path of ``asked``, made ``attributes`` of what is there. Returns its
        inode: a new one if that is another file than the inode asked about.

        ``dated`` as in ``Tree.own_change``.
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
            same, attributes = await self.compare(asked, attributes, expected, alone=True)
        if not same:
            if not self._tree.still_leads(asked):
                raise error(errno.ESTALE, "the name led to another file, and is another's now")
            inode = self._tree.install_answer(asked, attributes, False)
        elif inode.content is not None and change.size is not None:
            inode.content.truncated(attributes)
        elif version_changed(expected, attributes):
            self._tree.refresh(inode, attributes)
        self._tree.own_change(inode, attributes, dated=dated, named=True)
        return inode

    async def verify(self, inode: Inode, *, changing: bool = False, patience: float = inf) -> None:
        """Checks what the names of ``inode`` lead to, before a request that may destroy content or needs the
        newest version. ESTALE makes the kernel look up the name by which it came, which it does not say.

        It looks only where there is doubt, in one round trip; otherwise it does not wait. In doubt are all
        names of a file with several, which are looked at together. With ``changing``, it is also in doubt
        whether an open file still has its name: the kernel may have come by the name, or by what is open.

        ``patience``: seconds to wait until the kernel knows of names that lead elsewhere; SHORT_PATIENCE for
        a request with which the kernel holds a directory or the file. Whoever holds the directory may wait
        for the file, and we would wait for the directory.
        """
        apart = await self._names_apart(inode)
        alone = not inode.aliases and inode.linked and not inode.unnamed
        if not apart and changing and inode.handles and alone:
            apart = await self._renamed_over(inode)
        doubtful = False
        with trio.move_on_after(patience):
            while (notifying := self._tree.notifying(inode)) is not None:
                doubtful = True
                await notifying.wait()
        if apart or doubtful:
            raise error(errno.ESTALE, "the name may lead to another file now")

    async def _renamed_over(self, inode: Inode) -> bool:
        """Whether another file has the name of an open one. That file then has its own inode."""
        assert inode.parent is not None
        asked = self._tree.asked(inode.parent, inode.name)
        same, now = await self._compared(asked, inode, inode.attributes)
        if not same and self._tree.still_leads(asked):
            self._tree.install_answer(asked, now, False)
        return not same

    async def _names_apart(self, inode: Inode) -> bool:
        """Whether a name of several was found to lead elsewhere. It then does so here, too.

        If somebody else found it meanwhile, the other names have an inode of their own by now. They are
        looked at as well: the kernel looks up the name by which it came only once more.
        """
        if not inode.aliases:
            return False
        names = inode.names()
        apart = await self._looked_at(inode)
        if not apart and not inode.linked:
            for heir in dict.fromkeys(self._tree.asked(parent, name).inode for parent, name in names):
                if heir is not None and heir.aliases:
                    await self._looked_at(heir)
        return apart

    async def _looked_at(self, inode: Inode) -> bool:
        """Whether a look at all its names finds one that leads elsewhere."""
        apart = await self._look_at_names(inode, alone=False)
        if apart is None:
            # Otherwise programs here that change it without a pause would make us look for ever.
            async with path_requests.exclusively(self._tree, inode):
                while apart is None:
                    apart = await self._look_at_names(inode, alone=True)
        return apart

    async def _look_at_names(self, inode: Inode, *, alone: bool) -> bool | None:
        """As ``_names_apart``, by one look at each name; None if a change of ours came between. If we are
        ``alone``, an open handle shows what is written meanwhile."""
        tree = self._tree
        while not alone and (changed := path_requests.mutation_under_way(tree, inode)) is not None:
            await changed.wait()
        for parent, name in inode.names():
            assert parent.directory is not None
            changing = parent.directory.changing.get(name)
            if changing is not None:
                await changing.wait()
        asked = [tree.asked(parent, name) for parent, name in inode.names()]
        names = [(one.parent, one.name) for one in asked]
        answers = await path_requests.query(tree, lambda *paths: self._remote.lstat_many(paths), *names)
        overtaken = any(map(tree.is_stale, asked))
        if not alone and (overtaken or path_requests.mutation_under_way(tree, inode)):
            return None
        if not all(map(tree.still_leads, asked)) or (overtaken and not inode.handles):
            return None
        apart = False
        for one, answer in zip(asked, answers, strict=True):
            if isinstance(answer, Attributes):
                same, now = await self.compare(one, answer, alone=alone)
                if same and not tree.is_stale(one):  # else what we have written since is newer
                    same = tree.install_answer(one, now, True) is inode
                elif not same and tree.still_leads(one):
                    tree.install_answer(one, now, False)
            elif answer.errno in GONE:
                same = False
                if tree.still_leads(one):
                    tree.install_absence(one.parent, one.name)
            else:
                raise answer
            apart = apart or not same
        return apart


async def is_same_file(
    inode: Inode,
    opened: RemoteFile,
    known: Attributes,
    attributes: Attributes,
    look: Callable[[], Awaitable[Attributes]] | None,
) -> tuple[bool, Attributes]:
    """Whether what was opened is the file that ``inode`` stands for, and what it has now.

    ``attributes`` came with the OPEN by name. If they are of a version not ``known``, they may be those of a
    file that was renamed over it in between, or of the target of a link that is there now. Two handles on one
    file have the same attributes, unless the file is growing. If nothing is open, ``look`` asks for what has
    the name; None for a file that the OPEN has emptied.
    """
    if not version_changed(known, attributes) or (look is None and not inode.handles):
        return True, attributes
    looks: list[tuple[Attributes, Attributes]] = []
    while len(looks) < LOOKS:
        handle = inode.handles[0] if inode.handles else None
        fstat = opened.start_fstat()
        beside = handle.fstat() if handle is not None else look() if look is not None else None
        try:
            other = await beside if beside is not None else None
        except OSError as problem:
            attributes = await fstat.wait()
            if handle is None:
                return False, attributes
            # Lost for good: nothing is read through that handle any more. ESTALE: it is another file.
            return problem.errno != errno.ESTALE, attributes
        attributes = await fstat.wait()
        if other is None or (other.kind == attributes.kind and not version_changed(attributes, other)):
            return leads_to(inode, attributes) is not False or look is None, attributes
        looks.append((attributes, other))
        if handle is None:
            attributes = other
    return _may_be_one(looks), attributes


def _may_be_one(looks: list[tuple[Attributes, Attributes]]) -> bool:
    """Whether what differed at each of these ``looks`` may be one file that is being written. Each look was
    answered before the next was sent. What writes make of size and time does not go back, so at each look
    either is between what the other was at the looks before and after."""
    ones, others = [one for one, _ in looks], [other for _, other in looks]
    return _between(ones, others) and _between(others, ones)


def _between(ones: list[Attributes], beside: list[Attributes]) -> bool:
    return all(
        now.kind == before.kind
        and before.size <= now.size <= after.size
        and before.mtime <= now.mtime <= after.mtime
        for before, now, after in zip(ones, beside[1:], ones[2:], strict=False)
    )
