"""What a mount does when it is asked to: the handlers of the control socket, by name."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import trio

from sftpfs.control import report, watching
from sftpfs.control.mounted import Mounted
from sftpfs.control.protocol import ControlError, Values
from sftpfs.control.server import Handler, Tell

T = TypeVar("T")

PROGRESS_INTERVAL = 0.25
"""Seconds between two lines of progress: a person sees it move."""

FORCED_PATIENCE = 3.0
"""Seconds a forced unmount gives what is dirty while the server can be reached."""

MOST_PROBLEMS = 20
"""Lines of failures that are sent; of more the number is told."""


class Requests:
    """The handlers of one mount."""

    def __init__(self, mounted: Mounted) -> None:
        self._mounted = mounted

    def handlers(self) -> dict[str, Handler]:
        """By the name a client asks with."""
        return {
            "status": self.status,
            "statistics": self.statistics,
            "flush": self.flush,
            "refresh": self.refresh,
            "copy": self.copy,
            "umount": self.umount,
            "farewell": self.farewell,
            "log": partial(watching.follow_log, self._mounted),
            "top": partial(watching.top, self._mounted),
        }

    async def status(self, arguments: Values, tell: Tell) -> Values:
        """See ``report.status``."""
        return await report.status(self._mounted)

    async def statistics(self, arguments: Values, tell: Tell) -> Values:
        """See ``report.statistics``."""
        return report.statistics(self._mounted)

    async def flush(self, arguments: Values, tell: Tell) -> Values:
        """Everything written so far is acknowledged by the server, or has failed."""
        failures = await beside(self._mounted.filesystem.flush, partial(self._tell_what_waits, tell))
        return listed(failures)

    async def _tell_what_waits(self, tell: Tell) -> None:
        """Tell again and again how much is not on the server yet; until cancelled."""
        contents = self._mounted.filesystem.contents
        while True:
            waiting = contents.statistics()
            values = {"bytes": waiting["dirty_bytes"], "files": waiting["dirty_files"]}
            await tell({**values, "lost_for": self._mounted.connections()["lost_for"]})
            await trio.sleep(PROGRESS_INTERVAL)

    async def refresh(self, arguments: Values, tell: Tell) -> Values:
        """Believe nothing any more of ``path`` and below; the kernel neither."""
        names = names_of(text_argument(arguments, "path"))
        progress = {"done": 0, "of": 0}

        def listed(done: int, of: int) -> None:
            progress.update(done=done, of=of)

        async def tell_progress() -> None:
            while True:
                await trio.sleep(PROGRESS_INTERVAL)
                await tell(dict(progress))

        refresher = self._mounted.filesystem.refresher
        outdated = await beside(partial(refresher.refresh, names, listed), tell_progress)
        await self._mounted.forget(outdated.entries, outdated.inodes)
        problems = [
            f"{os.fsdecode(path)}: {problem.strerror or problem}" for path, problem in outdated.problems
        ]
        return {
            "inodes": len(outdated.inodes),
            "changed": len(outdated.entries),
            "problems": problems[:MOST_PROBLEMS],
        }

    async def copy(self, arguments: Values, tell: Tell) -> Values:
        """Copy the content of one file to another on the server; both are told by inode number.

        See ``Copier.copy``. EROFS for a read-only mount. However it ends, the kernel forgets what it
        held of the destination.
        """
        source, destination = number_argument(arguments, "source"), number_argument(arguments, "destination")
        if self._mounted.config.fuse.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        progress = {"bytes": 0}
        outdated = [destination]

        def reached(done: int) -> None:
            progress["bytes"] = done

        async def tell_progress() -> None:
            while True:
                await trio.sleep(PROGRESS_INTERVAL)
                await tell(dict(progress))

        copier = self._mounted.filesystem.copier
        try:
            copied = await beside(partial(copier.copy, source, destination, reached), tell_progress)
            if copied.source_changed:
                outdated.append(source)
            return {"size": copied.size}
        finally:
            with trio.CancelScope(shield=True):
                await self._mounted.forget((), outdated)

    async def umount(self, arguments: Values, tell: Tell) -> Values:
        """Everything to the server, then out of the tree; answered when the mount has ended.

        EBUSY where somebody uses it, EIO where something could not be written: the mount stays
        then. ``force`` goes on all the same; what it costs is told as ``lost``.
        """
        life = self._mounted.life
        force = arguments.get("force") is True
        if force:
            await self._give_up(tell)
        else:
            failures = await beside(self._mounted.filesystem.flush, partial(self._tell_what_waits, tell))
            if failures:
                return listed(failures)
        told = life.attend()
        try:
            if not await life.detach(lazy=force):
                raise OSError(errno.EBUSY, "somebody uses it")
            if force:
                life.give_up()
            await tell({**await beside(self._end, partial(self._tell_what_waits, tell)), "ended": True})
        finally:
            told.set()
        return {}

    async def farewell(self, arguments: Values, tell: Tell) -> Values:
        """Answered when the mount has ended, whoever unmounts it, or is off and ``kept`` by others; what was
        lost is told as ``failures``.

        The first line of progress says that the request is known, so that the mount may be taken off.
        """
        told = self._mounted.life.attend()
        try:
            await tell(await beside(self._end, partial(self._tell_what_waits, tell)))
        finally:
            told.set()
        return {}

    async def _end(self) -> Values:
        """Wait until the mount ended, or is off here and only ``kept`` elsewhere: what is to tell."""
        life = self._mounted.life
        values: Values = {}

        async def drained() -> None:
            values.update(listed(await life.drained()))
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drained)
            values["kept"] = await life.kept()
            nursery.cancel_scope.cancel()
        if "failures" not in values:
            values.update(listed(await self._mounted.filesystem.flush()))
        return values

    async def _give_up(self, tell: Tell) -> None:
        """Save what can be had quickly, and tell what will be lost."""
        filesystem = self._mounted.filesystem
        if self._mounted.connections()["lost_for"] is None:
            with trio.move_on_after(FORCED_PATIENCE):
                await beside(filesystem.flush, partial(self._tell_what_waits, tell))
        lost = [[filesystem.name(number), size] for number, size in filesystem.contents.dirty() if size]
        await tell({"lost": lost[:MOST_PROBLEMS], "lost_files": len(lost)})


def listed(failures: list[str]) -> Values:
    """``failures`` as they travel."""
    return {"failures": failures[:MOST_PROBLEMS], "failed": len(failures)}


async def beside(work: Callable[[], Awaitable[T]], meanwhile: Callable[[], Awaitable[None]]) -> T:
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
    """Raises ControlError where it is missing or no text."""
    value = arguments.get(name)
    if not isinstance(value, str) or "\0" in value:
        raise ControlError(f"a request without a {name}")
    return value


def number_argument(arguments: Values, name: str) -> int:
    """Raises ControlError where it is missing or no number."""
    value = arguments.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ControlError(f"a request without a {name}")
    return value


def names_of(path: str) -> list[bytes]:
    """The names of a path inside the mount, from its root. EINVAL for one that leads up."""
    try:
        names = [os.fsencode(name) for name in path.split("/") if name not in ("", ".")]
    except UnicodeEncodeError:
        raise ControlError("a path that is none") from None
    if b".." in names:
        raise OSError(errno.EINVAL, "a path inside the mount has no .. in it")
    return names
