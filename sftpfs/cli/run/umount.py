"""``sftpfs umount MNT``."""

from __future__ import annotations

import errno
import os
from argparse import Namespace

from sftpfs import mountpoint
from sftpfs.cli.run.flush import flush, tell_failures, tell_kept, what_waits
from sftpfs.cli.show import ProgressLine, several, size
from sftpfs.control.client import Client, RequestFailedError, connect_for_end
from sftpfs.control.location import Found, find
from sftpfs.control.protocol import Values
from sftpfs.errors import Failure, MountError
from sftpfs.kept import holders, is_elsewhere, some
from sftpfs.logs import printable
from sftpfs.mountpoint import MountedAt
from sftpfs.process import DATA_LOST_STATUS, to_stderr


def run(given: Namespace) -> int:
    """The mount is gone and everything is on the server when it returns 0; but for copies of others'."""
    found = find(given.mnt)
    os.chdir("/")  # called from within the mount, we would be who uses it
    try:
        client = connect_for_end(found.mount)
    except MountError:
        if not _is_dead(found):
            raise
        mountpoint.detach(found.mount)
        to_stderr(f"the process of the mount on {found.mount.path} was gone; it is unmounted")
        return 0
    with client:
        if is_elsewhere(client.pid):
            return _umount_copy(client, given.force)
        try:
            return _umount(client, given.force)
        except RequestFailedError as failed:
            if failed.errno != errno.EBUSY:
                raise
    raise MountError(Failure.MOUNTPOINT, _busy(found.mount))


def _is_dead(found: Found) -> bool:
    try:
        os.close(os.open(found.mount.path, os.O_RDONLY | os.O_DIRECTORY))  # stat may come from memory
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def _umount(client: Client, force: bool) -> int:
    line = ProgressLine()
    result: Values = {}
    lost = False
    try:
        for values in client.stream("umount", force=force):
            if "lost" in values:
                line.clear()
                lost = _tell_lost(values)
            elif "failures" in values:
                result = values
            elif "files" in values:
                line.show(what_waits(values) if values["files"] else "unmounting")
    finally:
        line.clear()
    status = tell_failures(result)
    tell_kept(client, result)
    if lost:
        return DATA_LOST_STATUS
    if status and not result.get("ended"):
        _tell_stays(client.mount)
    return status


def _umount_copy(client: Client, force: bool) -> int:
    """Here is a copy; the mount's process would take off the one of its own mount namespace."""
    mount = client.mount
    status = 0 if force else flush(client)
    if status:
        _tell_stays(mount)
        return status
    mountpoint.unmount(mount.path, mount.path, force)
    left = mountpoint.mounted_at(mount.path)
    if left is not None and left.identifier == mount.identifier:
        raise MountError(Failure.MOUNTPOINT, _busy(mount))
    to_stderr(f"{mount.path} is off here; its process {client.pid} is in another mount namespace")
    return 0


def _tell_stays(mount: MountedAt) -> None:
    to_stderr(
        f"{mount.path} stays mounted; sftpfs restore writes back what is saved, "
        "sftpfs umount --force unmounts all the same"
    )


def _tell_lost(values: Values) -> bool:
    for name, count in values["lost"]:
        to_stderr(f"lost: {printable(str(name))}, {size(count)} that the server does not have")
    more = values.get("lost_files", 0) - len(values["lost"])
    if more > 0:
        to_stderr(f"and {several(more, 'further file')}")
    return bool(values["lost"])


def _busy(mount: MountedAt) -> str:
    path, users = mount.path, holders(mount)
    by = some(users) if users else "somebody"
    return f"{path} is in use by {by}; end that, or take it away with: sftpfs umount --force {path}"
