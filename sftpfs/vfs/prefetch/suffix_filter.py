"""Kinds of files, told by the ends of their names: which ones a reader opens, and which ones it leaves out.

Pure. Owned by ``vfs.prefetch.small_files``.
"""

from __future__ import annotations

from sftpfs.vfs.tree.inode import Inode

KINDS = 32
"""Kinds of names remembered; more than one tree has."""

MOST_TRIED = 4
"""Files of a kind fetched before the first of them is opened: as many as a first window has."""

KIND_MEMORY = 64
"""Files of one kind after which the older half of what was seen of it is forgotten."""


class SuffixFilter:
    """Which kinds of files a reader opens, and which it leaves out.

    ``_seen``: by kind, how many were opened, left out, and fetched before any was opened.
    INVARIANT: ``_unwanted`` holds the kinds of ``_seen`` left out mostly (a few may be chance),
    or fetched often enough for nothing.
    """

    __slots__ = ("_seen", "_unwanted")

    def __init__(self) -> None:
        self._seen: dict[bytes, list[int]] = {}
        self._unwanted: set[bytes] = set()

    def opened(self, inode: Inode) -> None:
        """One of this kind was opened."""
        self._count(inode, 0)

    def passed(self, inode: Inode) -> None:
        """One of this kind was left out."""
        self._count(inode, 1)

    def fetched(self, inode: Inode) -> None:
        """One of this kind is being fetched."""
        self._count(inode, 2)

    def unwanted(self, inode: Inode) -> bool:
        """Whether a file like this is not worth fetching."""
        return bool(self._unwanted) and _kind(inode) in self._unwanted

    def _count(self, inode: Inode, which: int) -> None:
        kind = _kind(inode)
        seen = self._seen.get(kind)
        if seen is None:
            seen = self._seen[kind] = [0, 0, 0]
            if len(self._seen) > KINDS:
                oldest = next(iter(self._seen))
                del self._seen[oldest]
                self._unwanted.discard(oldest)
        seen[which] += 1
        if seen[0] + seen[1] >= KIND_MEMORY:
            seen[0] //= 2
            seen[1] //= 2
        if seen[1] > 2 * seen[0] + 1 or (not seen[0] and seen[2] >= MOST_TRIED):
            self._unwanted.add(kind)
        elif self._unwanted:
            self._unwanted.discard(kind)


def _kind(inode: Inode) -> bytes:
    """The end of the name from its last dot; nothing where there is none."""
    name = inode.name
    dot = name.rfind(b".")
    return name[dot:] if dot > 0 else b""
