"""How to find the process of a mount from its mountpoint, also after the unmount.

A mount's process holds a shared flock(2) on the directory it is mounted over, from before the mount until its
end. ``umount`` waits for the holder: then everything is on the server. The kernel keeps the list
(/proc/locks, proc_locks(5)), so no file is left behind.
"""

from __future__ import annotations

import fcntl
import math
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sftpfs import clock
from sftpfs.host.mountpoint import filesystem_of

LOCKS = "/proc/locks"

PATIENCE = 5.0
"""Seconds that somebody waits for a process before being told which one."""

STEP = 0.02
"""Seconds between two attempts to be alone: a mount takes less."""


@contextmanager
def claimed(path: str) -> Iterator[None]:
    """Holds the directory ``path``, which may be a link of /proc/self/fd, while the block runs.

    If it cannot be held (not readable, no locks there), nobody will wait for us, and everything else works.
    """
    fd = -1
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        pass
    try:
        yield
    finally:
        if fd >= 0:
            os.close(fd)


@contextmanager
def alone(directory: str) -> Iterator[None]:
    """While the block runs this is the user's only process that mounts. The lock is on ``directory``, which
    only that user may enter, so nobody else can hold it.

    So two commands for one mountpoint see each other. A command that is stopped in the block holds up others
    for at most ``PATIENCE``. Raises OSError.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = clock.awake() + PATIENCE
        while not _locked(fd) and clock.awake() < end:
            time.sleep(STEP)
        yield
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def holders(text: str, device: str, inode: int) -> list[int]:
    """Process ids with a shared flock on the file, from the text of /proc/locks.

    ``device`` is ``major:minor`` in decimal, as mountinfo writes it; /proc/locks has it in hexadecimal.
    """
    major, minor = map(int, device.split(":"))
    wanted = f"{major:02x}:{minor:02x}:{inode}"
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 8 and fields[1] == "FLOCK" and fields[3] == "READ" and fields[5] == wanted:
            found.append(int(fields[4]))
    return found


def wait_for_end(path: str, owner: int, only: int | None, end: float, report: Callable[[int], None]) -> None:
    """Waits until no process of the user ``owner`` holds ``path``, where nothing is mounted any more. If it
    is known who served the mount, waits until ``only`` that process does not. Waits until ``end`` (monotonic)
    at most. ``report`` gets the process that takes long.

    Anybody may lock a directory that they can read. So processes of others than the mount's owner are not
    waited for; nor, if that can be told, one that served an earlier mount there and goes on for others.
    """
    device, inode = filesystem_of(path), os.stat(path).st_ino
    while True:
        pids = [pid for pid in _read_holders(device, inode) if _owner(pid) == owner and only in (None, pid)]
        if not pids or clock.awake() >= end:
            return
        _wait_for_process(pids[0], end, report)


def _read_holders(device: str, inode: int) -> list[int]:
    with open(LOCKS, encoding="ascii") as file:
        return holders(file.read(), device, inode)


def _owner(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def _wait_for_process(pid: int, end: float, report: Callable[[int], None]) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([fd], [], [], max(0.0, min(PATIENCE, end - clock.awake())))[0]:
            report(pid)
            left = end - clock.awake()
            select.select([fd], [], [], None if left == math.inf else max(0.0, left))
    finally:
        os.close(fd)
