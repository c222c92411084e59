"""Whom a close tells: a program, or nobody.

The kernel reports a close also for a program that ends with the file open, by itself or killed, and does
not say who closes. But who opened the file is known, and whether that lives still.
"""

from __future__ import annotations

import os

EXITING = 0x4
"""PF_EXITING of the kernel's include/linux/sched.h, shown by /proc: set before the files are closed."""


def lives(pid: int) -> bool:
    """Whether process or thread ``pid``, which opened a file, neither is gone nor just ending."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            _, _, rest = file.read().rpartition(b") ")
    except OSError:
        return False
    fields = rest.split()
    return fields[0] not in (b"Z", b"X") and not int(fields[6]) & EXITING


def holds(pid: int, number: int, name: bytes) -> bool:
    """Whether process ``pid`` has a descriptor of a file with inode ``number`` that was opened as ``name``:
    what was closed is a copy of it, a child's mostly. False where that cannot be seen."""
    directory = f"/proc/{pid}/fd"
    end, line = b"/" + name, b"\nino:\t%d\n" % number
    try:
        for descriptor in os.listdir(directory):
            if not os.readlink(os.fsencode(f"{directory}/{descriptor}")).endswith(end):
                continue
            with open(f"/proc/{pid}/fdinfo/{descriptor}", "rb") as told:
                if line in told.read():
                    return True
    except OSError:
        return False
    return False
