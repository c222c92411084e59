"""Examines this machine: FUSE, its helper, fuse.conf, mount(8)'s helpers. Changes nothing."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator

from sftpfs.doctor.findings import Finding, bad, good, note
from sftpfs.errors import MountError
from sftpfs.host import mountpoint
from sftpfs.mount import salvage_store

MOUNT_HELPER = "/sbin/mount.sftpfs"


def examine_machine() -> Iterator[Finding]:
    """Every finding about this machine."""
    try:
        mountpoint.check_fuse()
        yield good(f"{mountpoint.DEVICE} can be opened")
    except MountError as failure:
        yield bad(failure.message)
    yield _fusermount()
    yield _fuse_conf()
    yield from _losses()
    if os.path.exists(MOUNT_HELPER):
        yield good("mount -t sftpfs and fstab work: mount(8)'s helpers are installed")
    else:
        yield note(
            "mount(8)'s helpers are not installed",
            "for fstab and mount -t sftpfs, as root: sftpfs install-helpers",
        )


def _losses() -> Iterator[Finding]:
    """What mounts of this user could not write, these and earlier ones."""
    directory = salvage_store.store_directory()
    saved = salvage_store.all_saved(directory)
    if saved:
        files = len({(one.server, one.path) for one in saved})
        pieces = (
            f"{len(saved)} piece{'s' if len(saved) > 1 else ''} of {files} file{'s' if files > 1 else ''}"
        )
        verb = "are" if len(saved) > 1 else "is"
        yield note(
            f"{pieces} could not be written to a server, and {verb} saved in {directory}",
            "sftpfs restore lists them; sftpfs restore all writes them back",
        )


def _fusermount() -> Finding:
    program = shutil.which("fusermount3")
    if program is None:
        advice = "users cannot mount without it; on Debian and Ubuntu: apt install fuse3"
        return note("fusermount3 is not installed", advice)
    seen = os.stat(program)
    if seen.st_uid != 0 or not seen.st_mode & stat.S_ISUID:
        return note(
            f"{program} is not set-user-ID root",
            f"only root can mount; to let users, as root: chmod u+s {program}",
        )
    return good(f"{program} lets users mount")


def _fuse_conf() -> Finding:
    if mountpoint.users_may_let_others_in():
        return good(f"{mountpoint.FUSE_CONF} has user_allow_other: users may give allow_other")
    return note(
        f"{mountpoint.FUSE_CONF} has no user_allow_other: only root may give allow_other and allow_root",
        f"where users need it, as root: echo user_allow_other >> {mountpoint.FUSE_CONF}",
    )
