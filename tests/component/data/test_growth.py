"""A file opened, read and closed costs the same with 10, 1,000 and 20,000 files open: steps are counted."""

from __future__ import annotations

import stat
from typing import cast

import pytest

from sftpfs.config import DataConfig
from sftpfs.data import Contents, FileHandle
from sftpfs.remote.api import RemoteFile
from sftpfs.types import Attributes, OpenFlags, OpenMode
from tests.component.data_room import Observer
from tests.harness.server_time import known_clock
from tests.harness.steps import lines_of

COUNTS = (10, 1_000, 20_000)
KNOWN = Attributes(stat.S_IFREG | 0o644, 7, 0, 0, 1, 1)


class Silent:
    """An open file of which nothing is asked."""

    flags = OpenFlags.READ

    def close(self) -> None:
        """Nobody waits for it."""


@pytest.mark.parametrize("same", [False, True], ids=["other files", "the same file"])
def test_a_file_costs_the_same_however_many_are_open(same: bool) -> None:
    contents = Contents(DataConfig(), Observer(), known_clock())
    content = contents.create(1)
    numbers = iter(range(2, 1 << 30))
    opened: list[FileHandle] = []

    def open_one() -> FileHandle:
        return (content if same else contents.create(next(numbers))).attach(
            cast(RemoteFile, Silent()),
            OpenMode(),
            known=KNOWN,
        )[0]

    def one_more() -> None:
        handle = open_one()
        handle.read_nowait(0, 7)
        handle.content.detach(handle)

    counted = []
    for count in COUNTS:
        while len(opened) < count:
            opened.append(open_one())
        one_more()
        counted.append(min(lines_of(one_more) for _ in range(5)))  # once in a while an age has passed
    assert counted[0] == counted[1] == counted[2]
