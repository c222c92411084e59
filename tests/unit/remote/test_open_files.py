"""What it costs to find the open files of one path, or one to let go: the same among 20,000 as among ten."""

from __future__ import annotations

import stat
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from sftpfs.aio import Slot
from sftpfs.errors import Status, StatusError
from sftpfs.remote.handles.expected_version import ExpectedVersion
from sftpfs.remote.handles.handle_limit import LOOKED_AT
from sftpfs.remote.handles.open_files import Late, OpenFiles
from sftpfs.server_clock import ServerClock
from sftpfs.server_traits import ServerTraits
from sftpfs.types import Attributes, Limits, OpenFlags, ServerCapabilities

ATTRIBUTES = Attributes(stat.S_IFREG | 0o644, 100, 0, 0, 50, 1000)

COUNTS = [10, 1000, 20000]


class Counted:
    """An open file, every step of which is counted."""

    def __init__(self, number: int, steps: list[str]) -> None:
        self.number = number
        self.steps = steps
        self.flags = OpenFlags.READ
        self.closed = False
        self.used = True
        self.version: ExpectedVersion | None = ExpectedVersion(ATTRIBUTES)
        self.reader: Late | None = None
        self.let_go_of: list[Any] = []

    def current_path(self) -> bytes:
        self.steps.append("path")
        return b"/%d" % self.number

    def primary(self) -> Any:
        self.steps.append("primary")
        return None

    def start_fstat(self) -> Slot[Attributes]:
        self.steps.append("fstat")
        return Slot.of(ATTRIBUTES)

    def give_up(self) -> None:
        self.closed = True

    def can_evict(self, _: Any) -> bool:
        self.steps.append("may go")
        return True

    def evict(self, connection: Any) -> None:
        connection.files.pop(self)


class Mount:
    def __init__(self, count: int) -> None:
        self.steps: list[str] = []
        self.open_files = OpenFiles(ServerClock())
        self.files = [Counted(number, self.steps) for number in range(count)]
        self.inodes = [self.open_files.joined(file) for file in self.files]
        paths = {b"/%d" % file.number: file.current_path for file in self.files}
        self.open_files.at = paths.get
        for inode in self.inodes:
            inode.version = ExpectedVersion(ATTRIBUTES)
        self.steps.clear()

    def connection(self) -> Any:
        """One on which all are open, and that may have no more."""
        capabilities = ServerCapabilities(frozenset(), Limits(0, 0, 0, len(self.files)))
        session = SimpleNamespace(
            capabilities=capabilities,
            generation=1,
            one_at_a_time=False,
            handles_open=len(self.files),
            traits=ServerTraits(),
        )
        return SimpleNamespace(session=session, handles_let_go=0, files=OrderedDict.fromkeys(self.files))


@pytest.mark.parametrize("count", COUNTS)
def test_a_name_about_to_go_concerns_the_files_open_there(count: int) -> None:
    mount = Mount(count)
    trio.run(mount.open_files.hold, b"/7")
    assert mount.steps == ["primary", "fstat"]


@pytest.mark.parametrize("count", COUNTS)
def test_what_is_known_of_a_file_is_found_and_forgotten_at_once(count: int) -> None:
    mount = Mount(count)
    file, inode = mount.files[7], mount.inodes[7]
    assert mount.open_files.found_at(b"/7") is inode
    another = Counted(7, mount.steps)
    another.current_path = file.current_path  # type: ignore[method-assign]
    assert mount.open_files.joined(another) is inode
    mount.open_files.closed(file, inode)
    assert mount.open_files.find(file.current_path) is inode
    mount.open_files.closed(another, inode)
    assert mount.open_files.find(file.current_path) is None
    assert not mount.steps


@pytest.mark.parametrize("count", COUNTS)
def test_room_for_one_more_handle_is_made_in_a_few_steps(count: int) -> None:
    mount = Mount(count)
    connection = mount.connection()
    refused = [StatusError(Status.FAILURE)]

    async def attempt() -> bytes:
        if refused:
            raise refused.pop()
        return b"handle"

    assert trio.run(mount.open_files.handle_limit.run_with_handle, connection, attempt) == b"handle"
    assert connection.handles_let_go == 2, "one beforehand, one as that did not do"
    assert len(mount.steps) <= 2 * (LOOKED_AT + 1)


def test_a_file_used_since_it_was_last_looked_at_keeps_its_handle() -> None:
    mount = Mount(10)
    connection = mount.connection()
    writer, unused = mount.files[3], mount.files[6]
    writer.flags, writer.used, unused.used = OpenFlags.WRITE, False, False

    async def attempt() -> bytes:
        return b"handle"

    trio.run(mount.open_files.handle_limit.run_with_handle, connection, attempt)
    assert unused not in connection.files and writer in connection.files
    trio.run(mount.open_files.handle_limit.run_with_handle, connection, attempt)
    assert len(connection.files) == 8
