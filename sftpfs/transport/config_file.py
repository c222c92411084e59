"""Whose ssh_config is believed: one that nobody else may have written.

It says what is run and whom to trust. Which files are looked at, and the rule, are OpenSSH's; that a group
of one may write is Debian's.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat

from sftpfs.beneath import reach
from sftpfs.errors import Failure, MountError


def read_lines(path: str, ours_alone: bool) -> list[str]:
    """The lines of the file. Raises OSError; MountError(CONFIGURATION) where ``ours_alone`` is not so."""
    with open(reach(path), encoding="utf-8", errors="surrogateescape") as file:
        if ours_alone and not is_ours_alone(os.fstat(file.fileno())):
            raise MountError(Failure.CONFIGURATION, f"Bad owner or permissions on {path}")
        return file.read().splitlines()


def is_ours_alone(found: os.stat_result) -> bool:
    """Is it root's or ours, and writable by nobody else?"""
    if found.st_uid not in (0, os.getuid()) or found.st_mode & stat.S_IWOTH:
        return False
    return not found.st_mode & stat.S_IWGRP or _has_one_member(found.st_gid, found.st_uid)


def _has_one_member(gid: int, uid: int) -> bool:
    """Is ``uid`` the only member of the group?"""
    try:
        owner, listed = pwd.getpwuid(uid), grp.getgrgid(gid).gr_mem
    except KeyError:
        return False
    primary = [entry.pw_uid for entry in pwd.getpwall() if entry.pw_gid == gid]
    if listed not in ([], [owner.pw_name]) or any(member != uid for member in primary):
        return False
    return bool(listed or primary)
