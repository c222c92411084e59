"""A piece of a copy that the server refuses: explained as a write of just as many bytes is."""

from __future__ import annotations

import errno
import stat
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from sftpfs.aio import Slot
from sftpfs.errors import Status, StatusError
from sftpfs.remote.handles.open_files import OpenFiles
from sftpfs.remote.operations.server_copy import PIECE, Copy
from sftpfs.remote.transfers.write_request import explain_write
from sftpfs.server_clock import ServerClock
from sftpfs.server_traits import ServerTraits
from sftpfs.types import Attributes, FilesystemStatistics, ServerCapabilities

FREE = FilesystemStatistics(4096, 4096, 100_000, 1024, 1024, 100, 50, 50, 255, False)
"""4 MiB."""


class Session:
    """Refuses to copy, and tells how much is free."""

    capabilities = ServerCapabilities(frozenset({"statvfs@openssh.com"}))

    def __init__(self) -> None:
        self.traits = ServerTraits()

    def start_copy_data(self, *_: Any) -> Slot[None]:
        slot: Slot[None] = Slot()
        slot.fail(StatusError(Status.FAILURE))
        return slot

    def start_fstat(self, _: bytes) -> Slot[Attributes]:
        return Slot.of(Attributes(stat.S_IFREG | 0o644, 2 * PIECE, 0, 0, 1, 1))

    def start_statvfs(self, _: bytes) -> Slot[FilesystemStatistics]:
        return Slot.of(FREE)


@pytest.mark.parametrize(("length", "expected"), [(1024, errno.EIO), (PIECE, errno.ENOSPC)])
def test_a_refused_piece_is_judged_by_its_length(length: int, expected: int) -> None:
    session = Session()
    connection: Any = SimpleNamespace(session=session)
    copy = Copy(connection, (b"s", b"d"), b"/dir/source", b"/dir/file", OpenFiles(ServerClock()))

    async def run() -> None:
        await copy.run(0, length, lambda _: None)

    with pytest.raises(OSError) as raised:
        trio.run(run)
    written: Slot[None] = Slot()
    explain_write(session, b"/dir/file", length, StatusError(Status.FAILURE), written)  # type: ignore[arg-type]
    assert isinstance(written.error, OSError)
    assert raised.value.errno == written.error.errno == expected
