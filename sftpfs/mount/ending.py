"""The end of a mount: who asks for it, what is still to be written, who waits to hear of it.

Owned by ``mount.service``, which says when.
"""

from __future__ import annotations

import errno
import logging
import sys
from contextlib import suppress

import trio

from sftpfs.aio import Slot, in_thread
from sftpfs.config import MountConfig
from sftpfs.errors import error
from sftpfs.fuse.kernel_mount import FuseMount
from sftpfs.host import mount_users
from sftpfs.host.mount_directory import Place
from sftpfs.host.sd_notify import ServiceManager
from sftpfs.mount.drain_progress import report
from sftpfs.mount.salvage import Salvage
from sftpfs.types import Unwritten

LEAVE_LIMIT = 1.0
"""Seconds the kernel has to end a session after the unmount; longer means somebody still is inside."""

FAREWELL_LIMIT = 1.0
"""Seconds to tell a person who waits for the unmount that it is done."""

THREAD_PATIENCE = 1.0
"""Seconds the end waits for a thread to be had; then it does without, and holds up who looks in."""

log = logging.getLogger("sftpfs.mount")


class Ending:
    """The ``Life`` that requests of people see."""

    __slots__ = (
        "_config",
        "_drain_scope",
        "_drained",
        "_farewells",
        "_manager",
        "_place",
        "_salvage",
        "fuse_mount",
    )

    def __init__(self, config: MountConfig, place: Place, manager: ServiceManager, salvage: Salvage) -> None:
        self._config = config
        self._place = place
        self._manager = manager
        self._salvage = salvage
        self._drain_scope = trio.CancelScope(shield=True)
        self._drained: Slot[list[str]] = Slot()
        self._farewells: list[trio.Event] = []
        self.fuse_mount: FuseMount | None = None
        """Set by ``mount.service`` from ready to the end, and only then."""

    async def drain(self, fuse_mount: FuseMount, *, broken: bool) -> list[str]:
        """Everything to the server, or saved here; returns a line for each file that is not there.

        ``broken``: something broke, which may be what this waits for: no longer than for one request then.
        """
        config = self._config
        if broken:
            self._drain_scope.deadline = trio.current_time() + config.pool.timeout
        unwritten: list[Unwritten] = []
        self._manager.stopping("unmounted; writing what is left to the server")
        with self._drain_scope:
            async with trio.open_nursery() as nursery:
                terminal = config.foreground and sys.stderr.isatty()
                nursery.start_soon(report, lambda: fuse_mount.dirty_bytes, config.endpoint.host, terminal)
                unwritten = await fuse_mount.drain()
                nursery.cancel_scope.cancel()
        if self._drain_scope.cancelled_caught:
            unwritten = fuse_mount.give_up(error(errno.ECANCELED, "the mount was ended before it was done"))
        with trio.CancelScope(shield=True):
            try:
                await in_thread(self._salvage.close, patience=THREAD_PATIENCE)
            except OSError:
                self._salvage.close()
        failures = [fuse_mount.filesystem.describe_unwritten(one) for one in unwritten]
        for failure in failures:
            log.error("data lost: %s", failure)
        return failures

    async def announce_end(self, failures: list[str]) -> None:
        """Let those who wait for the end hear of it."""
        self._drained.set(failures)
        with trio.move_on_after(FAREWELL_LIMIT, shield=True):
            for heard in self._farewells:
                await heard.wait()

    async def detach(self, lazy: bool) -> bool:
        """As ``Life.detach``."""
        return self.fuse_mount is None or await self.fuse_mount.detach(lazy)

    def give_up(self) -> None:
        """As ``Life.give_up``."""
        if self.fuse_mount is not None:
            self.fuse_mount.abandon()
        self._drain_scope.cancel()

    async def drained(self) -> list[str]:
        """As ``Life.drained``."""
        return await self._drained.wait()

    async def kept(self) -> str:
        """As ``Life.kept``."""
        quiet = 0.0
        while True:
            await trio.sleep(mount_users.INTERVAL)
            fuse_mount = self.fuse_mount
            if fuse_mount is None or fuse_mount.is_there() or fuse_mount.dirty_files:
                quiet = 0.0
                continue
            quiet += mount_users.INTERVAL
            if quiet < mount_users.PATIENCE:
                continue
            who = await in_thread(mount_users.keepers, fuse_mount.device)
            if who or quiet > mount_users.LIMIT:
                return who or "a process that cannot be seen from here"

    def expect_listener(self) -> trio.Event:
        """As ``Life.expect_listener``."""
        heard = trio.Event()
        self._farewells.append(heard)
        return heard

    async def leave(self, fuse_mount: FuseMount) -> None:
        """Unmount; where somebody stays inside, end a moment later without them, and say who that is."""
        if not await fuse_mount.detach(lazy=False):
            mount = self._place.now()
            users: list[str] = []
            with suppress(OSError):
                users = (
                    await in_thread(mount_users.holders, mount, patience=LEAVE_LIMIT)
                    if mount is not None
                    else []
                )
            path = self._config.mountpoint
            log.warning(
                "%s is in use by %s: cut off in a second", path, mount_users.some(users) or "somebody"
            )
            await fuse_mount.detach(lazy=True)
        await trio.sleep(LEAVE_LIMIT)
        fuse_mount.terminate()
