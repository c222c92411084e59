"""The requests to a mount: the handlers of the control socket, by name."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import trio

from sftpfs.control import live_watch, removal_request, status_report
from sftpfs.control.mount_view import MountView
from sftpfs.control.protocol import ControlError, Values
from sftpfs.control.server import Handler, Peer, Receive, Send, StreamHandler
from sftpfs.control.tree_request import Room, TreeRequest
from sftpfs.host import logs
from sftpfs.types import Bandwidth

T = TypeVar("T")

PROGRESS_INTERVAL = 0.25
"""Seconds between two lines of progress: a person sees it move."""

FORCED_PATIENCE = 3.0
"""Seconds that a forced unmount gives dirty data while the server can be reached."""

MOST_PROBLEMS = 20
"""Lines of failures that are sent; of further ones only the number is."""


class Requests:
    """The handlers of one mount."""

    def __init__(self, mounted: MountView) -> None:
        self._mounted = mounted
        self._room: Room | None = None

    def handlers(self) -> dict[str, Handler]:
        """By the name a client asks with."""
        return {
            "status": self.status,
            "statistics": self.statistics,
            "recent": self.recent,
            "log_level": self.log_level,
            "bandwidth": self.bandwidth,
            "flush": self.flush,
            "refresh": self.refresh,
            "copy": self.copy,
            "remove": partial(removal_request.remove, self._mounted),
            "umount": self.umount,
            "farewell": self.farewell,
            "log": partial(live_watch.follow_log, self._mounted),
            "top": partial(live_watch.top, self._mounted),
        }

    def streams(self) -> dict[str, StreamHandler]:
        """As ``handlers``, of requests of which more comes behind their line."""
        return {"write_tree": self.write_tree}

    async def status(self, arguments: Values, send: Send) -> Values:
        """See ``status_report.status``."""
        return await status_report.status(self._mounted)

    async def statistics(self, arguments: Values, send: Send) -> Values:
        """See ``status_report.statistics``."""
        return status_report.statistics(self._mounted)

    async def recent(self, arguments: Values, send: Send) -> Values:
        """The last lines of the log: [at, "log", level, text] each."""
        return {"lines": [[at, "log", level, text] for at, level, text in logs.recent.lines], "dropped": 0}

    async def log_level(self, arguments: Values, send: Send) -> Values:
        """From now on logs what is of ``level`` (see ``logs.LEVELS``) and what is worse."""
        level = text_argument(arguments, "level")
        if level not in logs.LEVELS:
            raise OSError(errno.EINVAL, f"no level of a log: {level}")
        logs.set_level(level)
        return {}

    async def bandwidth(self, arguments: Values, send: Send) -> Values:
        """From now on content takes at most ``up`` and ``down`` bytes a second; null means no limit."""
        self._mounted.limit(Bandwidth(rate_argument(arguments, "up"), rate_argument(arguments, "down")))
        return {}

    async def flush(self, arguments: Values, send: Send) -> Values:
        """Returns once everything written so far is acknowledged by the server, or has failed."""
        failures = await with_progress(
            self._mounted.filesystem.flush, partial(self._send_drain_progress, send)
        )
        return failure_values(failures)

    async def _send_drain_progress(self, send: Send) -> None:
        """Tell again and again how much is not on the server yet; until cancelled."""
        contents = self._mounted.filesystem.contents
        while True:
            waiting = contents.statistics()
            values = {"bytes": waiting["dirty_bytes"], "files": waiting["dirty_files"]}
            await send({**values, "lost_for": self._mounted.connections()["lost_for"]})
            await trio.sleep(PROGRESS_INTERVAL)

    async def refresh(self, arguments: Values, send: Send) -> Values:
        """Ends all leases on ``path`` and below, here and in the kernel."""
        names = names_of(text_argument(arguments, "path"))
        progress = {"done": 0, "of": 0}

        def listed(done: int, of: int) -> None:
            progress.update(done=done, of=of)

        async def send_progress() -> None:
            while True:
                await trio.sleep(PROGRESS_INTERVAL)
                await send(dict(progress))

        refresher = self._mounted.filesystem.refresher
        outdated = await with_progress(partial(refresher.refresh, names, listed), send_progress)
        await self._mounted.forget(outdated.entries, outdated.inodes)
        problems = [
            f"{os.fsdecode(path)}: {problem.strerror or problem}" for path, problem in outdated.problems
        ]
        return {
            "inodes": len(outdated.inodes),
            "changed": len(outdated.entries),
            "problems": problems[:MOST_PROBLEMS],
        }

    async def copy(self, arguments: Values, send: Send) -> Values:
        """Copy the content of one file to another on the server; both are told by inode number.

        See ``Copier.copy``. EROFS for a read-only mount. However it ends, the kernel forgets what it
        held of the destination.
        """
        source, destination = number_argument(arguments, "source"), number_argument(arguments, "destination")
        if self._mounted.read_only():
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        progress = {"bytes": 0}
        outdated = [destination]

        def reached(done: int) -> None:
            progress["bytes"] = done

        async def send_progress() -> None:
            while True:
                await trio.sleep(PROGRESS_INTERVAL)
                await send(dict(progress))

        copier = self._mounted.filesystem.copier
        try:
            copied = await with_progress(partial(copier.copy, source, destination, reached), send_progress)
            if copied.source_changed:
                outdated.append(source)
            return {"size": copied.size}
        finally:
            with trio.CancelScope(shield=True):
                await self._mounted.forget((), outdated)

    async def write_tree(self, arguments: Values, peer: Peer, receive: Receive, send: Send) -> Values:
        """Makes the files, directories and links that the client sends. See ``control.tree_request``."""
        if self._room is None:
            self._room = Room(self._mounted.remote)
        return await TreeRequest(self._mounted, self._room, peer, receive, send).run()

    async def umount(self, arguments: Values, send: Send) -> Values:
        """Brings everything to the server, then takes the mount out of the tree. Answers when the mount has
        ended.

        EBUSY if somebody uses it, EIO if something could not be written: the mount then stays. ``force`` goes
        on all the same, and reports what is lost as ``lost``.
        """
        life = self._mounted.life
        force = arguments.get("force") is True
        if force:
            await self._give_up(send)
        else:
            failures = await with_progress(
                self._mounted.filesystem.flush, partial(self._send_drain_progress, send)
            )
            if failures:
                return failure_values(failures)
        attending = life.expect_listener()
        try:
            if not await life.detach(lazy=force):
                raise OSError(errno.EBUSY, "somebody uses it")
            if force:
                life.give_up()
            await send(
                {**await with_progress(self._end, partial(self._send_drain_progress, send)), "ended": True}
            )
        finally:
            attending.set()
        return {}

    async def farewell(self, arguments: Values, send: Send) -> Values:
        """Answers when the mount has ended, whoever unmounts it, or is off and ``kept`` by others.
        ``failures`` has what was lost.

        The first line of progress says that the request is known, so that the mount may be taken off.
        """
        attending = self._mounted.life.expect_listener()
        try:
            await send(await with_progress(self._end, partial(self._send_drain_progress, send)))
        finally:
            attending.set()
        return {}

    async def _end(self) -> Values:
        """Wait until the mount ended, or is off here and only ``kept`` elsewhere: what is to tell."""
        life = self._mounted.life
        values: Values = {}

        async def drained() -> None:
            values.update(failure_values(await life.drained()))
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drained)
            values["kept"] = await life.kept()
            nursery.cancel_scope.cancel()
        if "failures" not in values:
            values.update(failure_values(await self._mounted.filesystem.flush()))
        return values

    async def _give_up(self, send: Send) -> None:
        """Saves what can be saved quickly, and reports what will be lost."""
        filesystem = self._mounted.filesystem
        if self._mounted.connections()["lost_for"] is None:
            with trio.move_on_after(FORCED_PATIENCE):
                await with_progress(filesystem.flush, partial(self._send_drain_progress, send))
        lost = [[filesystem.name(number), size] for number, size in filesystem.contents.dirty() if size]
        await send({"lost": lost[:MOST_PROBLEMS], "lost_files": len(lost)})


def failure_values(failures: list[str]) -> Values:
    """``failures`` as they travel."""
    return {"failures": failures[:MOST_PROBLEMS], "failed": len(failures)}


async def with_progress(work: Callable[[], Awaitable[T]], meanwhile: Callable[[], Awaitable[None]]) -> T:
    """The result of ``work``, or what it raises; ``meanwhile`` runs until then."""
    result: list[T] = []
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meanwhile)
        try:
            result.append(await work())
        except Exception as error:  # raised below: out of the nursery it would come in a group
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return result[0]


def text_argument(arguments: Values, name: str) -> str:
    """Raises ControlError if it is missing or no text."""
    value = arguments.get(name)
    if not isinstance(value, str) or "\0" in value:
        raise ControlError(f"a request without a {name}")
    return value


def number_argument(arguments: Values, name: str) -> int:
    """Raises ControlError if it is missing or no number."""
    value = arguments.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ControlError(f"a request without a {name}")
    return value


def rate_argument(arguments: Values, name: str) -> float:
    """Infinite for null. Raises ControlError if it is missing or not an allowed rate."""
    value = arguments.get(name, 0.0)
    if value is None:
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 1 << 62:
        raise ControlError(f"a request without a {name}")
    return float(value)


def names_of(path: str) -> list[bytes]:
    """The names of a path inside the mount, from its root. EINVAL for one that leads up."""
    try:
        names = [os.fsencode(name) for name in path.split("/") if name not in ("", ".")]
    except UnicodeEncodeError:
        raise ControlError("what is given is not a path") from None
    if b".." in names:
        raise OSError(errno.EINVAL, "a path inside the mount has no .. in it")
    return names
