"""``umount.sftpfs``, ``umount.fuse.sftpfs``, ``umount.fuse``: an umount(8) that ends when everything is on
the server.

A mount of another program is unmounted as without a helper, because no process holds its lock. Owns the words
that umount(8) calls its helpers with ("External helpers"). umount(8) itself unmounts: it is set-user-ID and
knows who may unmount what.
"""

from __future__ import annotations

import math
import os
import subprocess

from sftpfs import clock
from sftpfs.cli.options.parse import usage_error
from sftpfs.cli.tools.mount_end import MountEndListener
from sftpfs.control.client import OTHERS_FIRST_WORD, OTHERS_LIMIT
from sftpfs.errors import Failure, MountError
from sftpfs.host import mount_lock, mountpoint
from sftpfs.host.daemon import guarded, to_stderr
from sftpfs.host.mount_users import is_elsewhere

UMOUNT_FAILURE = 32
"""umount(8)'s status for a mount that could not be taken off."""


def umount_helper(words: list[str]) -> int:
    """Unmounts as ``words`` say and waits for the mount's process.

    Returns one of umount(8)'s statuses, or DATA_LOST_STATUS: unmounted, but not everything is on the server.
    """
    return guarded(lambda: _run(words), to_stderr, debug=False)


def _run(words: list[str]) -> int:
    path, letters = parse_words(words)
    mounted = mountpoint.mounted_at(path)
    if mounted is None:
        to_stderr(f"{path} is not mounted")
        return UMOUNT_FAILURE
    lazy = "l" in letters
    farewell = None if lazy else MountEndListener(mounted)
    try:
        if not _unmount(path, letters):
            return UMOUNT_FAILURE
        if farewell is None or any(other.device == mounted.device for other in mountpoint.all_mounts()):
            return 0  # it goes on, for whoever is inside or under another name
        if farewell.pid is not None and is_elsewhere(farewell.pid):
            to_stderr(f"{path} is off here; its process {farewell.pid} is in another mount namespace")
            return 0
        end = _end_of_patience(mounted, farewell)
        status = farewell.wait()
    finally:
        if farewell is not None:
            farewell.close()
    if not farewell.goes_on:
        mount_lock.wait_for_end(path, mounted.user_id, farewell.pid, end, _print_waiting)
    return status


def _end_of_patience(mounted: mountpoint.MountedAt, farewell: MountEndListener) -> float:
    """Until when its process is waited for (monotonic). For another user's mount there is a limit: it may say
    for ever that it writes, and any process of that user may hold the lock."""
    if mounted.user_id == os.geteuid():
        return math.inf
    in_vain = os.geteuid() == 0 and not farewell.is_coming
    return clock.awake() + (OTHERS_FIRST_WORD if in_vain else OTHERS_LIMIT)


def _print_waiting(pid: int) -> None:
    to_stderr(
        f"waiting for process {pid} of the mount: it is still writing, or another mount namespace keeps it"
    )


def _unmount(path: str, letters: set[str]) -> bool:
    """Has umount(8) itself do it, which reports why if it fails. Raises MountError."""
    passed_on = [f"-{letter}" for letter in "fl" if letter in letters]
    if os.geteuid() == 0:
        passed_on.append("-c")  # or it asks the mount what it is, and a dead server answers late
    try:
        done = subprocess.run(["umount", "-i", *passed_on, "--", path], check=False)
    except OSError as error:
        raise MountError(Failure.MOUNTPOINT, f"cannot run umount: {error.strerror}") from None
    return done.returncode == 0


def parse_words(words: list[str]) -> tuple[str, set[str]]:
    """The directory, without links, and the letters given. Raises MountError(USAGE)."""
    letters: set[str] = set()
    paths = []
    rest = iter(words)
    for word in rest:
        if word in ("-t", "-N"):
            next(rest, None)
        elif word.startswith("-") and len(word) > 1:
            letters |= set(word[1:])
        else:
            paths.append(word)
    if len(paths) != 1:
        raise usage_error("usage: umount.sftpfs DIRECTORY [-flnrv]")
    # Not the last part, because looking at a mount asks its server.
    directory, name = os.path.split(os.path.abspath(paths[0]))
    return os.path.join(os.path.realpath(directory), name), letters
