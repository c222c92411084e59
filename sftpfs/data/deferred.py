"""Changes of mode and times that wait to travel with the writes of their file.

Pure: merges what is asked for, tells what stat is to show, sends nothing. Owned by the
writer of one file.
"""

from __future__ import annotations

from dataclasses import replace

from sftpfs.types import AttributeChange, Attributes


class DeferredChange:
    """What was asked for since the file was last clean, and what of it is still to be sent.

    INVARIANT: a size or an owner is never deferred; atime comes with mtime.
    INVARIANT: ``pending`` is part of ``shown``.
    """

    __slots__ = ("demanded", "pending", "shown")

    def __init__(self) -> None:
        self.pending: AttributeChange | None = None
        """Not sent yet."""
        self.shown: AttributeChange | None = None
        """Everything since the file was clean, sent or not: rules over what the server tells."""
        self.demanded = False
        """A program asked for some of ``pending``, and must hear if it fails."""

    @property
    def times(self) -> bool:
        """Times are still to be sent: no write may go before them that was made after them."""
        return self.pending is not None and self.pending.mtime is not None

    def add(self, change: AttributeChange, demanded: bool) -> None:
        """``change`` is asked for; what it names replaces what was asked for before."""
        self.pending = _merged(self.pending, change)
        self.shown = _merged(self.shown, change)
        self.demanded = self.demanded or demanded

    def take(self) -> AttributeChange:
        """What is pending, now sent. Only where something is."""
        change = self.pending
        assert change is not None
        self.pending = None
        self.demanded = False
        return change

    def clear(self) -> None:
        """The file is clean: the server's attributes rule."""
        self.pending = self.shown = None
        self.demanded = False

    def over(self, attributes: Attributes) -> Attributes:
        """``attributes``, as the server tells them, with everything asked for laid over."""
        return attributes if self.shown is None else changed(attributes, self.shown)


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
