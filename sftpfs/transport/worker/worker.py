"""A transport worker: one SSH connection, and the channels on it.

A child of the fork server, on asyncio and uvloop, controlled through its control socket
(``transport.worker.front_socket``). It holds keys and ciphers and nothing of SFTP. It ends when the
connection ends, or when the control socket does.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
from functools import partial
from typing import Any

import asyncssh
import uvloop
from asyncssh.constants import MSG_IGNORE
from asyncssh.packet import SSHPacketLogger

from sftpfs.errors import Failure, MountError
from sftpfs.transport.connect_errors import timeout_failure, words
from sftpfs.transport.keys.pinned_keys import Pin
from sftpfs.transport.messages import HostKey, Message, one_line
from sftpfs.transport.ssh_config.reader import HostConfig
from sftpfs.transport.worker.asyncssh_errors import something_else
from sftpfs.transport.worker.front_socket import FrontSocket
from sftpfs.transport.worker.hop_settings import Defaults, Settings, settings_for
from sftpfs.transport.worker.keepalive import Keepalive
from sftpfs.transport.worker.ssh_connect import Attempt, Clock, connect_hop, proxy_words
from sftpfs.transport.worker.streams.channel_pump import Congestion, Pump
from sftpfs.transport.worker.streams.connection_fast_path import ConnectionFastPath
from sftpfs.transport.worker.streams.lender import Lender, is_lendable

WINDOW = 16 << 20
"""Receive window of a channel: bytes per round trip one reader can get (160 MB/s at 100 ms)."""
MAX_PACKET = 128 * 1024
"""Bytes of one channel packet from the server; larger than the usual 32 KiB costs less CPU a byte."""
HOP_LIMIT = 8
"""Jump hosts behind each other."""
CLOSE_LIMIT = 0.5
"""Seconds for saying goodbye to the server."""
OUT_OF_MEMORY_STATUS = 12
"""Exit status when memory ran out (ENOMEM): no stream is better than one with a gap."""
INTERNAL = "an internal error of the transport process; the log says more"
EXPECTED = (asyncssh.Error, OSError)
"""Errors that end connections and are reported as their end. They are no fault of ours."""
_PR_SET_PDEATHSIG = 1


class Worker:
    """The worker's state; lives on one event loop."""

    def __init__(self, sock: socket.socket) -> None:
        self._front = FrontSocket(sock, self._dispatch, partial(self._finish, "the mount ended"))
        self._loop = asyncio.get_running_loop()
        self._done = self._loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: list[asyncssh.SSHClientConnection] = []
        self._congestion = Congestion()
        self._lender: Lender | None = None
        self._attempt: Attempt | None = None
        self._clock: Clock | None = None
        self._settings: Settings | None = None
        self._subsystem = "sftp"
        self._pins: dict[str, Message] = {}
        self._warnings: list[str] = []

    async def run(self) -> None:
        """Serve the control socket until the connection or the front is gone."""
        self._front.listen()
        reason = await self._done
        for task in self._tasks:
            task.cancel()
        for connection in reversed(self._connections):
            connection.close()
        try:
            async with asyncio.timeout(CLOSE_LIMIT):
                for connection in reversed(self._connections):
                    await connection.wait_closed()
        except (TimeoutError, OSError, asyncssh.Error):
            pass
        if self._attempt is not None:
            self._attempt.end_processes()
        self._front.send({"type": "closed", "reason": reason})

    # --- control socket

    def _dispatch(self, message: Message, fd: int | None) -> None:
        kind = message["type"]
        if kind == "connect":
            self._spawn(self._connect(message))
        elif kind == "open" and fd is not None:
            self._spawn(self._open(message["id"], socket.socket(fileno=fd)))
        elif kind == "answer":
            self._front.answered(message)
        elif kind == "borrow" and self._lender is not None:
            self._lender.borrow(message["id"])
        elif kind == "return" and self._lender is not None:
            self._lender.returned(message)
        elif kind == "close":
            self._finish("closed")

    def _spawn(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fault(error)
            self._finish(INTERNAL)

    def _finish(self, reason: str) -> None:
        if not self._done.done():
            self._front.stop()
            self._done.set_result(reason)

    def fault(self, error: BaseException) -> None:
        """Have the mount log what is a fault of ours, or of a library's: nobody sees what is written here."""
        self._front.fault(error)

    def complain(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Reports what went wrong in a callback. If memory ran out, bytes may be missing afterwards."""
        error = context.get("exception")
        if isinstance(error, MemoryError):
            os._exit(OUT_OF_MEMORY_STATUS)
        if error is not None and ("handle" in context or not isinstance(error, EXPECTED)):
            self.fault(error)

    async def _ask(self, kind: str, text: str, echo: bool, key: str, attempt: int) -> str | None:
        question = {"kind": kind, "text": text, "echo": echo, "key": key, "attempt": attempt}
        waiting = self._front.ask({**question, "target": self._settings is not None})
        assert self._clock is not None
        return await self._clock.outside(waiting)

    # --- connecting

    async def _connect(self, message: Message) -> None:
        where = message["host"]
        try:
            settings = self._resolve(message, message["host"], message["user"], message["port"], True)
            where = str(settings)
            await self._connect_all(message, settings)
        except MountError as error:
            self._front.fail(error)
            self._finish(error.message)
        except TimeoutError:
            stage = self._attempt.stage if self._attempt is not None else "connecting"
            limit = self._attempt.limit if self._attempt is not None else settings.connect_timeout
            failure = timeout_failure(where, limit, stage)
            if self._attempt is not None and self._attempt.client is not None:
                failure = something_else(self._attempt.client) or failure
            self._front.fail(failure)
            self._finish(failure.message)
        except Exception as error:  # whatever else goes wrong must reach the person as one line
            self.fault(error)
            text = one_line(f"cannot connect to {where}: {type(error).__name__}: {error}")
            self._front.fail(MountError(Failure.TRANSPORT, text))
            self._finish(text)

    async def _connect_all(self, message: Message, settings: Settings) -> None:
        self._subsystem = message["sftp_server"]
        self._pins = message["pins"]
        self._attempt = Attempt(
            self._ask,
            self._front.log,
            message["interactive"],
            message["password_stdin"],
            message["keep_taken_keys"],
            greeted=lambda: self._front.send({"type": "greeted"}),
            address=tuple(message["address"]) if message["address"] else None,
            only=message["only"],
        )
        async with asyncio.timeout(settings.connect_timeout) as timeout:
            self._clock = self._attempt.clock = Clock(timeout)
            hops = self._hops(message, settings, 0)
            for hop in hops:
                if hop is settings:
                    self._settings = settings
                await self._connect_hop(hop, last=hop is settings)
        self._clock = None
        connection = self._connections[-1]
        connection.pause_writing = self._congestion.pause_writing  # type: ignore[method-assign]
        connection.resume_writing = self._congestion.resume_writing  # type: ignore[method-assign]
        if connection.is_closed():
            raise MountError(Failure.TRANSPORT, f"{settings} closed the connection after login")
        direct = len(hops) == 1 and not settings.proxy_command
        if message["borrows"] and direct and is_lendable(connection):
            front = self._front
            self._lender = Lender(connection, front.send, front.send_with, front.read, self._spawn)
        self._front.send(
            {
                "type": "connected",
                "server": one_line(str(connection.get_extra_info("server_version"))),
                "cipher": str(connection.get_extra_info("recv_cipher")),
                "user": settings.user,
                "where": str(settings),
                "method": getattr(connection.get_owner(), "method", ""),
                "offered": getattr(connection.get_owner(), "offered", []),
                "host_key": getattr(connection.get_owner(), "host_key", HostKey.TAKEN).value,
                "pins": self._pins,
                "address": self._attempt.address,
                "direct": len(hops) == 1,
                "warnings": self._warnings,
            }
        )

    async def _connect_hop(self, hop: Settings, last: bool) -> None:
        assert self._attempt is not None
        tunnel = self._connections[-1] if self._connections else None
        try:
            held = self._pins.get(hop.known_hosts_name)
            pin = Pin.of(held) if held is not None else None
            connection = await connect_hop(hop, tunnel, self._attempt, self._lost, pin)
        except MountError as error:
            if hop.proxy_command and error.failure is Failure.TRANSPORT:
                said = await proxy_words(self._attempt)
                message = f"the proxy command for {hop} failed" + (f": {said}" if said else "")
                raise MountError(Failure.UNREACHABLE, message) from None
            if not last:
                raise MountError(error.failure, f"jump host: {error.message}") from None
            raise
        passed_over = getattr(connection.get_owner(), "passed_over", [])
        self._warnings += [f"the key {one_line(text)}" for text in passed_over]
        shown = getattr(connection.get_owner(), "host_keys", None)
        if shown is not None and shown.pin is not None:
            self._pins[shown.name] = shown.pin.message()
        spare_ignored_packets(connection)
        ConnectionFastPath(connection)
        Keepalive(connection, lambda: self._front.send({"type": "doubt"}))
        self._connections.append(connection)

    def _resolve(
        self, message: Message, host: str, user: str | None, port: int | None, target: bool
    ) -> Settings:
        """The settings for one hop. As in ssh, ``-o`` options are only for the target."""
        config = HostConfig(host, user, port, message["sftp_server"] if target else "")
        if target:
            config.add_options((name, value) for name, value in message["options"])
        config.add_files(message["config_file"])
        self._warnings += [
            f"{one_line(what)} cannot be judged here: the lines it is for are ignored"
            for what in config.unjudged
        ]
        if message["debug"] and config.unused:
            self._front.log(f"ssh options without a meaning here: {', '.join(sorted(set(config.unused)))}")
        defaults = Defaults(
            message["connect_timeout"],
            message["keepalive_interval"],
            message["keepalive_count"],
            message["compression"],
        )
        return settings_for(config, defaults)

    def _hops(self, message: Message, settings: Settings, depth: int) -> list[Settings]:
        """``settings`` preceded by its jump hosts; the first of those may have its own."""
        if depth > HOP_LIMIT:
            raise MountError(Failure.CONFIGURATION, "ProxyJump: too many jump hosts behind each other")
        hops = []
        for index, (user, host, port) in enumerate(settings.proxy_jump):
            hop = self._resolve(message, host, user, port, False)
            hops += self._hops(message, hop, depth + 1) if index == 0 else [hop]
        return [*hops, settings]

    def _lost(self, error: Exception | None) -> None:
        if error is not None and not isinstance(error, EXPECTED):
            self.fault(error)
        self._finish(words(error) if error is not None else "the server closed the connection")

    # --- channels

    async def _open(self, request: int, front: socket.socket) -> None:
        front.setblocking(False)

        def ended(reason: str) -> None:
            self._front.send({"type": "ended", "id": request, "reason": reason})
            if self._lender is not None:
                self._lender.ended(request)

        pump = Pump(front, self._connections[-1], self._congestion, ended)
        try:
            if self._lender is not None:
                await self._lender.here()
            await self._create_session(pump)
        except asyncssh.ChannelOpenError as error:
            front.close()
            self._front.fail(self._channel_failure(error), request)
        except (asyncssh.Error, OSError) as error:
            front.close()
            self._front.fail(MountError(Failure.TRANSPORT, f"cannot open a channel: {words(error)}"), request)
        else:
            self._front.send({"type": "opened", "id": request})
            if self._lender is not None:
                self._lender.opened(request, pump)

    async def _create_session(self, pump: Pump) -> None:
        settings = self._settings
        assert settings is not None
        program = self._subsystem
        is_path = "/" in program
        await self._connections[-1].create_session(
            lambda: pump,
            command=program if is_path else None,
            subsystem=None if is_path else program,
            encoding=None,
            window=WINDOW,
            max_pktsize=MAX_PACKET,
            env=dict(settings.environment) or None,
        )

    def _channel_failure(self, error: asyncssh.ChannelOpenError) -> MountError:
        text = one_line(error.reason)
        if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
            message = (
                f"{self._settings} offers no SFTP subsystem '{self._subsystem}': "
                "its sshd_config needs a line 'Subsystem sftp internal-sftp', or give sftp_server=PATH"
            )
            return MountError(Failure.NO_SFTP, message)
        return MountError(Failure.TRANSPORT, f"{self._settings} refuses another channel: {text}")


def spare_ignored_packets(connection: asyncssh.SSHClientConnection) -> None:
    """Keeps asyncssh from putting an SSH_MSG_IGNORE before every packet if that protects nothing.

    It hides the IV of the next packet from an eavesdropper (RFC 4251 §9.3.1), which matters only in CBC mode.
    In all other modes it is a second packet to encrypt with every request, and for the server to decrypt.
    """
    if str(connection.get_extra_info("send_cipher")).partition("@")[0].endswith("-cbc"):
        return
    send_packet = connection.send_packet

    def send(pkttype: int, *args: bytes, handler: SSHPacketLogger | None = None) -> None:
        if pkttype != MSG_IGNORE:
            send_packet(pkttype, *args, handler=handler)

    connection.send_packet = send  # type: ignore[method-assign]


def run(sock: socket.socket) -> None:
    """The life of a worker process; returns when it is to exit."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    asyncssh.set_log_level(100)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(sock))


async def _main(sock: socket.socket) -> None:
    worker = Worker(sock)
    asyncio.get_running_loop().set_exception_handler(worker.complain)
    try:
        await worker.run()
    except Exception as error:
        worker.fault(error)
        raise
