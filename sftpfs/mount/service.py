"""The composition root: builds the rooms, mounts, serves until unmounted, takes everything down.

Owns the order of these steps, and the signals. This is the only module that knows every room.

Life: check → connect → find the root → mount → read the root → report that it is ready → serve → drain →
close. Until it is ready, a signal cancels and nothing is left mounted. Afterwards a signal unmounts, with all
data on the server.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import trio

from sftpfs import clock
from sftpfs.character_sets import NameConversion
from sftpfs.config import MountConfig, SymlinkPolicy
from sftpfs.control.mount_view import MountView
from sftpfs.control.requests import Requests
from sftpfs.control.server import ControlServer
from sftpfs.control.socket_location import make_directory
from sftpfs.errors import Failure, MountError, said
from sftpfs.fuse.kernel_mount import FuseMount
from sftpfs.host import logs, mount_lock, mountpoint
from sftpfs.host.daemon import DATA_LOST_STATUS
from sftpfs.host.mount_directory import Place
from sftpfs.host.sd_notify import ServiceManager
from sftpfs.mount.ending import Ending
from sftpfs.mount.remote_root import find_root
from sftpfs.mount.salvage import Salvage
from sftpfs.mount.salvage_store import store_directory
from sftpfs.remote.api import Remote
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.iconv_names import ConvertedRemote
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.transport.api import Prompter
from sftpfs.transport.connector import make_connector
from sftpfs.transport.fork_launch import Launched
from sftpfs.transport.prompter import make_prompter

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

YOUNG_OBJECTS = 50_000
"""Allocations between two looks of the garbage collector: a few megabytes at most."""

STATUS_INTERVAL = 2.0
"""Seconds between two looks whether the service manager is to be told something else."""

CLOSE_LIMIT = 5.0
"""Seconds for connections and their processes to end; then they are left to notice it themselves."""

log = logging.getLogger("sftpfs.mount")


class MountPrompter(Prompter, Protocol):
    """Asks a person until the mount is there."""

    def detach(self) -> None:
        """The mount is there: from now on nobody is asked."""


def serve_in_loop(
    config: MountConfig,
    place: Place,
    prompter: MountPrompter | None,
    ready: Callable[[], None],
    launched: Launched | None,
) -> int:
    """``serve`` in an event loop; calls ``ready`` once the mount is there. Raises MountError."""
    asking = prompter or make_prompter(os.environ)

    def announce() -> None:
        asking.detach()  # a person is asked before the mount is there, never out of the blue
        ready()

    return trio.run(serve, config, place, asking, announce, launched)


def _alone() -> AbstractContextManager[None]:
    """No other process of the user mounts meanwhile. If we have no directory for the lock, another one
    may."""
    try:
        return mount_lock.alone(make_directory())
    except OSError:
        return nullcontext()


async def serve(
    config: MountConfig,
    place: Place,
    prompter: Prompter,
    report_ready: Callable[[], None],
    launched: Launched | None = None,
) -> int:
    """Connects, mounts, calls ``report_ready``, and serves until unmounted.

    Returns 0, or DATA_LOST_STATUS if data could not be written. Raises MountError, in an exception group.
    """
    # What is alive now stays alive. Later there are long-lived inodes by the hundred thousand, for
    # which the default, to look at the young ones every 700 allocations, costs a lot.
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    service = _Service(config, place, prompter, report_ready, launched)
    # The receiver gives the signals back to this: one that comes once all is done changes no exit status.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    with trio.open_signal_receiver(*STOP_SIGNALS, signal.SIGUSR1) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.watch_signals, signals, nursery)
            nursery.start_soon(service.inform_manager)
            with mount_lock.claimed(place.way):
                status = await service.run(nursery)
            nursery.cancel_scope.cancel()
    return status


class _Service:
    """One mount's life in the trio loop, but for its end."""

    __slots__ = (
        "_config",
        "_control",
        "_ending",
        "_launched",
        "_manager",
        "_place",
        "_pool",
        "_prompter",
        "_ready",
        "_salvage",
        "_start_scope",
        "_stops",
    )

    def __init__(
        self,
        config: MountConfig,
        place: Place,
        prompter: Prompter,
        report_ready: Callable[[], None],
        launched: Launched | None = None,
    ) -> None:
        self._config = config
        self._launched = launched
        self._place = place
        self._prompter = prompter
        self._ready = report_ready
        self._control: ControlServer | None = None
        self._salvage = Salvage(
            store_directory(),
            str(config.endpoint),
            config.mountpoint,
            2 * config.data.dirty_bytes,  # all there is, and as much again while that is being saved
        )
        self._manager = ServiceManager()
        self._pool: ConnectionPool | None = None
        self._start_scope = trio.CancelScope()
        self._ending = Ending(config, place, self._manager, self._salvage)
        self._stops = 0

    async def run(self, nursery: trio.Nursery) -> int:
        """The whole life; see ``serve``."""
        config = self._config
        connector = make_connector(config.transport, config.endpoint, self._prompter, nursery, self._launched)
        self._pool = pool = ConnectionPool(connector, config.pool, nursery)
        try:
            with self._start_scope:
                fuse_mount = await self._start(pool, nursery)
            if self._start_scope.cancelled_caught:
                raise MountError(Failure.INTERRUPTED, "interrupted")
            if self._start_scope.cancel_called:
                # The signal came when the last wait of the start was over already.
                nursery.start_soon(self._ending.leave, fuse_mount)
            return await self._serve_kernel(fuse_mount)
        finally:
            if self._control is not None:
                self._control.close()
            with trio.move_on_after(CLOSE_LIMIT, shield=True):
                await pool.aclose()
                await connector.aclose()

    async def _start(self, pool: ConnectionPool, nursery: trio.Nursery) -> FuseMount:
        config = self._config
        if not config.delay_connect:
            await pool.start(interactive=self._prompter.available)
        remote: Remote = SftpRemote(pool, follow_symlinks=config.symlinks is SymlinkPolicy.FOLLOW)
        root = await find_root(remote, config)
        log.info("the directory on the server is %s", os.fsdecode(root.path))
        if config.names.to_code is not None:
            names = NameConversion(config.names.from_code, config.names.to_code)
            remote, root = ConvertedRemote(remote, names), root._replace(path=names.shown_path(root.path))
        self._salvage.root = root.path
        fuse_mount = FuseMount(config, self._place, remote, root.path, root.attributes, self._salvage)
        try:
            with _alone():
                fuse_mount.mount()
            if not config.delay_connect:
                await fuse_mount.prime()
            await self._check_place()
            self._open_control(pool, remote, fuse_mount, nursery)
            # No await between these and run: a signal finds either no mount or one that serves.
            self._ending.fuse_mount = fuse_mount
            self._ready()
            self._manager.ready(self._state())
            logs.mounted()
            log.info("mounted %s on %s", config.endpoint, config.mountpoint)
        except BaseException:
            fuse_mount.close()
            raise
        return fuse_mount

    async def _check_place(self) -> None:
        """Raises MountError(MOUNTPOINT) if the mountpoint's name may lead elsewhere by now."""
        shown: list[bool] = []
        with trio.move_on_after(mountpoint.PROBE_LIMIT):
            shown.append(await trio.to_thread.run_sync(self._place.is_shown, abandon_on_cancel=True))
        if not shown:
            raise self._place.silent(mountpoint.PROBE_LIMIT)
        if not shown[0]:
            raise self._place.moved()

    def _open_control(
        self, pool: ConnectionPool, remote: Remote, fuse_mount: FuseMount, nursery: trio.Nursery
    ) -> None:
        """Opens the control socket. If that fails, the mount works without one."""
        view = MountView(
            self._config,
            remote,
            fuse_mount.filesystem,
            pool.statistics,
            pool.limit,
            fuse_mount.forget,
            self._salvage.statistics,
            fuse_mount.is_read_only,
            self._ending,
            fuse_mount.tracer,
            clock.wall(),
        )
        requests = Requests(view)
        control = ControlServer(requests.handlers(), requests.streams())
        try:
            control.listen(make_directory(), fuse_mount.device)
        except OSError as error:
            log.warning("no control socket, sftpfs status and the like cannot be used: %s", said(error))
            return
        self._control = control
        nursery.start_soon(control.run)

    async def _serve_kernel(self, fuse_mount: FuseMount) -> int:
        served = False
        try:
            await fuse_mount.run()
            served = True
            if self._control is not None:
                self._control.withdraw()
        finally:
            failures = await self._ending.drain(fuse_mount, broken=not served)
            fuse_mount.close()
            await self._ending.announce_end(failures)
        log.info("unmounted %s", self._config.mountpoint)
        return DATA_LOST_STATUS if failures else 0

    async def watch_signals(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        """Turns signals into what they mean now."""
        async for number in signals:
            if number == signal.SIGUSR1:
                self._log_statistics()
                continue
            self._stops += 1
            if self._ending.fuse_mount is None:
                self._start_scope.cancel()
            elif self._stops == 1:
                log.info("unmounting after %s", signal.Signals(number).name)
                self._manager.stopping("unmounting")
                nursery.start_soon(self._ending.leave, self._ending.fuse_mount)
            elif self._stops == 2:
                self._ending.fuse_mount.terminate()
            else:
                # Whoever asks three times does not want to wait for the server.
                self._ending.give_up()

    async def inform_manager(self) -> None:
        """Signs of life, and the state of the mount in a line, for a service manager that wants them."""
        manager = self._manager
        if not manager.present:
            return
        interval = min(STATUS_INTERVAL, manager.watchdog_interval or STATUS_INTERVAL)
        sent = ""
        while True:
            if manager.watchdog_interval:
                manager.alive()
            if self._ending.fuse_mount is not None and not self._stops and self._state() != sent:
                sent = self._state()
                manager.status(sent)
            await trio.sleep(interval)

    def _state(self) -> str:
        """The mount in a line."""
        what = f"{self._config.endpoint} on {self._config.mountpoint}"
        if self._pool is None or self._pool.metadata_nowait() is None:
            return f"{what}: no connection to the server"
        return f"{what}: connections: {self._pool.count}"

    def _log_statistics(self) -> None:
        statistics: dict[str, object] = {}
        if self._pool is not None:
            statistics["pool"] = self._pool.statistics()
        if self._ending.fuse_mount is not None:
            statistics["mount"] = self._ending.fuse_mount.statistics()
        log.info("statistics %s", json.dumps(statistics, default=str))
