"""What /proc tells of who asks: the program that opened a file, and the system call that it waits in.

Who has a file open: whom a close reports to, and whose ``stat`` is about what that program wrote itself.

The kernel reports a close also for a program that ends, by itself or killed, with the file open, and does not
say who closes. But it is known who opened the file, and whether that program still lives.

Which system call the kernel's request is for: a ``read`` needs a file's size and shows no times, a
``stat`` shows them.

The kernel asks for the attributes of a file before each read of it that follows a write, to know the size.
That request looks like a ``stat``'s. But the program waits in its system call until the answer, and /proc
shows the number of that call.

The kernel numbers who asks as this process's PID namespace does. Where /proc is another namespace's, the same
number is another process, so nothing is looked up there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

from sftpfs.data import FileHandle
from sftpfs.vfs.tree.inode import Inode

_X86_64 = {0, 8, 17, 19, 40, 275, 295, 326, 327}
_GENERIC = {62, 63, 65, 67, 69, 71, 76, 285, 286}
_READING = {"x86_64": _X86_64, "aarch64": _GENERIC, "riscv64": _GENERIC, "loongarch64": _GENERIC}
"""By machine the numbers of read, lseek, pread64, readv, preadv, preadv2, sendfile, splice and
copy_file_range. None of them is a ``stat`` to a 32 bit program, which counts otherwise."""

READING = frozenset(b"%d" % number for number in _READING.get(os.uname().machine, ()))
"""Those of this machine, as /proc has them."""

FIELDS = 9
"""Of /proc/PID/syscall: the number, six arguments, the stack pointer, the program counter."""

EXITING = 0x4
"""PF_EXITING of the kernel's include/linux/sched.h, shown by /proc: set before the files are closed."""

LOOKED_THROUGH = 4096
"""Descriptors of a process at most, 2 µs each."""


@cache
def proc_is_ours() -> bool:
    """Whether /proc is of the PID namespace that this process is in: then it has one number there."""
    try:
        with open("/proc/self/status", "rb") as file:
            numbers = file.read().partition(b"\nNSpid:")[2].partition(b"\n")[0].split()
    except OSError:
        return False
    return len(numbers) <= 1


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

    def opener_of(self, handle: FileHandle) -> int:
        """Who opened ``handle``."""
        return self._by_handle[handle]

    def opener_lives(self, handle: FileHandle) -> bool:
        """Whether the process that opened ``handle`` is neither gone nor just ending."""
        if not proc_is_ours():
            return False
        try:
            with open(f"/proc/{self._by_handle[handle]}/stat", "rb") as file:
                _, _, rest = file.read().rpartition(b") ")
        except OSError:
            return False
        fields = rest.split()
        return fields[0] not in (b"Z", b"X") and not int(fields[6]) & EXITING

    def still_open(self, handle: FileHandle, inode: Inode) -> bool:
        """Whether the process that opened ``handle`` has a descriptor of ``inode``. Then what was closed is a
        copy of it, usually a child's. False if that cannot be seen."""
        return any(True for _ in _descriptors(self._by_handle[handle], inode))

    def opened_to_write(self, pid: int, inode: Inode) -> bool:
        """Whether ``pid`` itself opened ``inode`` to write, and has not closed it."""
        return any(self._by_handle.get(handle) == pid for handle in inode.handles or () if handle.writable)

    @staticmethod
    def may_write(pid: int, inode: Inode) -> bool:
        """Whether ``pid``, a process or a thread of one, has a descriptor by which it may write ``inode``,
        whoever opened it. False if that cannot be seen."""
        if not any(handle.writable for handle in inode.handles or ()):
            return False
        return any(flags & os.O_ACCMODE for flags in _descriptors(pid, inode))


def _descriptors(pid: int, inode: Inode) -> Iterator[int]:
    """The open(2) flags of each descriptor of ``inode`` that ``pid`` has, as far as can be seen."""
    if not proc_is_ours():
        return
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
                fdinfo = file.read()
            if line in fdinfo:
                yield int(fdinfo.partition(b"flags:")[2].split()[0], 8)


def only_reads(thread: int) -> bool:
    """Whether ``thread`` waits in a system call that reads, or seeks, and is shown no attributes.

    False if that cannot be seen: /proc shows it to root, and to the same user if kernel.yama.ptrace_scope is
    0; and it shows nothing of the kernel's own threads, which are in no call.
    """
    if not proc_is_ours():
        return False
    try:
        with open(f"/proc/{thread}/syscall", "rb", buffering=0) as file:
            fields = file.read().split()
    except OSError:
        return False
    return len(fields) == FIELDS and fields[0] in READING and fields[-1] != b"0x0"
