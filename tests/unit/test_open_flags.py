"""The flags of an open: combined as IntFlag does, without its search for each result."""

from __future__ import annotations

from enum import IntFlag

from sftpfs.types import OpenFlags


def test_flags_combine_as_those_of_the_standard_library() -> None:
    for one in map(OpenFlags, range(64)):
        for other in map(OpenFlags, range(64)):
            for own, standard in ((one | other, IntFlag.__or__), (one & other, IntFlag.__and__)):
                assert own is standard(one, other)
            assert one & ~other is IntFlag.__and__(one, ~other)
            assert ~one & ~other == ~(one | other) & 0x3F
