"""One removal, from its paths to its end.

Everything is in rounds: a directory is listed up to ``ROUND`` names, these are removed, many at once and with
those of other directories, what is in subdirectories before those; then the directory itself goes, or is
listed again if there was more. So a name is removed only after it was listed, as rm(1) does it, the memory is
bounded however many names there are, and no directory of the server's is read while names go from it.

A session's loss that outlives the deadline ends the removal: every further request would wait as long.
"""

from __future__ import annotations

import errno
import stat
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import trio

from sftpfs import operation
from sftpfs.errors import SessionLostError, error
from sftpfs.remote.api import Remote
from sftpfs.types import Attributes, PartialListing
from sftpfs.vfs.namespace import Namespace, Removed
from sftpfs.vfs.resolver import Resolver
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.tree import Tree
from sftpfs.vfs.tree_remove.branch import Branch
from sftpfs.vfs.tree_remove.news import News
from sftpfs.vfs.tree_remove.vanished import Vanished

UNDER_WAY = 256
"""Removals under way at once: 12,800 names a second at a round trip of 20 ms. Whatever else is asked of the
server stands behind them: 10 ms at the 40 µs that a local file system takes for one."""

LISTINGS_TOGETHER = 32
"""Directories listed at once: a tree of 55, as many projects are, takes as many waits as it is deep, and
two."""

LISTED_AHEAD = 4 * UNDER_WAY
"""Names that wait for their removal, at which no further directory is listed."""

ROUND = 4000
"""Names of a directory listed before they are removed: about 1 MB here. Listing those after them costs a few
waits more, as many as removing some hundred names."""

MOST_FAILED = 100_000
"""Names in one directory that could not be removed, at which it is given up: they are remembered, and listed
again in each further round."""

MOST_BARREN = 4
"""Rounds of a directory, one after the other, of which others removed everything before it was done here. A
server that always lists what it cannot find has no end."""

MEANINGLESS = frozenset({errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EIO})
"""Errors of RMDIR of a directory that could not be listed, where the reason for that says more. (EIO: whether
it is empty could not be seen either.)"""


@dataclass(slots=True)
class Order:
    """What is wanted."""

    recursive: bool = False
    empty_directories: bool = False
    """Also without ``recursive``."""
    ignore_missing: bool = False
    """ENOENT is no failure."""
    kept: set[tuple[int, bytes]] = field(default_factory=set)
    """Names (directory's inode number, name) on which something is mounted: EBUSY."""


class Job(NamedTuple):
    """A name to be removed that is not a branch, or an ``emptied`` branch."""

    branch: Branch
    """The directory that the name is in; the emptied branch itself."""
    name: bytes
    listed: Attributes | None
    emptied: bool = False


class Removal:
    """See the module. Good for one ``run``.

    INVARIANT: each branch with an inode is in ``_opened`` until it is settled: what is known of its names is
    not evicted meanwhile."""

    def __init__(
        self,
        tree: Tree,
        remote: Remote,
        namespace: Namespace,
        resolver: Resolver,
        order: Order,
        news: News,
        vanished: Vanished,
    ) -> None:
        self._tree = tree
        self._remote = remote
        self._namespace = namespace
        self._resolver = resolver
        self._order = order
        self._news = news
        self._vanished = vanished
        self._jobs: deque[Job] = deque()
        self._branches: list[Branch] = []
        """Branches to be listed, the last one first: what is deep is done before more is begun."""
        self._idle = trio.lowlevel.ParkingLot()
        self._workers = self._busy = self._listing = 0
        self._opened: dict[int, Inode] = {}
        self.changed: list[Inode] = []
        """What stays and lost names: directories, and files that have others."""

    async def run(self, targets: list[tuple[int, Inode, bytes]]) -> None:
        """Removes ``targets``: the number of each, a directory, and a name in it. What failed is in the
        news."""
        try:
            async with trio.open_nursery() as self._nursery:
                for number, parent, name in targets:
                    self._open(parent)
                    self._jobs.append(Job(Branch(None, b"", number, parent), name, None))
                self._go_on()
        finally:
            for inode in self._opened.values():
                self._tree.directory_closed(inode)

    def _open(self, inode: Inode) -> None:
        if inode.number not in self._opened:
            self._opened[inode.number] = inode
            self._tree.directory_opened(inode)

    def _go_on(self) -> None:
        """Begins whatever can be begun, or ends the whole."""
        if self._news.stopped is not None:
            self._jobs.clear()
            self._branches.clear()
        if not (self._jobs or self._branches or self._busy or self._listing):
            self._nursery.cancel_scope.cancel()
            return
        while self._branches and self._listing < LISTINGS_TOGETHER and len(self._jobs) < LISTED_AHEAD:
            self._listing += 1
            self._nursery.start_soon(self._list, self._branches.pop())
        if self._jobs:
            wanted = len(self._jobs) - len(self._idle)
            self._idle.unpark(count=len(self._jobs))
            for _ in range(min(wanted, UNDER_WAY - self._workers)):
                self._workers += 1
                self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            while not self._jobs:
                await self._idle.park()
            job = self._jobs.popleft()
            self._busy += 1
            await self._vanished.room()
            await self._news.room()
            await self._carry_out(job)
            self._busy -= 1
            self._go_on()

    async def _carry_out(self, job: Job) -> None:
        operation.begin()
        branch, name = job.branch, job.name
        assert branch.inode is not None or job.emptied
        try:
            if job.emptied:
                await self._remove_emptied(branch)
            elif branch.above is None:
                await self._begin(branch, name)
            else:
                assert branch.inode is not None
                removed = await self._namespace.unlink_beside(branch.inode, name, job.listed)
                self._went(branch, removed, name, directory=False)
        except OSError as problem:
            self._failed(branch, name, problem)

    async def _begin(self, root: Branch, name: bytes) -> None:
        """``name`` was asked for. Raises OSError if it is not even tried."""
        parent, order = root.inode, self._order
        assert parent is not None
        inode = await self._resolver.lookup(parent, name)
        if inode is None:
            raise error(errno.ENOENT)
        if (parent.number, name) in order.kept:
            raise error(errno.EBUSY)
        if inode.directory is None:
            removed = await self._namespace.unlink_beside(parent, name, None)
            self._went(root, removed, name, directory=False)
        elif order.recursive:
            self._branches.append(Branch(root, name, root.target))
        elif order.empty_directories:
            removed = await self._namespace.rmdir_beside(parent, name)
            self._went(root, removed, name, directory=True)
        else:
            raise error(errno.EISDIR)

    # -- a branch ------------------------------------------------------------------------

    async def _list(self, branch: Branch) -> None:
        """One round's listing: what it names becomes work."""
        await self._read(branch)
        self._listing -= 1
        part, branch.part = branch.part, None
        assert branch.above is not None
        if isinstance(branch.problem, SessionLostError):
            self._failed(branch.above, branch.name, branch.problem)
        else:
            if branch.problem is None:
                assert part is not None and branch.inode is not None
                self._take(branch, branch.inode, part)
            self._settled(branch)
        self._go_on()

    async def _read(self, branch: Branch) -> None:
        """Its next names and, the first time, its inode; or why there are none."""
        operation.begin()
        assert branch.above is not None and branch.above.inode is not None
        parent, name = branch.above.inode, branch.name

        async def ask(path: bytes) -> PartialListing:
            return await self._remote.list_part(path, ROUND, branch.failed)

        async def listed() -> Attributes:
            branch.part = await path_requests.query(self._tree, ask, (parent, name))
            if not stat.S_ISDIR(branch.part.attributes.mode):
                self._tree.distrust(parent, name)
                raise error(errno.ENOTDIR)
            return branch.part.attributes

        try:
            if branch.inode is not None:
                await listed()
                return
            found = await self._resolver.lookup_with(parent, name, listed)
            if found is None or found.directory is None:  # it was changed here meanwhile
                raise error(errno.ENOENT if found is None else errno.ENOTDIR)
            self._open(found)
            branch.inode = found
        except OSError as problem:
            branch.problem = problem

    def _take(self, branch: Branch, inode: Inode, part: PartialListing) -> None:
        branch.gone = 0
        branch.missed = False
        branch.exhausted = part.complete
        branch.waiting += len(part.entries)
        directories: list[Branch] = []
        for name, attributes in part.entries:
            if (inode.number, name) in self._order.kept:
                self._failed(branch, name, error(errno.EBUSY))
            elif attributes is not None and stat.S_ISDIR(attributes.mode):
                directories.append(Branch(branch, name, branch.target))
            else:
                self._jobs.append(Job(branch, name, attributes))
        self._branches += reversed(directories)

    async def _remove_emptied(self, branch: Branch) -> None:
        """RMDIR of a branch of which nothing is left, or that could not be listed. Raises nothing."""
        assert branch.above is not None and branch.above.inode is not None
        try:
            removed = await self._namespace.rmdir_beside(branch.above.inode, branch.name)
        except OSError as problem:
            unexplained = problem.errno in MEANINGLESS and not isinstance(problem, SessionLostError)
            if branch.problem is not None and unexplained:
                problem = branch.problem
            self._close(branch)
            self._failed(branch.above, branch.name, problem)
        else:
            self._close(branch)
            self._went(branch.above, removed, branch.name, directory=True)

    def _close(self, branch: Branch) -> None:
        """Nothing more is done in it."""
        if branch.inode is not None and self._opened.pop(branch.inode.number, None) is not None:
            self._tree.directory_closed(branch.inode)

    # -- what came of it ----------------------------------------------------------------

    def _went(self, branch: Branch, removed: Removed, name: bytes, *, directory: bool) -> None:
        """``name`` in ``branch`` was removed."""
        assert branch.inode is not None
        self._vanished.add(branch.inode, removed)
        if removed.inode is not None and removed.inode.linked:
            self.changed.append(removed.inode)
        path = branch.path(name) if self._news.verbose else b""
        self._news.went(branch.target, path, directory=directory)
        branch.gone += 1
        branch.shrank = True
        self._settled(branch)

    def _failed(self, branch: Branch, name: bytes, problem: OSError) -> None:
        """``name`` in ``branch`` could not be removed."""
        if problem.errno == errno.ENOENT and branch.inode is not None:
            self._vanished.add(branch.inode, Removed(name, None))  # others removed it: the kernel may hold it
        if problem.errno == errno.ENOENT and self._order.ignore_missing:
            branch.missed = True  # somebody else removes here, too
            self._settled(branch)
            return
        if isinstance(problem, SessionLostError) and self._news.stopped is None:
            self._news.stopped = problem
        self._news.failed(branch.target, branch.path(name), problem)
        branch.failed.add(name)
        self._settled(branch)

    def _settled(self, branch: Branch) -> None:
        """One thing less is waited for in ``branch``."""
        at: Branch | None = branch
        while at is not None:  # a tree may be deeper than Python calls
            at.waiting -= 1
            if at.waiting or self._news.stopped is not None:
                return
            at = self._next(at)

    def _next(self, branch: Branch) -> Branch | None:
        """What follows a round of ``branch``. If the branch stays, what it is in, which stays as well and
        needs no further word: it is settled there."""
        if (
            branch.above is not None
            and not branch.failed
            and (branch.exhausted or branch.problem is not None)
        ):
            self._jobs.appendleft(Job(branch, b"", None, emptied=True))
            return None
        complete = branch.exhausted or branch.above is None
        branch.barren = 0 if branch.gone else branch.barren + 1
        goes_on = branch.gone or (branch.missed and branch.barren <= MOST_BARREN)
        if not complete and goes_on and len(branch.failed) < MOST_FAILED:
            branch.waiting = 1
            self._branches.append(branch)
            return None
        if not complete:
            given_up = f"{len(branch.failed)} names in it cannot be removed; there are more, not tried"
            self._news.failed(branch.target, branch.path(), OSError(0, given_up))
        if branch.shrank and branch.inode is not None:
            self.changed.append(branch.inode)
        if branch.above is not None:
            self._close(branch)
            branch.above.failed.add(branch.name)
        return branch.above
