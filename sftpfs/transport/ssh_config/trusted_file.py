"""Which ssh_config files are trusted: those that nobody else may have written.

An ssh_config says what is run and whom to trust. The rule, and which files it applies to, are OpenSSH's;
Debian's addition is that a group with one member may write.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat

from sftpfs.errors import Failure, MountError
from sftpfs.host.covered_files import reach


def read_lines(path: str, ours_alone: bool) -> list[str]:
    """The lines of the file. Raises OSError; MountError(CONFIGURATION) if it must be ``ours_alone`` and is
    not."""
    with open(reach(path), encoding="utf-8", errors="surrogateescape") as file:
        if ours_alone and not is_ours_alone(os.fstat(file.fileno())):
            raise MountError(Failure.CONFIGURATION, f"Bad owner or permissions on {path}")
        return file.read().splitlines()


def is_ours_alone(found: os.stat_result) -> bool:
    """Whether it is root's or ours, and nobody else may write it."""
    if found.st_uid not in (0, os.getuid()) or found.st_mode & stat.S_IWOTH:
        return False
    return not found.st_mode & stat.S_IWGRP or _has_one_member(found.st_gid, found.st_uid)


def _has_one_member(gid: int, uid: int) -> bool:
    """Whether ``uid`` is the only member of the group."""
    try:
        owner, listed = pwd.getpwuid(uid), grp.getgrgid(gid).gr_mem
    except KeyError:
        return False
    primary = [entry.pw_uid for entry in pwd.getpwall() if entry.pw_gid == gid]
    if listed not in ([], [owner.pw_name]) or any(member != uid for member in primary):
        return False
    return bool(listed or primary)
