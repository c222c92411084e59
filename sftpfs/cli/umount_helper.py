"""``umount.sftpfs``, ``umount.fuse.sftpfs``, ``umount.fuse``: umount(8) that ends when all is on the server.

A mount of another program is unmounted as without a helper, for nobody holds its claim. Owns
the words umount(8) calls its helpers with ("External helpers"). The unmounting is umount(8)'s
own: it is set-user-ID and knows who may unmount what.
"""

from __future__ import annotations

import os
import subprocess

from sftpfs import claim, mountpoint
from sftpfs.cli.arguments import usage_error
from sftpfs.errors import Failure, MountError
from sftpfs.process import guarded, to_stderr

UMOUNT_FAILURE = 32
"""umount(8)'s status for a mount that could not be taken off."""


def umount_helper(words: list[str]) -> int:
    """Unmount as ``words`` say and wait for the mount's process; one of umount(8)'s statuses."""
    return guarded(lambda: _run(words), to_stderr, debug=False)


def _run(words: list[str]) -> int:
    path, letters = parse_words(words)
    mounted = mountpoint.mounted_at(path)
    if mounted is None:
        to_stderr(f"{path} is not mounted")
        return UMOUNT_FAILURE
    passed_on = [f"-{letter}" for letter in "fl" if letter in letters]
    if os.geteuid() == 0:
        passed_on.append("-c")  # or it asks the mount what it is, and a dead server answers late
    try:
        done = subprocess.run(["umount", "-i", *passed_on, "--", path], check=False)
    except OSError as error:
        raise MountError(Failure.MOUNTPOINT, f"cannot run umount: {error.strerror}") from None
    if done.returncode:
        return UMOUNT_FAILURE
    if "l" not in letters:
        claim.wait_for_end(path, mounted.user_id)
    return 0


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
    # Not the last part: looking at a mount asks its server.
    directory, name = os.path.split(os.path.abspath(paths[0]))
    return os.path.join(os.path.realpath(directory), name), letters
