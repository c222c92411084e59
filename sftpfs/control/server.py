"""The mount's side of its control socket: takes connections, checks who asks, runs handlers.

Owns the socket and its file. A handler does what a request wants; a
stream handler also reads what the client sends behind it. Whatever a client sends or fails to send,
it disturbs neither the mount nor another client.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import trio

from sftpfs.control import protocol
from sftpfs.control.protocol import ControlError, Request, Values
from sftpfs.control.socket_location import socket_name
from sftpfs.errors import MountError

log = logging.getLogger(__name__)

MOST_CLIENTS = 32
"""Connections served at once: a person has a few windows, a script some more."""

REQUEST_LIMIT = 10.0
"""Seconds a client has to send its request."""

SEND_LIMIT = 30.0
"""Seconds that a client has to take a line. A stopped client does not hold up its request longer than this.
"""

Send = Callable[[Values], Awaitable[None]]
"""Sends a line of progress; returns once the client took it, so that a slow one is not flooded."""

Handler = Callable[[Values, Send], Awaitable[Values]]
"""Carries out a request with the client's (unchecked) arguments. It is cancelled when the client ends the
connection.

Fails with OSError, MountError or ControlError, whose text the client is shown.
"""

Receive = Callable[[], Awaitable[bytes]]
"""The next bytes of the client; empty when it sends no more."""


class Peer(NamedTuple):
    """Who is at the other end (SO_PEERCRED, unix(7)). ``left`` says whether it has ended its side, also while
    there is more of it to receive."""

    uid: int
    gid: int
    left: Callable[[], bool]


StreamHandler = Callable[[Values, Peer, Receive, Send], Awaitable[Values]]
"""As ``Handler``, for a request of which more comes behind its line. It ends by itself when the client
does."""


class ControlServer:
    """Serves ``handlers`` by name on the socket of the mount with ``device``.

    INVARIANT: the socket's file is there from ``listen`` to ``withdraw`` (or ``close``).
    """

    def __init__(
        self, handlers: Mapping[str, Handler], streams: Mapping[str, StreamHandler] | None = None
    ) -> None:
        self._handlers = handlers
        self._streams = streams or {}
        self._listener: trio.SocketListener | None = None
        self._scope = trio.CancelScope()
        self._path = ""
        self._made: tuple[int, int] | None = None
        """Device and inode of the socket's file."""
        self._clients = 0

    def listen(self, directory: str, device: str) -> None:
        """Makes the socket. Raises OSError; the mount then works without one.

        ``directory`` is one that only we can enter (``socket_location.make_directory``).
        """
        path = os.path.join(directory, socket_name(device))
        try:
            os.unlink(path)  # of a mount that had this number before and was killed
        except FileNotFoundError:
            pass
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            plain.bind(path)  # nobody else can enter the directory, whatever the umask makes of its mode
            plain.listen(MOST_CLIENTS)
            self._made = _identity(path)
        except BaseException:
            plain.close()
            raise
        self._path = path
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(plain))

    async def run(self) -> None:
        """Serve until ``close``."""
        if self._listener is not None:
            with self._scope:
                await trio.serve_listeners(self._serve, [self._listener])

    def withdraw(self) -> None:
        """Removes the socket's file. Clients that are connected are answered; nobody else can connect.
        Idempotent.

        For the moment when the kernel has let the mount go: its number may be the next mount's at once. A
        socket that the next mount put in our place is its own, and stays.
        """
        made, self._made = self._made, None
        try:
            if made is not None and _identity(self._path) == made:
                os.unlink(self._path)
        except OSError:
            pass

    def close(self) -> None:
        """End every request and remove the socket. Idempotent."""
        self.withdraw()  # before the listener is closed, which keeps the file's inode number ours
        self._scope.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One connection, to its end."""
        if self._clients >= MOST_CLIENTS or not _may_ask(stream):
            await stream.aclose()
            return
        self._clients += 1
        try:
            async with stream:
                await self._converse(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the client is gone, or as good as gone
        except* Exception:
            log.exception("internal error in a request: please report it")
        finally:
            self._clients -= 1

    async def _converse(self, stream: trio.SocketStream) -> None:
        try:
            with trio.fail_after(REQUEST_LIMIT):
                request = await _receive_request(stream)
        except ControlError as error:
            await _send(stream, protocol.failed_line(f"the mount was sent {error}"))
            return
        if request is None:
            return
        if request.name in self._streams:
            await _send(stream, await self._answer(request, stream))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, stream, nursery.cancel_scope)
            await _send(stream, await self._answer(request, stream))
            nursery.cancel_scope.cancel()

    async def _answer(self, request: Request, stream: trio.SocketStream) -> bytes:
        """The last line of the answer."""
        handler, streamed = self._handlers.get(request.name), self._streams.get(request.name)
        if handler is None and streamed is None:
            return protocol.failed_line(
                f"the mount knows no request {request.name[:40]!r}: is it an older sftpfs?"
            )

        async def send(values: Values) -> None:
            await _send(stream, protocol.progress_line(values))

        try:
            if handler is not None:
                return protocol.done_line(await handler(request.arguments, send))
            assert streamed is not None
            return protocol.done_line(
                await streamed(request.arguments, _peer(stream), stream.receive_some, send)
            )
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, ExceptionGroup):
            raise
        except OSError as error:
            return protocol.failed_line(error.strerror or str(error), error.errno or errno.EIO)
        except (MountError, ControlError) as error:
            return protocol.failed_line(str(error))
        except Exception:
            log.exception("internal error in the request %s: please report it", request.name)
            return protocol.failed_line("an internal error; the mount's log says more")


def _identity(path: str) -> tuple[int, int]:
    """What tells a file from another one that has its name later."""
    found = os.lstat(path)
    return found.st_dev, found.st_ino


async def _receive_request(stream: trio.SocketStream) -> Request | None:
    """The one request, or None if the client went without one. Raises ControlError."""
    lines = protocol.Lines(protocol.MAX_REQUEST)
    while data := await stream.receive_some():
        complete = lines.feed(data)
        if complete:
            return protocol.parse_request(complete[0])
    return None


async def _watch(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Withdraws the request when the client goes, or sends more."""
    try:
        await stream.receive_some(1)
    except trio.BrokenResourceError:
        pass
    scope.cancel()


async def _send(stream: trio.SocketStream, line: bytes) -> None:
    with trio.fail_after(SEND_LIMIT):
        await stream.send_all(line)


def _may_ask(stream: trio.SocketStream) -> bool:
    """True for the mount's owner, and for root, who may become the owner anyway (SO_PEERCRED, unix(7))."""
    return _peer(stream).uid in (0, os.geteuid())


def _peer(stream: trio.SocketStream) -> Peer:
    size = struct.calcsize("3i")
    credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, uid, gid = struct.unpack("3i", credentials)
    end = select.poll()
    end.register(stream.socket.fileno(), select.POLLRDHUP)
    return Peer(uid, gid, lambda: bool(end.poll(0)))
