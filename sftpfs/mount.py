"""The composition root: builds the rooms, mounts, serves until unmounted, takes all down.

Owns the order of things and the signals. The only module that knows every room.

Life: check → connect → find the root → mount → read the root → tell that it is
ready → serve → drain → close. Until ready, a signal cancels and nothing is left
mounted; afterwards it unmounts, with all data on the server.
"""

from __future__ import annotations

import errno
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Protocol

import trio

from sftpfs import beneath, claim, clock, covering, kept, logs, mountpoint
from sftpfs.aio import Slot, in_thread
from sftpfs.character_sets import NameConversion
from sftpfs.config import MountConfig, SymlinkPolicy, TransportKind
from sftpfs.control.location import make_directory
from sftpfs.control.mounted import Mounted
from sftpfs.control.requests import Requests
from sftpfs.control.server import ControlServer
from sftpfs.errors import Failure, MountError, error, said
from sftpfs.fuse.mount import FuseMount
from sftpfs.place import Place
from sftpfs.process import DATA_LOST_STATUS, guarded, leave_no_core, run_as_daemon, to_stderr
from sftpfs.progress import report
from sftpfs.remote.api import Remote
from sftpfs.remote.converted import ConvertedRemote
from sftpfs.remote.pool import Pool
from sftpfs.remote.server import Server
from sftpfs.root import find_root
from sftpfs.salvage import Salvage
from sftpfs.service_manager import ServiceManager
from sftpfs.store import store_directory
from sftpfs.transport.api import Prompter
from sftpfs.transport.connector import make_connector
from sftpfs.transport.prompter import make_prompter
from sftpfs.types import Unwritten

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

YOUNG_OBJECTS = 50_000
"""Allocations between two looks of the garbage collector: a few megabytes at most."""

STATUS_INTERVAL = 2.0
"""Seconds between two looks whether the service manager is to be told something else."""

LEAVE_LIMIT = 1.0
"""Seconds the kernel has to end a session after the unmount; longer means somebody still is inside."""

FAREWELL_LIMIT = 1.0
"""Seconds to tell a person who waits for the unmount that it is done."""

THREAD_PATIENCE = 1.0
"""Seconds the end waits for a thread to be had; then it does without, and holds up who looks in."""

CLOSE_LIMIT = 5.0
"""Seconds for connections and their processes to end; then they are left to notice it themselves."""

log = logging.getLogger("sftpfs.mount")


class MountPrompter(Prompter, Protocol):
    """Asks a person until the mount is there."""

    def detach(self) -> None:
        """The mount is there: from now on nobody is asked."""


def run(config: MountConfig, notes: list[str], prompter: MountPrompter | None = None) -> int:
    """Mount as ``config`` says; returns the exit status. In a daemon's child: at the end of the mount.

    ``notes`` are lines about options without effect, told with ``-v``; ``prompter`` asks in place of
    the terminal or the askpass program. Raises MountError.
    """
    logs.start(config.log_file, config.verbose, config.debug)
    for note in notes:
        log.info("%s", note)
    if not config.debug:
        leave_no_core()
    place = check(config)

    def serve_in_loop(ready: Callable[[], None]) -> int:
        asking = prompter or make_prompter(os.environ)

        def announce() -> None:
            asking.detach()  # a person is asked before the mount is there, never out of the blue
            ready()

        return trio.run(serve, config, place, asking, announce)

    if config.foreground:
        return guarded(lambda: serve_in_loop(lambda: None), to_stderr, config.debug)
    return run_as_daemon(
        serve_in_loop,
        clean_up=place.take_off_dead,
        keep_stdio=config.transport.kind is TransportKind.PASSIVE,
        debug=config.debug,
    )


def check(config: MountConfig) -> Place:
    """What can be known to fail before the server is asked; the directory to mount on. Raises MountError."""
    covering.check(config)
    mountpoint.check_fuse()
    for option, given in (("allow_other", config.fuse.allow_other), ("allow_root", config.fuse.allow_root)):
        if given:
            mountpoint.check_allowed(option)
    mountpoint.recover(config.mountpoint, config.fuse.subtype)
    return Place(config.mountpoint, source_name(config), config.fuse.subtype)


def _alone() -> AbstractContextManager[None]:
    """No other process of the user mounts meanwhile; where no directory is ours to tell by, one may."""
    try:
        return claim.alone(make_directory())
    except OSError:
        return nullcontext()


def source_name(config: MountConfig) -> str:
    """The source as mountinfo shows it."""
    name = config.fuse.filesystem_name
    return (str(config.endpoint) if name is None else name).encode("ascii", "backslashreplace").decode()


async def serve(
    config: MountConfig, place: Place, prompter: Prompter, report_ready: Callable[[], None]
) -> int:
    """Connect, mount, call ``report_ready``, and serve until unmounted.

    Returns 0, or DATA_LOST_STATUS where data could not be written. Raises MountError,
    in an exception group.
    """
    # What is alive now stays so; what comes are long-lived inodes by the hundred thousand,
    # for which the default of looking at the young ones every 700 allocations costs a lot.
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    service = _Service(config, place, prompter, report_ready)
    with trio.open_signal_receiver(*STOP_SIGNALS, signal.SIGUSR1) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.watch_signals, signals, nursery)
            nursery.start_soon(service.inform_manager)
            beneath.hold(beneath.Held(place.path, place.fd))
            with claim.claimed(place.way):
                status = await service.run(nursery)
            nursery.cancel_scope.cancel()
    return status


class _Service:
    """One mount's life in the trio loop; the ``Life`` that requests of people see.

    INVARIANT: ``_fuse_mount`` is set from ready to the end, and only then.
    """

    __slots__ = (
        "_config",
        "_control",
        "_drain_scope",
        "_drained",
        "_farewells",
        "_fuse_mount",
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
        self, config: MountConfig, place: Place, prompter: Prompter, report_ready: Callable[[], None]
    ) -> None:
        self._config = config
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
        self._pool: Pool | None = None
        self._fuse_mount: FuseMount | None = None
        self._start_scope = trio.CancelScope()
        self._drain_scope = trio.CancelScope(shield=True)
        self._drained: Slot[list[str]] = Slot()
        self._farewells: list[trio.Event] = []
        self._stops = 0

    async def run(self, nursery: trio.Nursery) -> int:
        """The whole life; see ``serve``."""
        config = self._config
        connector = make_connector(config.transport, config.endpoint, self._prompter, nursery)
        self._pool = pool = Pool(connector, config.pool, nursery)
        try:
            with self._start_scope:
                fuse_mount = await self._start(pool, nursery)
            if self._start_scope.cancelled_caught:
                raise MountError(Failure.INTERRUPTED, "interrupted")
            if self._start_scope.cancel_called:
                # The signal came when the last wait of the start was over already.
                nursery.start_soon(self._leave, fuse_mount)
            return await self._serve_kernel(fuse_mount)
        finally:
            if self._control is not None:
                self._control.close()
            with trio.move_on_after(CLOSE_LIMIT, shield=True):
                await pool.aclose()
                await connector.aclose()

    async def _start(self, pool: Pool, nursery: trio.Nursery) -> FuseMount:
        config = self._config
        if not config.delay_connect:
            await pool.start(interactive=self._prompter.available)
        remote: Remote = Server(pool, follow_symlinks=config.symlinks is SymlinkPolicy.FOLLOW)
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
            self._fuse_mount = fuse_mount
            self._ready()
            self._manager.ready(self._state())
            logs.mounted()
            log.info("mounted %s on %s", config.endpoint, config.mountpoint)
        except BaseException:
            fuse_mount.close()
            raise
        return fuse_mount

    async def _check_place(self) -> None:
        """Raises MountError(MOUNTPOINT) where the mountpoint's name may lead elsewhere by now."""
        shown: list[bool] = []
        with trio.move_on_after(mountpoint.PROBE_LIMIT):
            shown.append(await trio.to_thread.run_sync(self._place.is_shown, abandon_on_cancel=True))
        if not shown:
            raise self._place.silent(mountpoint.PROBE_LIMIT)
        if not shown[0]:
            raise self._place.moved()

    def _open_control(self, pool: Pool, remote: Remote, fuse_mount: FuseMount, nursery: trio.Nursery) -> None:
        """Let people look in. Where that cannot be, the mount does without."""
        view = Mounted(
            self._config,
            remote,
            fuse_mount.filesystem,
            pool.statistics,
            fuse_mount.forget,
            self._salvage.statistics,
            self,
            fuse_mount.tracer,
            clock.wall(),
        )
        control = ControlServer(Requests(view).handlers())
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
            if not served:
                # Something broke; what it broke may be what drain waits for.
                self._drain_scope.deadline = trio.current_time() + self._config.pool.timeout
            failures = await self._drain(fuse_mount)
            fuse_mount.close()
            await self._say_farewell(failures)
        log.info("unmounted %s", self._config.mountpoint)
        return DATA_LOST_STATUS if failures else 0

    async def _drain(self, fuse_mount: FuseMount) -> list[str]:
        """Everything to the server, or saved here; tells what is not there."""
        config = self._config
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
        failures = [fuse_mount.filesystem.told(one) for one in unwritten]
        for failure in failures:
            log.error("data lost: %s", failure)
        return failures

    async def _say_farewell(self, failures: list[str]) -> None:
        """Let those who wait for the end hear of it."""
        self._drained.set(failures)
        with trio.move_on_after(FAREWELL_LIMIT, shield=True):
            for told in self._farewells:
                await told.wait()

    async def detach(self, lazy: bool) -> bool:
        """As ``Life.detach``."""
        return self._fuse_mount is None or await self._fuse_mount.detach(lazy)

    def give_up(self) -> None:
        """As ``Life.give_up``."""
        if self._fuse_mount is not None:
            self._fuse_mount.abandon()
        self._drain_scope.cancel()

    async def drained(self) -> list[str]:
        """As ``Life.drained``."""
        return await self._drained.wait()

    async def kept(self) -> str:
        """As ``Life.kept``."""
        quiet = 0.0
        while True:
            await trio.sleep(kept.INTERVAL)
            fuse_mount = self._fuse_mount
            if fuse_mount is None or fuse_mount.is_there() or fuse_mount.dirty_files:
                quiet = 0.0
                continue
            quiet += kept.INTERVAL
            if quiet < kept.PATIENCE:
                continue
            who = await in_thread(kept.keepers, fuse_mount.device)
            if who or quiet > kept.LIMIT:
                return who or "a process that cannot be seen from here"

    def attend(self) -> trio.Event:
        """As ``Life.attend``."""
        told = trio.Event()
        self._farewells.append(told)
        return told

    async def watch_signals(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        """Turn signals into what they mean now."""
        async for number in signals:
            if number == signal.SIGUSR1:
                self._log_statistics()
                continue
            self._stops += 1
            if self._fuse_mount is None:
                self._start_scope.cancel()
            elif self._stops == 1:
                log.info("unmounting after %s", signal.Signals(number).name)
                self._manager.stopping("unmounting")
                nursery.start_soon(self._leave, self._fuse_mount)
            elif self._stops == 2:
                self._fuse_mount.terminate()
            else:
                # Whoever asks three times does not want to wait for the server.
                self.give_up()

    async def inform_manager(self) -> None:
        """Signs of life, and the state of the mount in a line, for a service manager that wants them."""
        manager = self._manager
        if not manager.present:
            return
        interval = min(STATUS_INTERVAL, manager.watchdog_interval or STATUS_INTERVAL)
        told = ""
        while True:
            if manager.watchdog_interval:
                manager.alive()
            if self._fuse_mount is not None and not self._stops and self._state() != told:
                told = self._state()
                manager.status(told)
            await trio.sleep(interval)

    def _state(self) -> str:
        """The mount in a line."""
        what = f"{self._config.endpoint} on {self._config.mountpoint}"
        if self._pool is None or self._pool.metadata_nowait() is None:
            return f"{what}: no connection to the server"
        return f"{what}: connections: {self._pool.count}"

    async def _leave(self, fuse_mount: FuseMount) -> None:
        """Unmount; where somebody stays inside, end a moment later without them, and say who that is."""
        if not await fuse_mount.detach(lazy=False):
            mount = self._place.now()
            users: list[str] = []
            with suppress(OSError):
                users = (
                    await in_thread(kept.holders, mount, patience=LEAVE_LIMIT) if mount is not None else []
                )
            path = self._config.mountpoint
            log.warning("%s is in use by %s: cut off in a second", path, kept.some(users) or "somebody")
            await fuse_mount.detach(lazy=True)
        await trio.sleep(LEAVE_LIMIT)
        fuse_mount.terminate()

    def _log_statistics(self) -> None:
        statistics: dict[str, object] = {}
        if self._pool is not None:
            statistics["pool"] = self._pool.statistics()
        if self._fuse_mount is not None:
            statistics["mount"] = self._fuse_mount.statistics()
        log.info("statistics %s", json.dumps(statistics, default=str))
