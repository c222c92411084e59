"""The request ``write_tree``: takes records from a client, has the mount make them, many at once, and answers
each.

Owns what one such client has under way. It ends when the client has sent all and everything is answered. If
the client goes before, or sends what is no record, nothing more is begun, and what is not whole is taken
away.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress

import trio

from sftpfs import clock, operation
from sftpfs.aio import ByteGate
from sftpfs.control import tree_records
from sftpfs.control.mount_view import MountView
from sftpfs.control.protocol import ControlError, Values
from sftpfs.control.server import Peer, Receive, Send
from sftpfs.control.tree_records import DIRECTORY, END, FILE, Record, Records
from sftpfs.remote.api import Remote
from sftpfs.vfs.namespace import Caller
from sftpfs.vfs.tree_write.tree_writer import Keep, Made, TreeWriter, UnfinishedError

log = logging.getLogger(__name__)

TOGETHER = 64
"""Records under way at once: three round trips of 20 ms each then take less than the work for as many files.
Far fewer than the handles of OpenSSH's server, which other programs need too."""

SHARE = 4
"""This part of the handles that a server has room for is used, where that is less."""

HELD_BYTES = 4 << 20
"""Bytes of content held for records under way: ``TOGETHER`` files of a usual size, and what a gigabit brings
in two round trips of 20 ms. What others ask of the server waits behind no more. What the client sends further
waits in its socket, and the client for it."""

ALIVE = 1.0
"""Seconds between two lines, also if nothing is done: the client waits no longer than a minute for one."""

REMOUNTED = 0.25
"""Seconds between two looks whether the mount was made read-only: a look goes through the table of all
mounts, which takes as long as a file does."""

GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)
"""What a client that no longer reads or writes causes."""


class Room:
    """What all clients of a mount together have under way.

    INVARIANT: ``taken`` records hold a place; those that wait for one do so in order.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._gate = ByteGate(HELD_BYTES)
        self._turn = trio.Lock()
        self._freed = trio.Event()
        self.taken = 0

    async def take(self, size: int) -> None:
        """A place, and ``size`` bytes."""
        await self._gate.take(size)
        try:
            async with self._turn:
                while self.taken >= max(1, min(TOGETHER, self._remote.opens_together // SHARE)):
                    self._freed = trio.Event()
                    await self._freed.wait()
                self.taken += 1
        except BaseException:
            self._gate.release(size)
            raise

    def give_back(self, size: int) -> None:
        """What ``take`` took."""
        self.taken -= 1
        self._gate.release(size)
        self._freed.set()


class TreeRequest:
    """One client's."""

    def __init__(self, mounted: MountView, room: Room, peer: Peer, receive: Receive, send: Send) -> None:
        self._mounted = mounted
        self._peer = peer
        self._receive = receive
        self._send = send
        self._withdrawn = False
        self._refused: ControlError | None = None
        self._overdue: OSError | None = None
        """The server was away for the whole deadline: what follows fails at once."""
        self._writer = TreeWriter(mounted.filesystem, Caller(peer.uid, peer.gid), self._given_up)
        self._room = room
        self._answers: list[list[object]] = []
        self._entries: list[tuple[int, bytes]] = []
        self._inodes: set[int] = set()
        self._news = trio.Event()
        self._listening = trio.CancelScope()
        self._complete = False
        self._read_only = False
        self._look_at = 0.0

    async def run(self) -> Values:
        """Until everything is answered. Raises ControlError for a client that sends what is no record."""
        await self._send({"made": []})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report)
            async with trio.open_nursery() as working:
                with self._listening:
                    await self._listen(working)
            self._complete = True
            self._news.set()
        if self._refused is not None:
            raise self._refused
        return {}

    def _given_up(self) -> bool:
        """Looks by itself: before the end of what a client sent comes all that it sent before."""
        self._withdrawn = self._withdrawn or self._peer.left()
        return self._withdrawn

    def _give_up(self) -> None:
        self._withdrawn = True
        self._listening.cancel()

    # -- what comes ----------------------------------------------------------------------------

    async def _listen(self, nursery: trio.Nursery) -> None:
        """Begins what comes, as far as there is room, up to the end."""
        records = Records()
        try:
            while not records.ended and (data := await self._receive()):
                for record, content in records.feed(data):
                    if record.kind != END:
                        await self._begin(nursery, record, content)
        except GONE:
            pass
        except ControlError as problem:
            self._refused = ControlError(f"the mount was sent {problem}")
        self._withdrawn = self._withdrawn or not records.ended

    async def _begin(self, nursery: trio.Nursery, record: Record, content: bytes) -> None:
        await self._room.take(len(content))
        nursery.start_soon(self._one, record, content)

    async def _one(self, record: Record, content: bytes) -> None:
        operation.begin()
        try:
            number, outcome = await self._outcome(record, content)
        finally:
            self._room.give_back(len(content))
        self._answers.append([record.number, number, outcome])
        self._news.set()

    async def _outcome(self, record: Record, content: bytes) -> tuple[int, str]:
        """The errno or 0, and what became of ``record``."""
        try:
            if self._overdue is not None:
                raise self._overdue
            if self._is_read_only():
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            made = await self._make(record, content)
        except UnfinishedError as problem:
            self._failed(problem)
            self._inodes.add(record.directory)
            return problem.errno or errno.EIO, tree_records.REMOVED if problem.removed else tree_records.LEFT
        except OSError as problem:
            self._failed(problem)
            return problem.errno or errno.EIO, tree_records.REFUSED
        except Exception:
            log.exception("internal error in making %r: please report it", record.name)
            return errno.EIO, tree_records.LEFT
        self._inodes.add(record.directory)
        if made.entry is not None:
            self._entries.append(made.entry)
        if made.inode is not None:
            self._inodes.add(made.inode)
        return 0, tree_records.ALL_MADE if made.kept else tree_records.BARE

    def _is_read_only(self) -> bool:
        now = clock.now()
        if now >= self._look_at:
            self._look_at, self._read_only = now + REMOUNTED, self._mounted.read_only()
        return self._read_only

    def _failed(self, problem: OSError) -> None:
        if problem.errno == errno.ETIMEDOUT:
            self._overdue = OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    async def _make(self, record: Record, content: bytes) -> Made:
        writer, directory, name = self._writer, record.directory, record.name
        if record.kind == DIRECTORY:
            return await writer.directory(directory, name, record.mode)
        keep = Keep(*record.keep, record.owner)
        if record.kind == FILE:
            return await writer.file(directory, name, record.mode, content, keep)
        return await writer.link(directory, name, record.target, keep)

    # -- what is answered ----------------------------------------------------------------------

    async def _report(self) -> None:
        """Answers what is done once the kernel knows of it, and shows signs of life."""
        while True:
            with trio.move_on_after(ALIVE):
                await self._news.wait()
            self._news = trio.Event()
            complete = self._complete
            answers, self._answers = self._answers, []
            entries, self._entries = self._entries, []
            inodes, self._inodes = self._inodes, set()
            if entries or inodes:
                with suppress(OSError):  # the mount is about to end
                    await self._mounted.forget(entries, inodes)
            if not self._withdrawn or answers:
                try:
                    await self._send({"made": answers})
                except GONE:
                    self._give_up()
            if complete and not self._answers:
                return
