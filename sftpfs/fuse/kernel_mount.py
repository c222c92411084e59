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
from sftpfs.fuse import device_turns
from sftpfs.fuse.cache_pruning import CachePruning
from sftpfs.fuse.invalidation import drop_removed, invalidate_all
from sftpfs.fuse.operations import Operations
from sftpfs.fuse.reply import Replies
from sftpfs.fuse.trace import Tracer
from sftpfs.host.mount_directory import Place
from sftpfs.remote.api import Remote
from sftpfs.types import Attributes, Unwritten
from sftpfs.vfs.filesystem import Filesystem, LossRecord

log = logging.getLogger(__name__)

READ_AHEAD_KIB = 256
"""How much the kernel shall request at once in a stream, KiB: half as many requests as with its usual 128.
More saves little and would be fetched for a page of a mapped file, too."""

IDLE_TASKS = 4
"""Tasks that stay and wait for requests. With pyfuse3's one, a task ends and another begins whenever two
requests meet: for every fourth file of ``rm -rf``."""

UNMOUNT_PATIENCE = 5.0
"""Seconds a regular unmount gets before a busy mount is detached from the tree."""

INVALIDATIONS_TOGETHER = 256
"""Threads in which the kernel is told of names. Each waits while a change has the name's directory, for as
long as the server takes. They are counted apart, so that other work that needs a thread does not wait with
them. More are hardly ever needed: behind each is a program in the middle of a change."""

UNSAFE = frozenset({"suid", "dev"})
"""Options that the kernel takes only from root; libfuse leaves them out silently."""


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
        self._invalidating = trio.CapacityLimiter(INVALIDATIONS_TOGETHER)
        self._scope: trio.CancelScope | None = None

    def mount(self) -> None:
        """Attaches to the kernel. Raises MountError with what the system said; call ``close`` then, too."""
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
        self.filesystem.attributes_changed = self._operations.invalidation.attributes_changed
        self.filesystem.memory.forget = CachePruning().forget
        self.filesystem.forget_names = self.forget
        self.filesystem.remover.names_gone = self._drop_names

    @property
    def device(self) -> str:
        """The mount's device number, ``major:minor``; empty if there is no mount."""
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
        """Reads the root once, so that the mount is known to work before it is announced.

        Raises MountError if the root can be neither listed nor entered.
        """
        await self.filesystem.learn_owner()
        try:
            await self.filesystem.listings.listing(self.filesystem.tree.root, speculative=True)
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
        for word in sorted(UNSAFE & set(fuse.passthrough)) if os.geteuid() else ():
            log.warning("note: option %s is ignored: only root may mount so, this mount is no%s", word, word)

    async def _may_be_entered(self) -> bool:
        """Whether names in the root could lead anywhere; only asked if it cannot be listed."""
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
            device_turns.install()
            await pyfuse3.main(min_tasks=IDLE_TASKS)
            nursery.cancel_scope.cancel()

    async def _widen_read_ahead(self) -> None:
        """Once the kernel has settled its own figure with us, raise it."""
        await self._operations.initialised.wait()
        widen_read_ahead(self.device)

    async def detach(self, lazy: bool) -> bool:
        """Unmounts as umount(8) would, so that the kernel hands over what it still holds; ``lazy``: even if
        somebody uses it, and ``run`` returns once the last user is gone. True if it is out of the tree."""
        if not self.is_there():
            return True
        with trio.move_on_after(UNMOUNT_PATIENCE):
            await in_thread(self._place.unmount, lazy, abandon_on_cancel=True)
        return not self.is_there()

    def is_there(self) -> bool:
        """Whether it is in the tree, at whatever place."""
        return self._place.now() is not None

    def is_read_only(self) -> bool:
        """Whether the kernel lets nobody write through it now, at whatever place it is."""
        ours = self._place.now()
        return ours is not None and ours.read_only

    async def forget(self, entries: Iterable[tuple[int, bytes]], inodes: Iterable[int]) -> None:
        """Makes the kernel look up these names (directory's inode number, name) anew and drop the attributes
        and pages of these inodes.

        Waits for requests under way on them, in threads of their own kind: we have to answer those requests
        meanwhile, and may need threads for that.
        """
        if self._mounted:
            numbers = list(inodes)
            self._operations.invalidation.expected(numbers)
            await in_thread(invalidate_all, list(entries), numbers, limiter=self._invalidating)

    async def _drop_names(self, gone: list[tuple[int, bytes, int]]) -> None:
        """As ``forget``, of names (directory's inode number, name, the file's number or 0) that were
        removed."""
        if self._mounted:
            await in_thread(drop_removed, gone, limiter=self._invalidating)

    def terminate(self) -> None:
        """Makes ``run`` return although the mount may be busy. Does nothing once it is closed."""
        if self._mounted:  # the session is freed with it
            pyfuse3.terminate()

    def abandon(self) -> None:
        """Makes ``run`` return at once: requests under way get no answer except the end of the mount."""
        if self._scope is not None:
            self._scope.cancel()

    async def drain(self) -> list[Unwritten]:
        """Brings all dirty data to the server. Returns the files that failed."""
        self._operations.note_closed()
        return await self.filesystem.drain()

    def give_up(self, failure: OSError) -> list[Unwritten]:
        """What is dirty is lost, because of ``failure``. Returns the files concerned."""
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
            device_turns.end()
            pyfuse3.close(unmount=False)
            self._place.take_off()

    def statistics(self) -> dict[str, int]:
        """Counters since the mount."""
        return self.filesystem.statistics()


def widen_read_ahead(device: str) -> None:
    """Makes the kernel ask for READ_AHEAD_KIB at once when it reads ahead on ``device`` (``major:minor``).

    libfuse can only lower the kernel's figure. Only root may raise it; if we may not, nothing changes.
    """
    with suppress(OSError, ValueError), open(f"/sys/class/bdi/{device}/read_ahead_kb", "r+") as file:
        if int(file.read()) < READ_AHEAD_KIB:
            file.seek(0)
            file.write(f"{READ_AHEAD_KIB}\n")


def mount_options(config: MountConfig) -> set[str]:
    """The options for libfuse and the kernel."""
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
