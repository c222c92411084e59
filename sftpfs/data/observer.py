"""What ``data`` reports, of attributes and of lost data, to those who keep them: ``vfs`` and the mount.

Below everything else here: pure declarations.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from sftpfs.types import Attributes, Buffer


class LostBytes(NamedTuple):
    """Bytes that a program wrote, and that will not be on the server."""

    incident: int
    """The same for everything that one file loses until it is clean again, and for nothing else. What was
    appended has another one than what has an offset, and a further one if two such pieces would have one
    place."""
    offset: int
    data: Buffer
    """Does not change any more."""
    failure: OSError
    appended: bool
    """Written to the end, wherever that would have been; ``offset`` is where we assumed it to be."""


class ContentObserver(Protocol):
    """Learns when a file's writes are on the server."""

    def content_settled(self, number: int, attributes: Attributes) -> None:
        """``attributes`` are the server's own, after all our writes to inode ``number``."""

    def content_reported(self, number: int, attributes: Attributes) -> None:
        """``attributes`` are the server's own of inode ``number``, beneath what is not there yet."""

    def content_unknown(self, number: int) -> None:
        """Writes to inode ``number`` failed, and the attributes last reported for it are from before them."""

    def content_lost(self, number: int, lost: LostBytes) -> None:
        """Inode ``number`` loses bytes for good. Their writer was or will be told of the error."""

    def content_remains(self, incident: int, ranges: list[tuple[int, int]]) -> None:
        """Of what was lost as ``incident`` (``LostBytes``) only ``ranges`` are still missing: the rest was
        written again, or cut off."""

    def content_left(self, incidents: list[int], attributes: Attributes | None) -> None:
        """The file that lost ``incidents`` is ``attributes`` now, with all that was written to it; None if
        the server could not be asked."""

    def content_unreported(self, number: int, failure: OSError) -> None:
        """A write of inode ``number`` failed for good, and no program that surely listened was told."""

    def content_made_good(self, number: int) -> None:
        """All that inode ``number`` had lost is on the server after all, or belongs to it no longer."""

    def content_outdated(self, number: int, attributes: Attributes) -> None:
        """A read found inode ``number`` changed on the server: it has ``attributes`` now."""
