"""What is known of an open file's version, so that it can be told from another of its name.

Pure. Owned by ``remote.file``, which says what was sent, answered and told;
``remote.reopening`` asks whether what a path leads to now is the same file.

SFTP v3 has no inode numbers. A file is taken for the one that was open where
- its type is the same, and
- nothing of ours was under way: its size and mtime are what was last told;
- otherwise its size is between what was acknowledged and what was sent, and its
  mtime no older than the last one told: each of our writes moves it forward.
What cannot be told apart by that is taken for the same: a file that was replaced by
another of equal size within the second, which close-to-open cannot tell either.
"""

from __future__ import annotations

from sftpfs import clock
from sftpfs.types import AttributeChange, Attributes


class KnownVersion:
    """See the module.

    INVARIANT: ``least`` ≤ ``most``; both are the size where ``exact``.
    """

    __slots__ = ("changed", "changes", "exact", "kind", "known_at", "least", "most", "mtime")

    def __init__(self, attributes: Attributes) -> None:
        self.kind = attributes.kind
        self.least = self.most = attributes.size
        self.mtime = attributes.mtime
        """No older one can be this file's."""
        self.exact = True
        """Size and mtime are as told, with no change of ours since."""
        self.known_at = clock.awake()
        """When the server last told or acknowledged something, by ``clock.awake``."""
        self.changes = 0
        """Changes of ours sent so far: an answer is up to date if none was sent since its question."""
        self.changed = False
        """This file was changed through us at some time."""

    def told(self, attributes: Attributes) -> None:
        """The server's attributes from after every change of ours."""
        self.least = self.most = attributes.size
        self.mtime = attributes.mtime
        self.exact = True
        self.known_at = clock.awake()

    def adopt(self, other: KnownVersion) -> None:
        """Another of our handles on the same file changed it: what it knew last holds, if it is newer."""
        if other.known_at > self.known_at:
            self.least, self.most = other.least, other.most
            self.mtime, self.exact = other.mtime, other.exact
            self.known_at = other.known_at
            self.changes += 1

    def extended(self, length: int) -> None:
        """Another of our handles on the same file appended ``length`` bytes."""
        self.least += length
        self.most += length
        self.exact = False
        self.changes += 1

    def resized(self, size: int, cut: bool) -> None:
        """Another of our handles on the same file wrote up to ``size``, or (``cut``) set just that size."""
        if cut or size > self.least:
            self.least = size
            self.most = size if cut else max(self.most, size)
            self.exact = False
            self.changes += 1

    def writing(self, end: int) -> None:
        """A write up to ``end`` is sent."""
        self._changing()
        if end > self.most:
            self.most = end

    def wrote(self, end: int) -> None:
        """A write up to ``end`` was acknowledged."""
        if end > self.least:
            self.least = min(end, self.most)
        self.known_at = clock.awake()

    def appending(self, length: int) -> None:
        """``length`` more bytes are sent, to go to the end."""
        self._changing()
        self.most += length

    def appended(self, length: int) -> None:
        """``length`` bytes sent before are at the end."""
        self.least = min(self.least + length, self.most)
        self.known_at = clock.awake()

    def setting(self, change: AttributeChange) -> None:
        """FSETSTAT is sent."""
        self._changing()
        if change.size is not None:
            self.least, self.most = min(self.least, change.size), max(self.most, change.size)
        if change.mtime is not None:
            self.mtime = min(self.mtime, change.mtime)

    def _changing(self) -> None:
        self.changes += 1
        self.changed = True
        self.exact = False

    def accepts(self, attributes: Attributes) -> bool:
        """Whether a file with ``attributes`` can be this one."""
        if attributes.kind != self.kind or not self.least <= attributes.size <= self.most:
            return False
        return attributes.mtime == self.mtime if self.exact else attributes.mtime >= self.mtime
