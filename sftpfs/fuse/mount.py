"""One kernel mount: its options, its life from mount(2) to the last byte on the server.

The only owner of pyfuse3's session, which is one per process.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable
from contextlib import suppress

import pyfuse3
import trio

from sftpfs.aio import in_thread
from sftpfs.config import MountConfig
from sftpfs.errors import Failure, MountError
from sftpfs.fuse import turns
from sftpfs.fuse.forgetting import Forgetting
from sftpfs.fuse.operations import Operations, outdate_all
from sftpfs.fuse.reply import Replies
from sftpfs.fuse.trace import Tracer
from sftpfs.place import Place
from sftpfs.remote.api import Remote
from sftpfs.types import Attributes, Unwritten
from sftpfs.vfs.filesystem import Filesystem, LossRecord

log = logging.getLogger(__name__)

READ_AHEAD_KIB = 256
"""What the kernel is to ask for at once in a stream, KiB: half as many requests as with its
usual 128. More saves little and would be fetched for a page of a mapped file, too."""

UNMOUNT_PATIENCE = 5.0
"""Seconds a regular unmount gets before a busy mount is detached from the tree."""

TELLING_TOGETHER = 256
"""Threads in which the kernel is told of names: each waits while a change has the name's directory, for as
long as the server takes. They are counted apart, lest what else needs a thread wait with them. More are
hardly ever needed: behind each is a program in the midst of a change."""


class FuseMount:
    """Mounts a ``Filesystem`` on a ``Place``.

    Life: ``mount`` → ``prime`` → ``run`` (until unmounted or ``terminate``) → ``drain`` → ``close``.
    """

    def __init__(
        self,
        config: MountConfig,
        place: Place,
        remote: Remote,
        root: bytes,
        attributes: Attributes,
        losses: LossRecord,
    ) -> None:
        self._config = config
        self._place = place
        self._remote = remote
        self._root = root
        self.filesystem = Filesystem(config, remote, root, attributes, losses)
        self._mounted = False
        self._telling = trio.CapacityLimiter(TELLING_TOGETHER)
        self._scope: trio.CancelScope | None = None

    def mount(self) -> None:
        """Attach to the kernel. Raises MountError with what the system said; ``close`` then, too."""
        self._operations = Operations(self.filesystem, Replies(self.filesystem, self._config.cache))
        options = mount_options(self._config)

        def init(name: str) -> None:
            pyfuse3.init(self._operations, name, options)
            self._mounted = True

        try:
            self._place.attach(init, by_name=bool(os.geteuid()) or "auto_unmount" in options)
        except RuntimeError as problem:
            raise self._refusal(problem) from None
        self.tracer = Tracer(self._operations, self.filesystem)
        self.filesystem.outdate = self._operations.outdate
        self.filesystem.forget = Forgetting().forget
        self.filesystem.forget_names = self.forget

    @property
    def device(self) -> str:
        """The mount's device number, ``major:minor``; nothing where there is no mount."""
        return self._place.mounted.device if self._place.mounted is not None else ""

    def _refusal(self, problem: RuntimeError) -> MountError:
        path, under = self._config.mountpoint, self._place.under
        if under is not None and os.geteuid():
            message = (
                f"cannot mount over {under.source}, which is mounted on {path} already: unmount that first"
            )
            return MountError(Failure.MOUNTPOINT, f"{message}, with: {under.unmounting}")
        message = f"the kernel refused to mount {path} ({problem})"
        return MountError(
            Failure.FUSE, f"{message}: check the options given with -o and that /dev/fuse may be used"
        )

    async def prime(self) -> None:
        """Read the root once, so that the mount is known to work before it is announced.

        Raises MountError where the root can be neither listed nor entered.
        """
        await self.filesystem.learn_owner()
        try:
            await self.filesystem.listings.listing(self.filesystem.tree.root)
        except OSError as problem:
            # A directory that may be entered but not listed is still worth mounting.
            if problem.errno != errno.EACCES or not await self._may_be_entered():
                raise MountError(
                    Failure.REMOTE_DIRECTORY,
                    f"{self._config.endpoint} cannot be read: {problem.strerror or problem}",
                ) from None
        await self.filesystem.learn_owner_by_root()
        fuse = self._config.fuse
        note = self.filesystem.owners.note_of_owner(fuse.allow_other or fuse.allow_root)
        if note is not None:
            log.warning("note: %s", note)

    async def _may_be_entered(self) -> bool:
        """Whether names in the root could lead anywhere; that is asked only where it cannot be listed."""
        if not self._config.check_root:
            return True
        try:
            await self._remote.stat(os.path.join(self._root, b"."))
        except OSError as problem:
            return problem.errno != errno.EACCES
        return True

    async def run(self) -> None:
        """Serve the kernel until unmounted or terminated."""
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            nursery.start_soon(self.filesystem.contents.run)
            nursery.start_soon(self.filesystem.background.run)
            nursery.start_soon(self._widen_read_ahead)
            turns.install()
            await pyfuse3.main()
            nursery.cancel_scope.cancel()

    async def _widen_read_ahead(self) -> None:
        """Once the kernel has settled its own figure with us, raise it."""
        await self._operations.initialised.wait()
        widen_read_ahead(self.device)

    async def detach(self, lazy: bool) -> bool:
        """Unmount as umount(8) would, so that the kernel hands over what it still holds; ``lazy`` also where
        somebody uses it: ``run`` returns once the last user is gone. True where it is out of the tree."""
        if not self.is_there():
            return True
        with trio.move_on_after(UNMOUNT_PATIENCE):
            await in_thread(self._place.unmount, lazy, abandon_on_cancel=True)
        return not self.is_there()

    def is_there(self) -> bool:
        """Whether it is in the tree, wherever."""
        return self._place.now() is not None

    async def forget(self, entries: Iterable[tuple[int, bytes]], inodes: Iterable[int]) -> None:
        """Make the kernel look up these names (directory's inode number, name) anew and drop the
        attributes and pages of these inodes.

        Waits for requests under way on them, in a thread of their own kind: we have to answer those
        meanwhile, and may need threads for that.
        """
        if self._mounted:
            numbers = list(inodes)
            self._operations.outdating(numbers)
            await in_thread(outdate_all, list(entries), numbers, limiter=self._telling)

    def terminate(self) -> None:
        """Make ``run`` return although the mount may be busy. Nothing once it is closed."""
        if self._mounted:  # the session is freed with it
            pyfuse3.terminate()

    def abandon(self) -> None:
        """Make ``run`` return at once: requests under way get no answer but the end of the mount."""
        if self._scope is not None:
            self._scope.cancel()

    async def drain(self) -> list[Unwritten]:
        """All dirty data to the server; the files that failed."""
        self._operations.note_closed()
        return await self.filesystem.drain()

    def give_up(self, failure: OSError) -> list[Unwritten]:
        """What is dirty is lost, for ``failure``; the files concerned."""
        return self.filesystem.give_up(failure)

    @property
    def dirty_bytes(self) -> int:
        """Bytes accepted that are not on the server yet."""
        return self.filesystem.contents.dirty_bytes

    @property
    def dirty_files(self) -> int:
        """Files with something that is not on the server yet."""
        return len(self.filesystem.contents.dirty())

    def close(self) -> None:
        """Detach from the kernel; idempotent. The session goes first: an unmount may wait for its answers."""
        if self._mounted:
            self._mounted = False
            pyfuse3.close(unmount=False)
            self._place.take_off()

    def statistics(self) -> dict[str, int]:
        """Counters since the mount."""
        return self.filesystem.statistics()


def widen_read_ahead(device: str) -> None:
    """Have the kernel ask for READ_AHEAD_KIB at once when it reads ahead on ``device`` (``major:minor``).

    libfuse can only lower the kernel's figure; raising it is root's, and where we may not
    nothing changes.
    """
    with suppress(OSError, ValueError), open(f"/sys/class/bdi/{device}/read_ahead_kb", "r+") as file:
        if int(file.read()) < READ_AHEAD_KIB:
            file.seek(0)
            file.write(f"{READ_AHEAD_KIB}\n")


def mount_options(config: MountConfig) -> set[str]:
    """What libfuse and the kernel are told."""
    fuse = config.fuse
    name = fuse.filesystem_name if fuse.filesystem_name is not None else str(config.endpoint)
    options = {f"fsname={_escaped(name)}", f"subtype={fuse.subtype}", *fuse.passthrough}
    if fuse.allow_other:
        options.add("allow_other")
    if fuse.allow_root:
        options.add("allow_root")
    if fuse.kernel_judges:
        options.add("default_permissions")
    if fuse.read_only:
        options.add("ro")
    return options


def _escaped(name: str) -> str:
    """libfuse splits options at commas and takes a backslash as the way out."""
    ascii_name = name.encode("ascii", "backslashreplace").decode()
    return ascii_name.replace("\\", "\\\\").replace(",", "\\,")
