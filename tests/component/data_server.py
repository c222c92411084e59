"""A server of one file whose replies come when the test says so, for tests of ordering.

A request goes through three points in time: sent, carried out (on a real file, by
pread, pwrite, ftruncate, fstat), answered. The test moves each on by hand or at random;
an ordered file keeps the order sent, as one SFTP session does.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
import trio.testing

from sftpfs.aio import Slot
from sftpfs.data import FileContent, FileHandle, LostBytes
from sftpfs.remote.api import HandedOver
from sftpfs.types import AttributeChange, Attributes, Buffer, OpenFlags, OpenMode


class Request:
    """One request, its result once carried out."""

    def __init__(self, kind: str, offset: int, length: int, action: Callable[[], Any]) -> None:
        self.kind = kind
        self.offset = offset
        self.length = length
        self.action = action
        self.slot: Slot[Any] = Slot()
        self.executed = False
        self.value: Any = None
        self.error: OSError | None = None

    def execute(self) -> None:
        self.executed = True
        if self.error is None:
            try:
                self.value = self.action()
            except OSError as problem:
                self.error = problem

    def answer(self) -> None:
        if self.error is not None:
            self.slot.fail(self.error)
        else:
            self.slot.set(self.value)


class SteppedServer:
    """The requests of all open files, in the order sent."""

    def __init__(self, path: Path, *, ordered: bool = True, seed: int = 0) -> None:
        self.path = path
        self.ordered = ordered
        self.random = random.Random(seed)
        self.requests: list[Request] = []
        self.counts: dict[str, int] = {}
        self.sent_bytes: dict[str, int] = {}
        self.fail_next: dict[str, int] = {}
        """errno with which the next request of a kind fails."""
        self.fail_all: dict[str, int] = {}
        """errno with which every request of a kind fails from now on, at once."""
        self.write_limit = 255 << 10
        """Bytes, as OpenSSH tells it."""

    def open(self, flags: OpenFlags) -> SteppedFile:
        return SteppedFile(self, flags)

    def attributes(self) -> Attributes:
        """As a server tells them now."""
        found = os.stat(self.path)
        return Attributes(found.st_mode, found.st_size, 0, 0, int(found.st_atime), int(found.st_mtime))

    def send(self, kind: str, offset: int, length: int, action: Callable[[], Any]) -> Slot[Any]:
        request = Request(kind, offset, length, action)
        if kind in self.fail_all:
            request.error = OSError(self.fail_all[kind], os.strerror(self.fail_all[kind]))
            request.answer()
            return request.slot
        number = self.fail_next.pop(kind, None)
        if number is not None:
            request.error = OSError(number, os.strerror(number))
        self.requests.append(request)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.sent_bytes[kind] = self.sent_bytes.get(kind, 0) + length
        return request.slot

    def pending(self, kind: str) -> list[Request]:
        return [request for request in self.requests if request.kind == kind]

    def finish(self, request: Request) -> None:
        """Carry out and answer this one, whatever was sent before."""
        self.requests.remove(request)
        if not request.executed:
            request.execute()
        request.answer()

    def finish_all(self) -> None:
        """All, in order, and what they lead to."""
        while self.requests:
            self.finish(self.requests[0])

    def step(self) -> None:
        """Move one request on by one point."""
        if self.ordered:
            waiting = next((one for one in self.requests if not one.executed), None)
            if waiting is not None and (waiting is self.requests[0] or self.random.random() < 0.5):
                waiting.execute()
            else:
                self.finish(self.requests[0])
            return
        request = self.random.choice(self.requests)
        if request.executed:
            self.finish(request)
        else:
            request.execute()


class SteppedFile:
    """Implements ``remote.api.RemoteFile``."""

    def __init__(self, server: SteppedServer, flags: OpenFlags) -> None:
        self.server = server
        self.flags = flags
        self.refused: Callable[[OSError], None] = lambda failure: None
        self.closed = False
        access = os.O_RDWR if OpenFlags.WRITE in flags else os.O_RDONLY
        self.fd = os.open(server.path, access | (os.O_APPEND if OpenFlags.APPEND in flags else 0))
        self.appending: list[Request] = []

    @property
    def ordered(self) -> bool:
        return self.server.ordered

    @property
    def write_limit(self) -> int:
        return self.server.write_limit

    def start_read(self, offset: int, length: int) -> Slot[Buffer]:
        return self.server.send("read", offset, length, lambda: os.pread(self.fd, length, offset))

    def start_write(self, offset: int, data: Buffer) -> Slot[None]:
        before = bytes(data)

        def write() -> None:
            assert bytes(data) == before, "data changed under way"
            if OpenFlags.APPEND in self.flags:
                os.write(self.fd, data)
            else:
                os.pwrite(self.fd, data, offset)

        slot = self.server.send("write", offset, len(data), write)
        if OpenFlags.APPEND in self.flags:
            self._keep_order(self.server.requests[-1])
        return slot

    def _keep_order(self, request: Request) -> None:
        """Appends of one handle are carried out as sent, also where other requests are not."""
        self.appending = [one for one in self.appending if not one.executed] + [request]
        earlier, execute = self.appending[:-1], request.execute

        def after_earlier() -> None:
            for one in earlier:
                if not one.executed:
                    one.execute()
            execute()

        request.execute = after_earlier  # type: ignore[method-assign]

    def start_fstat(self) -> Slot[Attributes]:
        return self.server.send("fstat", 0, 0, self.server.attributes)

    def start_fstat_behind(self) -> Slot[Attributes]:
        slot = self.start_fstat()
        request = self.server.requests[-1]
        earlier = [one for one in self.server.requests[:-1] if one.kind == "write"]
        execute = request.execute

        def after_earlier() -> None:
            for one in earlier:
                if not one.executed:
                    one.execute()
            execute()

        request.execute = after_earlier  # type: ignore[method-assign]
        return slot

    undecided = False
    takes_any_write = True
    hidden = False

    def start_hand_over(self, change: AttributeChange | None = None) -> Slot[HandedOver]:
        raise AssertionError("nothing is undecided")

    def confirm(self) -> None:
        pass

    def start_setattr(self, change: AttributeChange) -> Slot[None]:
        def apply() -> None:
            if change.size is not None:
                os.ftruncate(self.fd, change.size)
            if change.mtime is not None and change.atime is not None:
                os.utime(self.fd, (change.atime, change.mtime))
            if change.mode is not None:
                os.fchmod(self.fd, change.mode)

        return self.server.send("setattr", 0, 0, apply)

    def start_fsync(self) -> Slot[None]:
        return self.server.send("fsync", 0, 0, lambda: None)

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        if self.server.ordered:
            while any(not one.executed for one in self.server.requests):
                next(one for one in self.server.requests if not one.executed).execute()
        os.close(self.fd)


class Outcome:
    """What an operation came to, once it is over."""

    def __init__(self) -> None:
        self.done = False
        self.value: Any = None
        self.error: OSError | None = None

    def take(self) -> Any:
        assert self.done
        if self.error is not None:
            raise self.error
        return self.value


async def start(nursery: trio.Nursery, operation: Callable[..., Awaitable[Any]], *args: Any) -> Outcome:
    """Run ``operation`` in a task up to its first wait."""
    outcome = Outcome()

    async def task() -> None:
        try:
            outcome.value = await operation(*args)
        except OSError as problem:
            outcome.error = problem
        outcome.done = True

    nursery.start_soon(task)
    await settle_tasks()
    return outcome


async def settle_tasks() -> None:
    """Let every task run until it waits for the server."""
    await trio.testing.wait_all_tasks_blocked()


async def finish(server: SteppedServer, outcome: Outcome) -> Any:
    """Move requests on at random until the operation is over; its result."""
    for _ in range(100_000):
        if outcome.done:
            return outcome.take()
        assert server.requests, "waits for nothing"
        server.step()
        await settle_tasks()
    raise AssertionError("does not end")


async def perform(
    server: SteppedServer, nursery: trio.Nursery, operation: Callable[..., Awaitable[Any]], *args: Any
) -> Any:
    """Run ``operation`` to its end, requests moving at random."""
    return await finish(server, await start(nursery, operation, *args))


class Observer:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.settled: list[tuple[int, Attributes]] = []
        self.reported: list[tuple[int, Attributes]] = []
        self.outdated: list[tuple[int, Attributes]] = []
        self.unknown: list[int] = []
        self.lost: list[LostBytes] = []
        self.unreported: list[tuple[int, int | None]] = []

    def content_settled(self, number: int, attributes: Attributes) -> None:
        self.settled.append((number, attributes))

    def content_reported(self, number: int, attributes: Attributes) -> None:
        self.reported.append((number, attributes))

    def content_unknown(self, number: int) -> None:
        self.unknown.append(number)

    def content_lost(self, number: int, lost: LostBytes) -> None:
        self.lost.append(lost)

    def content_remains(self, incident: int, ranges: list[tuple[int, int]]) -> None:
        pass

    def content_left(self, incidents: list[int], attributes: Attributes | None) -> None:
        pass

    def content_made_good(self, number: int) -> None:
        self.unreported = [one for one in self.unreported if one[0] != number]

    def content_unreported(self, number: int, failure: OSError) -> None:
        self.unreported.append((number, failure.errno))

    def content_outdated(self, number: int, attributes: Attributes) -> None:
        self.outdated.append((number, attributes))


def attach(
    content: FileContent,
    server: SteppedServer,
    *,
    append: bool = False,
    write: bool = True,
    synchronous: bool = False,
    direct: bool = False,
    created: bool = False,
    ahead: bool = False,
    known: Attributes | None = None,
) -> tuple[FileHandle, bool]:
    """Open the file of ``server`` and attach it, the attributes as of now."""
    flags = OpenFlags.READ
    if write:
        flags |= OpenFlags.WRITE
    if append:
        flags |= OpenFlags.APPEND
    return content.attach(
        server.open(flags),
        OpenMode(writable=write, append=append, synchronous=synchronous, direct=direct),
        known=known or server.attributes(),
        created=created,
        ahead=ahead,
    )


def age(path: Path, seconds: float = 3600) -> None:
    """Let ``path`` be last changed so long ago that its mtime says something."""
    then = time.time() - seconds
    os.utime(path, (then, then))
