"""Whom a close tells: a program, or nobody.

The kernel reports a close also for a program that ends with the file open, by itself or killed, and does
not say who closes. But who opened the file is known, and whether that lives still.
"""

from __future__ import annotations

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
