"""The front's side of the fork server: its process, and the workers it forks.

Runs on trio. Owns the processes: nothing it started outlives ``aclose`` or the front. The
other side is ``transport.worker.fork_server``. Used by ``transport.worker_transport``.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
from collections.abc import Callable

import trio

from sftpfs.aio import Slot, in_thread
from sftpfs.errors import Failure, MountError
from sftpfs.transport import messages
from sftpfs.transport.fork_launch import Launched, launch

START_LIMIT = 30.0
"""Seconds for the fork server to import its libraries, on a slow machine from a cold disk."""
STOP_LIMIT = 2.0

FAULT = "internal error in a process of the transport, please report it: %s"

log = logging.getLogger(__name__)


def close_socket(sock: socket.socket) -> None:
    """Close, and wake the task that waits on it. Idempotent."""
    if sock.fileno() >= 0:
        trio.lowlevel.notify_closing(sock)
        sock.close()


Handle = Callable[[messages.Message], None]
Take = Callable[[messages.Message, int | None], bool]


def read_pending(sock: socket.socket, handle: Handle, take: Take | None = None) -> bool:
    """Calls ``handle(message)`` for each that has come, also of a peer that is gone. False once there will be
    no more: the peer is gone, or a message had ``sock`` closed.

    ``take`` is asked first: if it returns True the message is done with, and the descriptor that came with it
    is its. Other descriptors are closed.
    """
    while sock.fileno() >= 0:
        try:
            received = messages.receive(sock)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if received is None:
            return False
        message, fd = received
        if take is not None and take(message, fd):
            continue
        if fd is not None:
            os.close(fd)
        handle(message)
    return False


async def read_messages(sock: socket.socket, handle: Handle, take: Take | None = None) -> None:
    """As ``read_pending``, until the peer is gone or ``sock`` is closed."""
    while read_pending(sock, handle, take):
        try:
            await trio.lowlevel.wait_readable(sock)
        except (OSError, trio.ClosedResourceError):
            return


class ForkServer:
    """The fork server's process.

    INVARIANT: ``alive`` is False once its control socket ended; then it forks no more.
    """

    def __init__(self, nursery: trio.Nursery, launched: Launched) -> None:
        self.alive = True
        self._nursery = nursery
        self._ready: Slot[None] = Slot()
        self._forking = trio.Lock()
        self._forked: Slot[int] | None = None
        self._exits: dict[int, Slot[int]] = {}
        self._process, self._control = launched
        self._control.setblocking(False)
        nursery.start_soon(self._serve)

    @classmethod
    async def start(cls, nursery: trio.Nursery) -> ForkServer:
        """Starts one. Runs in a thread, because starting a program waits for its disk. Raises OSError."""
        return cls(nursery, await in_thread(launch, patience=START_LIMIT))

    async def _serve(self) -> None:
        try:
            await read_messages(self._control, self._handle)
        finally:
            self.alive = False
            close_socket(self._control)
            gone = MountError(Failure.TRANSPORT, "the transport's fork server ended unexpectedly")
            for slot in (self._ready, self._forked, *self._exits.values()):
                if slot is not None and not slot.done:
                    slot.fail(gone)
            self._process.poll()

    def _handle(self, message: messages.Message) -> None:
        kind = message["type"]
        if kind == "ready":
            self._ready.set(None)
        elif kind == "unusable":
            text = f"the SSH library cannot be loaded: {message['message']}"
            self._ready.fail(MountError(Failure.CONFIGURATION, text))
        elif kind == "forked" and self._forked is not None:
            self._exits[message["pid"]] = Slot()
            self._forked.set(message["pid"])
        elif kind == "fork-failed" and self._forked is not None:
            text = f"cannot start a transport process: {message['message']}"
            self._forked.fail(MountError(Failure.TRANSPORT, text))
        elif kind == "fault":
            log.error(FAULT, message["text"])
        elif kind == "exited":
            slot = self._exits.pop(message["pid"], None)
            if slot is not None:
                slot.set(message["status"])

    async def fork(self) -> tuple[int, socket.socket, Slot[int]]:
        """A new worker: its pid, its control socket, and the slot of its exit status. Raises MountError."""
        with trio.move_on_after(START_LIMIT):
            await self._ready.wait()
            async with self._forking:
                return await self._fork()
        raise MountError(
            Failure.TRANSPORT, f"the transport's fork server did not start within {START_LIMIT:g} s"
        )

    async def _fork(self) -> tuple[int, socket.socket, Slot[int]]:
        ours, theirs = messages.socketpair()
        ours.setblocking(False)
        self._forked = Slot()
        try:
            with theirs:
                try:
                    messages.send(self._control, {"type": "fork"}, [theirs.fileno()])
                except OSError:
                    message = "the transport's fork server is gone"
                    raise MountError(Failure.TRANSPORT, message) from None
            with trio.CancelScope(
                shield=True
            ):  # the reply is a fork away; left unread it would be the next one's
                pid = await self._forked.wait()
        except BaseException:
            ours.close()
            raise
        return pid, ours, self._exits[pid]

    async def aclose(self) -> None:
        """Ends it and its workers, and waits at most ``STOP_LIMIT`` seconds."""
        with trio.CancelScope(shield=True):
            self.alive = False
            close_socket(self._control)
            if not await self._gone(STOP_LIMIT):
                self._process.kill()
                await self._gone(STOP_LIMIT)

    async def _gone(self, limit: float) -> bool:
        process = self._process

        def wait() -> bool:
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                return False
            return True

        try:
            return await in_thread(wait, patience=STOP_LIMIT)
        except OSError:
            return process.poll() is not None
