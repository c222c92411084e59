"""The directory a mount goes over: opened once, and from then on reached by its descriptor.

Between the check of a mountpoint and the mount sftpfs asks the server, which may take as long as it likes.
Meanwhile anybody who may change a directory above can put a link in its place. So the checked directory is
held open. The mount goes over it, and is found and taken off by it, whatever its name is by then. Owns the
descriptor and what mountinfo says of it; asks nothing of what is mounted.

fusermount3, by which plain users mount and unmount, goes by names, with the rights of its user. It is given
the name that the directory has at that moment.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from sftpfs.errors import Failure, MountError
from sftpfs.host.mountpoint import (
    MountedAt,
    all_mounts,
    check_mountpoint,
    detach,
    is_dead,
    mount_of,
    mounted_at,
    unmount,
)

MOST_LOOKS = 50
"""How often the mounts are read again while somebody renames the directory or one above; nobody does that by
accident."""

log = logging.getLogger(__name__)


class Place:
    """The directory at ``path``, which a mount of ours goes over.

    INVARIANT: ``fd`` (O_PATH) is open as long as the process lives. ``mounted`` is set once, by ``attach``.
    """

    __slots__ = ("_before", "fd", "mounted", "path", "under")

    def __init__(self, path: str, source: str, subtype: str) -> None:
        """``path``: absolute, without links. Raises MountError(MOUNTPOINT) unless ``source`` can be mounted
        there."""
        self.path = path
        self.fd = check_mountpoint(path, source, subtype)
        self.under = mounted_at(path)
        """What is already mounted there, with the directory as its root."""
        self.mounted: MountedAt | None = None
        """Our mount as it was when it was made: number and device stay, the name may change."""
        self._before: set[tuple[int, str]] = set()

    @property
    def way(self) -> str:
        """A name that leads to the directory itself, past what is mounted on it."""
        return f"/proc/self/fd/{self.fd}"

    def stack(self) -> list[MountedAt]:
        """What was mounted on the directory since it was opened, the lowest first."""
        for _ in range(MOST_LOOKS):
            name, mounts = os.readlink(self.way), all_mounts()
            if os.readlink(self.way) == name:
                break
        found: list[MountedAt] = []
        parent: int | None = mount_of(f"/proc/self/fdinfo/{self.fd}")
        while over := [mount for mount in mounts if mount.parent == parent and mount.path == name]:
            found.append(over[-1])
            parent = over[-1].identifier
        return found

    def attach(self, mount: Callable[[str], None], by_name: bool) -> None:
        """Calls ``mount`` with a name to mount on; ``mounted`` is then what it made.

        ``by_name``: fusermount3 mounts. Raises MountError(MOUNTPOINT) if another mount was first or the
        directory has moved, and whatever ``mount`` raises; ``take_off`` leaves nothing behind.
        """
        self._refuse_taken(self.stack())
        self._before = {(each.identifier, each.device) for each in all_mounts()}
        mount(os.readlink(self.way) if by_name else self.way)
        found = self.stack()
        ours = [number for number, each in enumerate(found) if each.user_id == os.geteuid()]
        if ours != [0]:
            self._refuse_taken(found)
            raise self.moved()
        self.mounted = found[0]
        if self.under is not None and self.under.type == self.mounted.type:
            message = "%s is mounted on %s as well, and covered while %s is mounted over it"
            log.warning(message, self.under.source, self.path, self.mounted.source)

    def _refuse_taken(self, found: list[MountedAt]) -> None:
        if found:
            message = f"{found[0].source} was mounted on {self.path} meanwhile"
            raise MountError(Failure.MOUNTPOINT, message)

    def moved(self) -> MountError:
        """The error if the path leads to another directory than the one that was checked."""
        message = f"{self.path} became another directory while the server was asked; nothing is mounted"
        return MountError(Failure.MOUNTPOINT, message)

    def silent(self, seconds: float) -> MountError:
        """The error if ``is_shown`` has not returned for ``seconds``."""
        message = (
            f"where {self.path} leads by now could not be seen within {seconds:g} s; nothing is mounted: "
            "does a file system on the way hang, or is this machine too busy?"
        )
        return MountError(Failure.MOUNTPOINT, message)

    def now(self) -> MountedAt | None:
        """Our mount as the kernel shows it now; None if it is out of the tree."""
        ours = self.mounted
        if ours is None:
            return None
        return next((each for each in all_mounts() if _same(each, ours)), None)

    def is_shown(self) -> bool:
        """Whether ``path`` leads to our mount, or to what was mounted over it since. May wait for others'
        file systems, if the path leads through them by now."""
        ours = self.now()
        try:
            shown = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        number = mount_of(f"/proc/self/fdinfo/{shown}")
        os.close(shown)
        mounts = {each.identifier: each for each in all_mounts()}
        while ours is not None and number in mounts and mounts[number].path == ours.path:
            if number == ours.identifier:
                return True
            number = mounts[number].parent
        return False

    def unmount(self, lazy: bool) -> None:
        """Takes our mount off; ``lazy``: even if it is busy. Does nothing if that is refused, or if another
        mount covers it: that one would go."""
        found, ours = self.stack(), self.now()
        if ours is not None and found and _same(found[-1], ours):
            unmount(self.way, ours.path, lazy)

    def take_off(self) -> None:
        """Leaves nothing mounted by us, once the session is closed. Does nothing if everything is off
        already."""
        if self.mounted is not None:
            self.unmount(lazy=True)
            return
        for mount in all_mounts():  # wherever fusermount3 was led to, or over another's
            new = (mount.identifier, mount.device) not in self._before and mount.user_id == os.geteuid()
            if new and _lost_its_process(mount):
                detach(mount)

    def take_off_dead(self) -> None:
        """Takes off what is mounted there and has lost its process, which ended too early."""
        found = self.stack()
        if found and _lost_its_process(found[-1]):
            detach(found[-1])


def _same(one: MountedAt, other: MountedAt) -> bool:
    """Whether both are one mount. Numbers of mounts are reused, and so are those of devices."""
    return (one.identifier, one.device) == (other.identifier, other.device)


def _lost_its_process(mount: MountedAt) -> bool:
    """A FUSE mount whose process is gone; not one that gives no answer, as while it is being made."""
    try:
        return mount.type.startswith("fuse") and is_dead(mount.path)
    except MountError:
        return False
