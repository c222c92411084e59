"""Who has a file open: whom a close tells, and whose ``stat`` is about what it wrote itself.

The kernel reports a close also for a program that ends with the file open, by itself or killed, and does
not say who closes. But who opened the file is known, and whether that lives still.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from sftpfs.data import FileHandle
from sftpfs.vfs.inodes import Inode

EXITING = 0x4
"""PF_EXITING of the kernel's include/linux/sched.h, shown by /proc: set before the files are closed."""

LOOKED_THROUGH = 4096
"""Descriptors of a process at most, 2 µs each."""


class Openers:
    """By open file the process, or its thread, that opened it."""

    __slots__ = ("_by_handle",)

    def __init__(self) -> None:
        self._by_handle: dict[FileHandle, int] = {}

    def opened(self, handle: FileHandle, pid: int) -> None:
        """``pid`` has opened ``handle``; ``released`` must follow."""
        self._by_handle[handle] = pid

    def released(self, handle: FileHandle) -> None:
        """Nobody has ``handle`` any more."""
        del self._by_handle[handle]

    def of(self, handle: FileHandle) -> int:
        """Who opened ``handle``."""
        return self._by_handle[handle]

    def live(self, handle: FileHandle) -> bool:
        """Whether who opened ``handle`` neither is gone nor just ending."""
        try:
            with open(f"/proc/{self._by_handle[handle]}/stat", "rb") as file:
                _, _, rest = file.read().rpartition(b") ")
        except OSError:
            return False
        fields = rest.split()
        return fields[0] not in (b"Z", b"X") and not int(fields[6]) & EXITING

    def hold(self, handle: FileHandle, inode: Inode) -> bool:
        """Whether who opened ``handle`` has a descriptor of ``inode``: what was closed is a copy of it, a
        child's mostly. False where that cannot be seen."""
        return any(True for _ in _descriptors(self._by_handle[handle], inode))

    def opened_to_write(self, pid: int, inode: Inode) -> bool:
        """Whether ``pid`` itself opened ``inode`` to write, and has not closed it."""
        return any(self._by_handle.get(handle) == pid for handle in inode.handles or () if handle.writable)

    @staticmethod
    def may_write(pid: int, inode: Inode) -> bool:
        """Whether ``pid``, a process or a thread of one, has a descriptor by which it may write ``inode``,
        whoever opened it. False where that cannot be seen."""
        if not any(handle.writable for handle in inode.handles or ()):
            return False
        return any(flags & os.O_ACCMODE for flags in _descriptors(pid, inode))


def _descriptors(pid: int, inode: Inode) -> Iterator[int]:
    """The open(2) flags of each descriptor of ``inode`` that ``pid`` has, as far as can be seen."""
    ends, line = tuple(b"/" + name for _, name in inode.names()), b"\nino:\t%d\n" % inode.number
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for descriptor in descriptors[:LOOKED_THROUGH]:
        with suppress(OSError):  # it may be closed meanwhile
            if not os.readlink(os.fsencode(f"/proc/{pid}/fd/{descriptor}")).endswith(ends):
                continue
            with open(f"/proc/{pid}/fdinfo/{descriptor}", "rb") as file:
                told = file.read()
            if line in told:
                yield int(told.partition(b"flags:")[2].split()[0], 8)
