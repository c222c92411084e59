"""Counters: why names and listings had to be asked of the server although the tree has a memory.

Policy without waiting: whoever is about to ask says what about, and the state of the tree says why. Counts
nothing if memory answers.
"""

from __future__ import annotations

from sftpfs.vfs.tree.inode import Directory, Inode
from sftpfs.vfs.tree.tree import Tree

REASONS = ("new", "expired", "doubted", "uncached")
"""new: never known, or forgotten. expired: known, and its lease has ended. doubted: known, and not believed
since a change, a refresh, a look that found another file, or since some of its names were forgotten.
uncached: not kept, because of an option."""


class MissCounts:
    """Of names, or of listings."""

    __slots__ = ("_tree", "counts")

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.counts = dict.fromkeys(REASONS, 0)
        """Reason → how often."""

    def name(self, parent: Inode, directory: Directory, name: bytes) -> None:
        """The server is asked for ``name`` and its attributes."""
        policy, found = self._tree.policy, directory.children.get(name)
        if found is not None:
            reason = "uncached" if not policy.attribute else "expired" if found.expires > 0.0 else "doubted"
        elif name in directory.unknown:
            reason = "doubted"
        elif directory.absent_until > 0.0 or self._tree.negatives.expires(parent.number, name) > 0.0:
            reason = "expired" if policy.negative else "uncached"
        else:
            reason = "new"
        self.counts[reason] += 1

    def listing(self, directory: Directory) -> None:
        """The server is asked for the listing of ``directory``, for a program."""
        if not self._tree.policy.directory:
            reason = "uncached"
        elif directory.unknown:
            reason = "doubted"
        elif directory.complete_until > 0.0:
            reason = "expired"
        else:
            reason = "doubted" if directory.listed is not None else "new"
        self.counts[reason] += 1
