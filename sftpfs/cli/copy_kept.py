"""Giving a copy the owner, mode and times of what was copied, as far as one may."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress

REFUSED = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""Not ours to give, or not kept where the file is: cp(1) lets that pass unless it was asked for."""


def keep(target: int, found: os.stat_result, *, owners: bool, asked: bool) -> str:
    """To the open file or directory ``target`` (O_PATH will do) what ``found`` says.

    ``asked``: with -p. What could not be kept, in words, or nothing; raises no OSError.
    """
    path = f"/proc/self/fd/{target}"
    lost: list[tuple[str, OSError]] = []
    mode = stat.S_IMODE(found.st_mode)
    try:
        there = os.fstat(target)
        owned = (there.st_uid, there.st_gid) == (found.st_uid, found.st_gid)
        if owners and not owned:
            owned = _own(path, found, lost)
        if not owned:
            mode &= ~(stat.S_ISUID | stat.S_ISGID)  # they would be rights of somebody else
    except OSError as problem:
        lost.append(("owner", problem))
    _try("mode", lambda: os.chmod(path, mode), lost)
    _try("times", lambda: os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns)), lost)
    told = [(what, problem) for what, problem in lost if asked or problem.errno not in REFUSED]
    if not told:
        return ""
    return f"its {' and '.join(what for what, _ in told)} could not be kept: {told[0][1].strerror}"


def keep_of_link(directory: int, name: str, found: os.stat_result, *, owners: bool) -> None:
    """As ``keep``, of a link, as far as the server can: one that cannot loses little by it."""
    with suppress(OSError):
        if owners:
            os.chown(name, found.st_uid, found.st_gid, dir_fd=directory, follow_symlinks=False)
    with suppress(OSError):
        times = (found.st_atime_ns, found.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)


def _own(path: str, found: os.stat_result, lost: list[tuple[str, OSError]]) -> bool:
    """Owner and group, or the group alone; True where both are right. That one may not is no failure."""
    try:
        os.chown(path, found.st_uid, found.st_gid)
        return True
    except OSError as problem:
        if problem.errno not in REFUSED:
            lost.append(("owner", problem))
    with suppress(OSError):
        os.chown(path, -1, found.st_gid)
    return False


def _try(what: str, give: Callable[[], None], lost: list[tuple[str, OSError]]) -> None:
    if any(problem.errno not in REFUSED for _, problem in lost):
        return  # a server that is gone would take its deadline for each
    try:
        give()
    except OSError as problem:
        lost.append((what, problem))
