"""``sftpfs umount MNT``."""

from __future__ import annotations

import errno
import os
from argparse import Namespace

from sftpfs.cli.run.flush import flush
from sftpfs.cli.tools.drain_report import print_failures, print_kept, what_waits
from sftpfs.cli.tools.human_format import ProgressLine, plural, size
from sftpfs.control.client import Client, RequestFailedError, connect_for_end
from sftpfs.control.protocol import Values
from sftpfs.control.socket_location import Found, find
from sftpfs.errors import Failure, MountError
from sftpfs.host import mountpoint
from sftpfs.host.daemon import DATA_LOST_STATUS, to_stderr
from sftpfs.host.logs import printable
from sftpfs.host.mount_users import holders, is_elsewhere, some
from sftpfs.host.mountpoint import MountedAt


def run(given: Namespace) -> int:
    """Returns 0 once the mount is gone and everything is on the server, except for copies of others'."""
    found = find(given.mnt)
    os.chdir("/")  # otherwise, called from within the mount, we would use it
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
                lost = _print_lost(values)
            elif "failures" in values:
                result = values
            elif "files" in values:
                line.show(what_waits(values) if values["files"] else "unmounting")
    finally:
        line.clear()
    status = print_failures(result)
    print_kept(client, result)
    if lost:
        return DATA_LOST_STATUS
    if status and not result.get("ended"):
        _print_stays(client.mount)
    return status


def _umount_copy(client: Client, force: bool) -> int:
    """Unmounts a copy that is here; the mount's process would take off the one in its own mount namespace."""
    mount = client.mount
    status = 0 if force else flush(client)
    if status:
        _print_stays(mount)
        return status
    mountpoint.unmount(mount.path, mount.path, force)
    left = mountpoint.mounted_at(mount.path)
    if left is not None and left.identifier == mount.identifier:
        raise MountError(Failure.MOUNTPOINT, _busy(mount))
    to_stderr(f"{mount.path} is off here; its process {client.pid} is in another mount namespace")
    return 0


def _print_stays(mount: MountedAt) -> None:
    to_stderr(
        f"{mount.path} stays mounted; sftpfs restore writes back what is saved, "
        "sftpfs umount --force unmounts all the same"
    )


def _print_lost(values: Values) -> bool:
    for name, count in values["lost"]:
        to_stderr(f"lost: {printable(str(name))}, {size(count)} that the server does not have")
    more = values.get("lost_files", 0) - len(values["lost"])
    if more > 0:
        to_stderr(f"and {plural(more, 'further file')}")
    return bool(values["lost"])


def _busy(mount: MountedAt) -> str:
    path, users = mount.path, holders(mount)
    by = some(users) if users else "somebody"
    return f"{path} is in use by {by}; end that, or unmount all the same with: sftpfs umount --force {path}"
