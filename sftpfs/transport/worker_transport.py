"""The front's side of asyncssh connections: a transport per worker.

Runs on trio. Owns the messages to and from a worker; ``transport.fork_client`` owns its process.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
from collections.abc import Callable
from typing import Any

import trio

from sftpfs.aio import ByteStream, Slot, readiness
from sftpfs.config import Endpoint, TransportConfig
from sftpfs.errors import Failure, MountError
from sftpfs.transport import messages
from sftpfs.transport.answer_memory import LASTING, AnswerMemory, StdinPassword
from sftpfs.transport.api import Prompter, PromptKind, Transport
from sftpfs.transport.fork_client import FAULT, ForkServer, close_socket, read_messages, read_pending
from sftpfs.transport.fork_launch import Launched, search_path
from sftpfs.transport.keys.pinned_keys import Pins
from sftpfs.transport.loan.borrower import Borrower, load
from sftpfs.transport.messages import HostKey

log = logging.getLogger(__name__)

SOCKET_BUFFER = 2 << 20
"""Bytes asked for in each direction of a data socketpair: fewer wake-ups a megabyte."""
EXIT_REPORT_LIMIT = 0.5
"""Seconds to wait for the fork server to say how a worker died."""
_SENSELESS = (ValueError, KeyError, TypeError, AttributeError)


class WorkerTransport:
    """One SSH connection, as the front sees it.

    INVARIANT: after ``closed`` is set no slot waits for the worker.
    """

    def __init__(self, owner: AsyncsshConnector, worker: tuple[int, socket.socket, Slot[int]]) -> None:
        self.closed = trio.Event()
        self.reason = ""
        self.failure: Failure | None = None
        self.may_be_asking = False
        self.silence = math.inf  # asyncssh sends keepalives
        self.doubted: Callable[[], None] | None = None
        self.about = ""
        self.host_key: HostKey | None = None
        self.pid, self._control, self._exit = worker
        self.server = ""
        """The server's version string, once connected."""
        self.cipher = ""
        self.address: object = None
        self.way: list[Any] | None = None
        """The socket address that was reached, of the first jump host if there is one; None with a proxy."""
        self._owner = owner
        self._connected: Slot[None] = Slot()
        self._channels: dict[int, Slot[None]] = {}
        self._borrower = Borrower(self._say, lambda task: owner.nursery.start_soon(task))
        self._next_channel = 0
        self._answers: dict[str, str] = {}
        self._passwords: set[str] = set()
        """Keys of the passwords given on this connection, by whichever method."""
        self._prompts: set[trio.CancelScope] = set()
        self._interactive = False

    async def connect(self, request: messages.Message) -> None:
        """Makes the worker connect. Raises MountError; the transport is then closed."""
        self._interactive = bool(request["interactive"])
        self._owner.nursery.start_soon(self._serve)
        try:
            self._send(request)
            if request["borrows"]:
                load()  # while the worker logs in
            await self._connected.wait()
        except BaseException as error:
            if isinstance(error, MountError) and error.failure is Failure.AUTHENTICATION:
                self._owner.refused(self._passwords)
            self.close()
            raise
        finally:
            self._owner.greeted.discard(self)

    async def open_channel(self) -> ByteStream:
        """A further SFTP stream. Raises MountError."""
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
        number = self._next_channel
        self._next_channel += 1
        slot: Slot[None] = Slot()
        self._channels[number] = slot
        limit = self._owner.config.connect_timeout
        with ours:
            with theirs:
                self._send({"type": "open", "id": number}, [theirs.fileno()])
            try:
                with trio.move_on_after(limit):
                    await slot.wait()
                    return self._borrower.stream(number, ours.detach())
            finally:
                self._channels.pop(number, None)
        message = f"the server did not open an SFTP session within {limit:g} s"
        raise MountError(Failure.TIMED_OUT, message)

    def close(self) -> None:
        """Lets the worker go: it ends at the end of file."""
        self._borrower.give_back()
        self._finish("closed")

    def _send(self, message: messages.Message, fds: list[int] | None = None) -> None:
        try:
            messages.send(self._control, message, fds or ())
        except OSError:
            self._hear_last_words()
            self._finish("the transport process is gone")
        if self.closed.is_set():
            raise MountError(Failure.TRANSPORT, self.reason)

    def _say(self, message: messages.Message) -> bool:
        """Sends ``message``; False if the worker is gone."""
        try:
            self._send(message)
        except MountError:
            return False
        return True

    def _hear_last_words(self) -> None:
        """The worker is gone. Why, it may have said before, and nobody has read it yet."""
        try:
            read_pending(self._control, self._handle, self._take)
        except _SENSELESS as error:
            self._finish(f"the transport process sent an invalid message: {error!r}")

    async def _serve(self) -> None:
        try:
            await read_messages(self._control, self._handle, self._take)
            if not self.closed.is_set():
                self._finish(await self._death())
        except _SENSELESS as error:
            self._finish(f"the transport process sent an invalid message: {error!r}")
        finally:
            self._finish("the mount ended")

    async def _death(self) -> str:
        with trio.move_on_after(EXIT_REPORT_LIMIT):
            try:
                status = await self._exit.wait()
            except MountError as error:
                return error.message
            if status < 0:
                return f"the transport process was killed by {signal.Signals(-status).name}"
            return f"the transport process ended with status {status}"
        return "the transport process ended"

    def _finish(self, reason: str) -> None:
        if self.closed.is_set():
            return
        self.reason = reason
        self.closed.set()
        close_socket(self._control)
        for scope in self._prompts:
            scope.cancel()
        error = MountError(Failure.TRANSPORT, reason)
        for slot in (self._connected, *self._channels.values()):
            if not slot.done:
                slot.fail(error)

    def _take(self, message: messages.Message, fd: int | None) -> bool:
        """As ``Borrower.take``."""
        return self._borrower.take(message, fd)

    def _handle(self, message: messages.Message) -> None:
        kind = message["type"]
        if kind == "log":
            self._owner.say(message["text"])
        elif kind == "fault":
            log.error(FAULT, message["text"])
        elif kind == "prompt":
            self._owner.nursery.start_soon(self._answer, message)
        elif kind == "connected":
            self.server, self.cipher = message["server"].removeprefix("SSH-2.0-"), message["cipher"]
            self.host_key = HostKey(message["host_key"])
            self.way = message["address"]
            self.address = self.way if message["direct"] else None
            self.about = (
                f"{message['user']}@{message['where']} by {message['method']}, "
                f"server {message['server']}, cipher {self.cipher}"
            )
            if message["offered"]:
                self.about += f"; the server offers {', '.join(map(str, message['offered']))}"
            self._owner.say(f"logged in as {self.about}")
            self._owner.warn(message["warnings"])
            self._logged_in(message["pins"])
        elif kind == "opened":
            self._settle(message["id"], None)
        elif kind == "failed":
            error = MountError(Failure[message["failure"]], message["message"])
            self._settle(message["id"], error)
        elif kind == "greeted":
            self._owner.greeted.add(self)
        elif kind == "doubt":
            if self.doubted is not None:
                self.doubted()
        elif kind == "ended":
            log.debug("channel %d: %s", message["id"], message["reason"])
            self.reason = message["reason"]
        elif kind == "closed":
            self._finish(message["reason"])

    def _logged_in(self, pins: messages.Message) -> None:
        """Keeps the answers that let us in, for further connections."""
        other = self._owner.pins.keep(pins)
        if other is not None:
            text = f"host key of {other} has changed between two connections made at the same time"
            self._settle(None, MountError(Failure.HOST_KEY_CHANGED, text))
            self._finish(text)
        else:
            self._owner.memory.keep(self._answers)
            self._settle(None, None)

    def _settle(self, number: int | None, error: MountError | None) -> None:
        slot = self._connected if number is None else self._channels.get(number)
        if slot is None or slot.done:
            return
        if error is None:
            slot.set(None)
        else:
            slot.fail(error)

    async def _answer(self, message: messages.Message) -> None:
        kind = PromptKind[message["kind"]]
        key: str = message["key"]
        text: str | None = None
        with trio.CancelScope() as scope:
            self._prompts.add(scope)
            text = await self._owner.answer(
                kind,
                message["text"],
                bool(message["echo"]),
                key,
                int(message["attempt"]),
                given=key in self._passwords,
                target=bool(message["target"]),
                interactive=self._interactive,
            )
        self._prompts.discard(scope)
        if text is not None and kind in LASTING:
            self._answers[key] = text
        if text is not None and kind is PromptKind.PASSWORD:
            self._passwords.add(key)
        if not self.closed.is_set():
            try:
                self._send({"type": "answer", "id": message["id"], "text": text})
            except MountError:
                pass  # the worker went; whoever waits for the connection hears of it


class AsyncsshConnector:
    """Connections by asyncssh, each in a worker of its own."""

    def __init__(
        self,
        config: TransportConfig,
        endpoint: Endpoint,
        prompter: Prompter,
        nursery: trio.Nursery,
        launched: Launched | None,
    ) -> None:
        self.config = config
        self.nursery = nursery
        self.memory = AnswerMemory()
        self.greeted: set[WorkerTransport] = set()
        """Those that log in to a server that has said that it speaks SSH."""
        self.pins = Pins()
        self._endpoint = endpoint
        self._prompter = prompter
        self._asking = trio.Lock()
        self._starting = trio.Lock()
        self._server = None if launched is None else ForkServer(nursery, launched)
        self._last_way: list[Any] | None = None
        """That of the last connection; see ``WorkerTransport.way``."""
        self._stdin = StdinPassword()
        self._warned: set[str] = set()
        search_path()  # while no mount can be in the way

    @property
    def single(self) -> bool:
        """There can be any number of connections."""
        return False

    @property
    def logging_in(self) -> bool:
        """As ``Connector.logging_in``."""
        return bool(self.greeted)

    async def connect(self, *, interactive: bool, beside: Transport | None = None) -> WorkerTransport:
        """A new connection, in a new worker. Raises MountError."""
        async with self._starting:
            if self._server is None or not self._server.alive:
                if self._server is not None:
                    await self._server.aclose()
                self._server = await ForkServer.start(self.nursery)
            server = self._server
        transport = WorkerTransport(self, await server.fork())
        await transport.connect(self._request(interactive) | self._way(beside))
        self._last_way = transport.way
        return transport

    def _way(self, beside: Transport | None) -> messages.Message:
        """Where to connect: only the address of ``beside``, or the last one first."""
        if isinstance(beside, WorkerTransport):
            return {"address": beside.way, "only": True}
        return {"address": self._last_way, "only": False}

    async def aclose(self) -> None:
        """End the fork server, and with it every worker."""
        if self._server is not None:
            await self._server.aclose()

    def say(self, text: str) -> None:
        """A line from a worker, for the log."""
        for line in text.splitlines():
            log.info("%s", line)

    def warn(self, lines: list[str]) -> None:
        """What a connection ignored; a person is told of it once."""
        for line in lines:
            if line not in self._warned:
                self._warned.add(line)
                log.warning("%s", line)

    def refused(self, passwords: set[str]) -> None:
        """The server let nobody in who gave the passwords of these keys."""
        self.memory.refused(passwords)
        if passwords:
            self._stdin.spent()

    def _request(self, interactive: bool) -> messages.Message:
        config = self.config
        return {
            "type": "connect",
            "host": self._endpoint.host,
            "user": self._endpoint.user,
            "port": self._endpoint.port,
            "config_file": config.ssh_config_file,
            "options": config.ssh_options,
            "sftp_server": config.sftp_server,
            "compression": config.compression,
            "connect_timeout": config.connect_timeout,
            "keepalive_interval": config.keepalive_interval,
            "keepalive_count": config.keepalive_count,
            "interactive": interactive and self._prompter.available,
            "password_stdin": config.password_stdin,
            "keep_taken_keys": config.keep_taken_keys,
            "pins": self.pins.message(),
            "borrows": readiness.poller() is not None,
            "debug": config.debug,
        }

    async def answer(
        self,
        kind: PromptKind,
        text: str,
        echo: bool,
        key: str,
        attempt: int,
        *,
        given: bool,
        target: bool,
        interactive: bool,
    ) -> str | None:
        """The answer to a worker's question: from memory, from stdin, or from the person.

        ``given``: an answer was given on this connection and refused; it is not sent by another method.
        """
        remembered = None if given else self.memory.recall(kind, key, attempt)
        if remembered is not None:
            return remembered
        if self.config.password_stdin and kind is PromptKind.PASSWORD and target:
            return await self._stdin.read() if attempt == 0 and not given else None
        if not interactive:
            return None
        async with self._asking:
            return await self._prompter.ask(kind, text, echo)
