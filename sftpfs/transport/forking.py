"""The front's side of the fork server: its process, and the workers it forks.

Runs on trio. Owns the processes: nothing it started outlives ``aclose`` or the front. The
other side is ``transport.forkserver``. Used by ``transport.client``.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import trio

import sftpfs
from sftpfs import beneath
from sftpfs.aio import Slot, in_thread
from sftpfs.errors import Failure, MountError
from sftpfs.transport import control

START_LIMIT = 30.0
"""Seconds for the fork server to import its libraries, on a slow machine from a cold disk."""
STOP_LIMIT = 2.0

FAULT = "internal error in a process of the transport, please report it: %s"

log = logging.getLogger(__name__)

PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from sftpfs.transport.forkserver import main; main()"
)


@cache
def search_path() -> str:
    """Where the fork server finds what it imports, for PROGRAM: where this process does.

    It is started with -I: what PYTHONPATH, PYTHONHOME or the current directory would add was added here if
    this process heeds it, and else is not to be. Looked up once, before the mount: whoever serves the
    kernel looks nothing up by name.
    """
    root = str(Path(sftpfs.__file__).resolve().parent.parent)
    found = [path for path in sys.path if os.path.isabs(path)]
    return json.dumps(found if root in found else [root, *found])


def start_process(fd: int) -> subprocess.Popen[bytes]:
    """Start a fork server with ``fd`` as its control socket. Raises OSError.

    It has no stderr: whose that is may wait for its end, which comes with the mount's.
    """
    covered = beneath.held()
    words, descriptors = [str(fd)], [fd]
    if covered is not None:
        words += [str(covered.fd), covered.path]
        descriptors.append(covered.fd)
    return subprocess.Popen(
        [sys.executable, "-I", "-c", PROGRAM, search_path(), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=descriptors,
        start_new_session=True,
        cwd="/",
    )


def close_socket(sock: socket.socket) -> None:
    """Close, and wake the task that waits on it. Idempotent."""
    if sock.fileno() >= 0:
        trio.lowlevel.notify_closing(sock)
        sock.close()


async def read_messages(sock: socket.socket, handle: Any) -> None:
    """Call ``handle(message)`` for each until the peer is gone or ``sock`` is closed."""
    while sock.fileno() >= 0:  # a message may have been the last, and closed it
        try:
            await trio.lowlevel.wait_readable(sock)
            received = control.receive(sock)
        except BlockingIOError:
            continue
        except (OSError, trio.ClosedResourceError):
            return
        if received is None:
            return
        message, fd = received
        if fd is not None:
            os.close(fd)
        handle(message)


class ForkServer:
    """The fork server's process.

    INVARIANT: ``alive`` is False once its control socket ended; then it forks no more.
    """

    def __init__(
        self, nursery: trio.Nursery, process: subprocess.Popen[bytes], control_socket: socket.socket
    ) -> None:
        self.alive = True
        self._nursery = nursery
        self._ready: Slot[None] = Slot()
        self._forking = trio.Lock()
        self._forked: Slot[int] | None = None
        self._exits: dict[int, Slot[int]] = {}
        self._process = process
        self._control = control_socket
        nursery.start_soon(self._serve)

    @classmethod
    async def start(cls, nursery: trio.Nursery) -> ForkServer:
        """Start one. In a thread: starting a program waits for the disk it is on. Raises OSError."""
        ours, theirs = control.socketpair()
        try:
            with theirs:
                process = await in_thread(start_process, theirs.fileno(), patience=START_LIMIT)
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        return cls(nursery, process, ours)

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

    def _handle(self, message: control.Message) -> None:
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
        ours, theirs = control.socketpair()
        ours.setblocking(False)
        self._forked = Slot()
        try:
            with theirs:
                try:
                    control.send(self._control, {"type": "fork"}, [theirs.fileno()])
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
        """End it and its workers, and wait at most ``STOP_LIMIT`` seconds."""
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
