"""A branch: what is known of the removal of one directory. Plain state, which ``vfs.tree_remove.removal``
changes.
"""

from __future__ import annotations

from sftpfs.types import PartialListing
from sftpfs.vfs.tree.inode import Inode


class Branch:
    """A directory called ``name`` in that of ``above``. The directory that a removal was asked in is the
    branch without one above: it stays.

    ``waiting`` counts what the present round named and is not settled, and its listing; ``gone`` how much of
    it we removed; ``missed`` is True if others removed some of it. ``barren`` counts the rounds, one after
    the other, in which nothing was left for us. ``exhausted`` is True in the last round: there is no more
    than it named. ``shrank`` is True once names went. ``failed`` holds the names that could not be removed;
    ``problem`` says why the directory could not be listed.

    INVARIANT: what is above a branch with ``failed`` names stays, too, and nobody tries to remove it.
    """

    __slots__ = (
        "above",
        "barren",
        "exhausted",
        "failed",
        "gone",
        "inode",
        "missed",
        "name",
        "part",
        "problem",
        "shrank",
        "target",
        "waiting",
    )

    def __init__(self, above: Branch | None, name: bytes, target: int, inode: Inode | None = None) -> None:
        self.above = above
        self.name = name
        self.target = target
        """Which of the paths asked for this belongs to."""
        self.inode = inode
        self.part: PartialListing | None = None
        self.problem: OSError | None = None
        self.waiting = 1
        self.exhausted = False
        self.gone = 0
        self.missed = False
        self.barren = 0
        self.shrank = False
        self.failed: set[bytes] = set()

    def path(self, name: bytes = b"") -> bytes:
        """The path of ``name`` in it, below what was asked for: empty for that itself."""
        names = [name] if name else []
        at = self
        while at.above is not None:
            names.append(at.name)
            at = at.above
        return b"/".join(reversed(names[:-1]))
