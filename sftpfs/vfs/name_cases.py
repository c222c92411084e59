"""Names that differ in case alone: one file or two, which SFTP does not tell.

Owns what is asked where a listing has a name in another case than the one looked for. Used by
``vfs.resolver`` only. Pure but for what it tells ``remote``.
"""

from __future__ import annotations

from sftpfs.remote.api import Remote
from sftpfs.types import Attributes
from sftpfs.vfs.inodes import Directory, Inode

FEW = 32
"""Names of a directory that are all compared; of a larger one those in upper, lower and swapped case."""


class NameCases:
    """See the module."""

    __slots__ = ("_remote",)

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def doubtful(self, directory: Directory, name: bytes) -> bool:
        """Whether ``name``, which is missing as far as a listing tells, may be there in another case."""
        apart = self._remote.keeps_case_apart
        return not apart if apart is not None else _in_another_case(directory, name) is not None

    def answered(self, directory: Directory, name: bytes, found: Attributes | None) -> None:
        """The server was asked for ``name``, and told of what it leads to."""
        if self._remote.keeps_case_apart is not None:
            return
        other = _in_another_case(directory, name)
        if other is None:
            return
        if found is None:
            self._remote.case_seen(apart=True)
        elif found._replace(atime=0) == other.attributes._replace(atime=0):
            self._remote.case_seen(apart=False)
            directory.complete_until = directory.absent_until = 0.0


def _in_another_case(directory: Directory, name: bytes) -> Inode | None:
    """What has ``name`` in another case, as far as is known."""
    children = directory.children
    if name in children:
        return None
    folded = name.lower()
    if len(children) <= FEW:
        return next((child for other, child in children.items() if other.lower() == folded), None)
    for variant in (folded, name.upper(), name.swapcase(), name.capitalize()):
        child = children.get(variant)
        if child is not None and variant != name:
            return child
    return None
