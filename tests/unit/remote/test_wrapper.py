"""What stands before the server passes on all there is, and what converts names misses none."""

from __future__ import annotations

import inspect

import pytest
import trio

from sftpfs.remote.api import Remote
from sftpfs.remote.iconv_names import ConvertedRemote
from sftpfs.remote.wrapper import InFront, converted
from sftpfs.types import Attributes, DirectoryEntry, Listing, ListingPart

LISTED = Attributes(0o40755, 4096, 0, 0, 1, 1)

OF_NAMES = ("path", "paths", "old", "new", "existing", "source", "destination", "near", "at", "current_path")
"""Parameters of ``Remote`` that are names, or lead to some."""


def members(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_everything_is_passed_on() -> None:
    assert members(InFront) == members(Remote)


def test_every_method_with_names_converts_them() -> None:
    with_names = {
        name
        for name, member in vars(Remote).items()
        if inspect.isfunction(member) and set(inspect.signature(member).parameters) & set(OF_NAMES)
    }
    assert {"lstat", "rename", "open_later", "named_by"} <= with_names
    assert with_names <= members(ConvertedRemote)


class Rest:
    """Two further entries, then the end."""

    steady = True

    def __init__(self) -> None:
        self.parts = [ListingPart([DirectoryEntry(name, None)], 1.0) for name in (b"b", b"c")]
        self.closed = False

    async def more(self) -> ListingPart | None:
        return self.parts.pop(0) if self.parts else None

    def close(self) -> None:
        self.closed = True


async def capitals(entries: list[DirectoryEntry]) -> list[DirectoryEntry]:
    if any(entry.name == b"c" for entry in entries):
        raise OSError(5, "c")
    return [DirectoryEntry(entry.name.upper(), None) for entry in entries]


def test_what_comes_later_is_converted_as_what_came_first() -> None:
    """A rest whose entries cannot be converted is closed; so is one of a listing whose first ones cannot."""
    rest = Rest()

    async def test() -> None:
        listing = await converted(Listing(LISTED, [DirectoryEntry(b"a", None)], rest), capitals)
        assert [entry.name for entry in listing.entries] == [b"A"]
        assert listing.rest is not None and listing.rest.steady
        assert await listing.rest.more() == ListingPart([DirectoryEntry(b"B", None)], 1.0)
        assert not rest.closed
        with pytest.raises(OSError):
            await listing.rest.more()
        assert rest.closed
        other = Rest()
        with pytest.raises(OSError):
            await converted(Listing(LISTED, [DirectoryEntry(b"c", None)], other), capitals)
        assert other.closed

    trio.run(test)
