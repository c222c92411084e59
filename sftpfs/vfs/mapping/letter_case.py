"""Names that differ only in case: whether they are one file or two, which SFTP does not say.

Owns how that is found out, and by which name a file is known here that programs call by another. A name is
kept as a listing has it. If the server takes cases for one, the other names lead to the same inode and are
kept nowhere. The kernel then has no lease on any name, because it does not know what else ends with one that
it changes. Used by ``vfs.resolver`` and ``vfs.namespace``.
"""

from __future__ import annotations

from sftpfs.remote.api import Remote
from sftpfs.types import Attributes
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import Directory, Inode
from sftpfs.vfs.tree.tree import Tree

FEW = 32
"""Up to this many names of a directory are all compared to find out whether one may be meant. In a larger
directory only the name in upper, lower and swapped case is looked for."""


class LetterCase:
    """See the module."""

    __slots__ = ("_remote", "_tree", "folded")

    def __init__(self, tree: Tree, remote: Remote) -> None:
        self._tree = tree
        self._remote = remote
        self.folded = remote.keeps_case_apart is False
        """Whether names that differ only in case are known to be one."""

    def may_differ_in_case(self, directory: Directory, name: bytes) -> bool:
        """Whether ``name``, which is missing as far as a listing tells, may exist in another case."""
        apart = self._remote.keeps_case_apart
        return not apart if apart is not None else _in_another_case(directory, name) is not None

    def known_name(self, directory: Directory | None, name: bytes) -> bytes:
        """The name by which the target of ``name`` is known here. It is another one only if cases are one and
        the last listing has it in another case. Only ASCII letters count: which others a server takes for one
        is its own affair."""
        if directory is None or name in directory.children or not self.folded:
            return name
        if not directory.complete(0.0):
            return name
        wanted, length = name.lower(), len(name)
        same = (one for one in directory.children if len(one) == length and one.lower() == wanted)
        return next(same, name)

    async def answered(self, parent: Inode, name: bytes, found: Attributes | None) -> bool:
        """The server answered for ``name``. If what it leads to looks like what has the name in another case,
        a listing and one more look show whether it is: three waits, until one was proof. Returns True if
        cases were found to be one; then ``name`` must be asked for anew."""
        if self._remote.keeps_case_apart is not None or parent.directory is None:
            return False
        other = _in_another_case(parent.directory, name)
        if other is None:
            return False
        if found is None:
            self._remote.case_seen(apart=True)
        elif _alike(found, parent.directory.children[other].attributes):
            await self._prove(parent, name, other, found)
        return self.folded

    async def _prove(self, parent: Inode, name: bytes, other: bytes, found: Attributes) -> None:
        """A name that exists before a listing and after it, and is not in it, is in it in another case."""
        try:
            listing = await path_requests.query(self._tree, self._remote.list_directory, parent)
            again = await path_requests.query(self._tree, self._remote.lstat, (parent, name))
        except OSError:
            return
        names = {entry.name for entry in listing.entries}
        if name in names:
            self._remote.case_seen(apart=True)
        elif other in names and _alike(again, found):
            self._remote.case_seen(apart=False)
            self.folded = True
            self._tree.notify_kernel(self._tree.names_held(), [])  # with leases that are given no more


def _alike(one: Attributes, other: Attributes) -> bool:
    return one._replace(atime=0, nlink=0) == other._replace(atime=0, nlink=0)


def _in_another_case(directory: Directory, name: bytes) -> bytes | None:
    """The name by which ``name`` is known in another case, as far as that is known."""
    children = directory.children
    if name in children:
        return None
    folded = name.lower()
    if len(children) <= FEW:
        return next((other for other in children if other.lower() == folded), None)
    variants = (folded, name.upper(), name.swapcase(), name.capitalize())
    return next((variant for variant in variants if variant != name and variant in children), None)
