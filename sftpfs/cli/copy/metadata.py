"""Gives a copy the owner, mode and times of its source, as far as the user may."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress

REFUSED = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""The user may not set this, or the file system does not keep it. cp(1) ignores that unless it was asked for.
"""


def keep(target: int, found: os.stat_result, *, owners: bool, asked: bool) -> str:
    """Gives the open file or directory ``target`` (O_PATH is enough) the attributes of ``found``.

    ``asked``: with -p. Returns in words what could not be kept, or nothing. Raises no OSError.
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
    reported = [(what, problem) for what, problem in lost if asked or problem.errno not in REFUSED]
    if not reported:
        return ""
    return f"its {' and '.join(what for what, _ in reported)} could not be kept: {reported[0][1].strerror}"


def keep_of_link(directory: int, name: str, found: os.stat_result, *, owners: bool) -> None:
    """As ``keep``, for a link, as far as the server can. If it cannot, little is lost."""
    with suppress(OSError):
        if owners:
            os.chown(name, found.st_uid, found.st_gid, dir_fd=directory, follow_symlinks=False)
    with suppress(OSError):
        times = (found.st_atime_ns, found.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)


def _own(path: str, found: os.stat_result, lost: list[tuple[str, OSError]]) -> bool:
    """Sets owner and group, or only the group. Returns True if both are right. It is no failure if the user
    may not."""
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
