"""``mount -o remount,…``: changes what mount(2) itself can change of an existing mount, and nothing else.

mount(8) calls the helper for a remount too, with the requested options and those of fstab. The kernel can
change whether the mount is read-only, and the flags of ``FLAGS``. Our own options are fixed when the mount is
made: a remount leaves them as they were, and says so.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable

from sftpfs.cli.options.parse import split_options, usage_error
from sftpfs.cli.options.row import Section
from sftpfs.cli.options.table import BY_NAME
from sftpfs.errors import Failure, MountError
from sftpfs.host import mountpoint
from sftpfs.host.daemon import to_stderr

REMOUNT = 32
"""MS_REMOUNT of mount(2)."""

FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}
"""MS_RDONLY and similar flags. Access times stay as they are if none of their flags is given."""

OPPOSITES = {"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec"}


def is_remount(words: list[str]) -> bool:
    """Whether ``words``, of the helper's command line, ask for a remount."""
    return "remount" in _parted(words)[1]


def remount(words: list[str]) -> int:
    """Does it, by the kernel's own means. Returns 0. Raises MountError."""
    positionals, options = _parted(words)
    if len(positionals) != 2:
        raise usage_error("remount needs the mount's source and its directory, as mount(8) gives them")
    path = os.path.normpath(positionals[1])
    mounted = mountpoint.mounted_at(path)
    if mounted is None:
        raise MountError(Failure.MOUNTPOINT, f"{path} is not mounted: there is nothing to remount")
    if not mounted.type.startswith("fuse"):
        raise MountError(Failure.MOUNTPOINT, f"{path} is of type {mounted.type}, no mount of sftpfs")
    _change(path, flags_after(mounted.flags, options))
    left = [option for option in options if _is_settled(option)]
    if left:
        to_stderr(f"note: remount changes only ro, nosuid, nodev and noexec; unchanged: {','.join(left)}")
    return 0


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """The positionals, and the words behind every ``-o``; other letters change nothing of a remount."""
    positionals: list[str] = []
    options: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "-t":
            next(rest, None)
        elif word.startswith("-o"):
            options += split_options(word[2:] or next(rest, ""))
        elif not word.startswith("-"):
            positionals.append(word)
    return positionals, options


def flags_after(now: Iterable[str], options: list[str]) -> set[str]:
    """The ``FLAGS`` that are set once ``options`` are applied to ``now``; of two opposites the last wins."""
    flags = {name for name in now if name in FLAGS}
    for option in options:
        if option in FLAGS:
            flags.add(option)
        elif option in OPPOSITES:
            flags.discard(OPPOSITES[option])
    return flags


def _is_settled(word: str) -> bool:
    """Whether ``word`` is an option of ours that means something, and that no remount changes."""
    name = word.partition("=")[0]
    if name in FLAGS or name in OPPOSITES or name.startswith(("x-", "X-")):
        return False
    option = BY_NAME.get(name)
    # mount(8) repeats the kernel's options from mountinfo, and adds ``user=`` and similar ones by itself.
    known = option is not None and option.section not in (Section.FSTAB, Section.MOOT, Section.REFUSED)
    return known and name not in ("allow_other", "default_permissions")


def _change(path: str, flags: set[str]) -> None:
    number = REMOUNT
    for name in flags:
        number |= FLAGS[name]
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(b"none", os.fsencode(path), None, ctypes.c_ulong(number), None) == 0:
        return
    failure = ctypes.get_errno()
    if failure == errno.EBUSY:
        why = f"files are open for writing (fuser -vm {path} names the programs)"
    elif failure == errno.EPERM:
        why = "only root may do that"
    else:
        why = os.strerror(failure)
    raise MountError(Failure.MOUNTPOINT, f"cannot remount {path}: {why}")
