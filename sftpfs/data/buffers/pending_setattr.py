"""Changes of mode and times that wait to travel with the writes of their file.

Pure: merges the changes, says what stat is to show, sends nothing. Owned by the writer of one file.
"""

from __future__ import annotations

from dataclasses import replace

from sftpfs.types import AttributeChange, Attributes


class PendingSetattr:
    """The changes since the file was last clean, and those of them that are still to be sent.

    INVARIANT: a size or an owner is never deferred; atime comes with mtime.
    INVARIANT: ``pending`` is part of ``effective``.
    """

    __slots__ = ("demanded", "effective", "pending")

    def __init__(self) -> None:
        self.pending: AttributeChange | None = None
        """Not sent yet."""
        self.effective: AttributeChange | None = None
        """Everything since the file was clean, sent or not. It takes precedence over what the server
        reports."""
        self.demanded = False
        """A program asked for some of ``pending``, and must hear if it fails."""

    @property
    def times(self) -> bool:
        """Times are still to be sent: no write that was made after them may go before them."""
        return self.pending is not None and self.pending.mtime is not None

    def add(self, change: AttributeChange, demanded: bool) -> None:
        """``change`` is requested; what it sets replaces what was requested before."""
        self.pending = _merged(self.pending, change)
        self.effective = _merged(self.effective, change)
        self.demanded = self.demanded or demanded

    def take(self) -> AttributeChange:
        """What is pending, now sent. Only if something is."""
        change = self.pending
        assert change is not None
        self.pending = None
        self.demanded = False
        return change

    def clear(self) -> None:
        """The file is clean: the server's attributes count."""
        self.pending = self.effective = None
        self.demanded = False

    def apply_to(self, attributes: Attributes) -> Attributes:
        """``attributes``, as the server reports them, with every requested change laid over."""
        return attributes if self.effective is None else changed(attributes, self.effective)


def changed(attributes: Attributes, change: AttributeChange) -> Attributes:
    """``attributes`` after a ``change`` of mode and times."""
    if change.mode is not None:
        attributes = attributes._replace(mode=attributes.kind | change.mode)
    if change.atime is not None and change.mtime is not None:
        attributes = attributes._replace(atime=change.atime, mtime=change.mtime)
    return attributes


def _merged(earlier: AttributeChange | None, later: AttributeChange) -> AttributeChange:
    if earlier is None:
        return later
    if later.mode is not None:
        earlier = replace(earlier, mode=later.mode)
    if later.mtime is not None:
        earlier = replace(earlier, atime=later.atime, mtime=later.mtime)
    return earlier
