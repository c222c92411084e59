"""Decides what is handed to a mount, which makes many files at once, and what goes through the kernel. Pure.

Handed over are new names in a mount, from elsewhere, where the kernel would make them too. All else goes
through the kernel: what the server may copy by itself, what has a name already and may be in use, and what is
so large that its bytes take longer than its round trips.
"""

from __future__ import annotations

import errno
import os
import stat

from sftpfs.control.tree_records import LARGEST_CONTENT

SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
"""Mode bits that are only given once the owner was seen to be right."""

AGAIN = frozenset({errno.EEXIST, errno.ESTALE})
"""Errors of a mount after which the kernel's way decides: the name is taken, or the directory is no longer
known by its number."""


def hands_over_in(*, recursive: bool, from_a_mount: bool, to_a_mount: bool, may_write: bool) -> bool:
    """Whether what is copied from one directory to another is handed over. ``may_write``: the kernel lets us
    make names there, as far as access(2) tells."""
    return recursive and to_a_mount and not from_a_mount and may_write


def hands_over(found: os.stat_result) -> bool:
    """Whether the file or link ``found`` is handed over, in such a directory."""
    if stat.S_ISLNK(found.st_mode):
        return True
    small = found.st_size <= LARGEST_CONTENT
    return stat.S_ISREG(found.st_mode) and small and not found.st_mode & SPECIAL_BITS
