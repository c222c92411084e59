"""``ssh_command``: OpenSSH's client, or any program, as the transport.

The program gets a socket as stdin and stdout. It stays in our session so that it can ask on the terminal. Its
stderr is passed on until the mount is up, and ``transport.openssh_errors`` reads from it what kind of failure
ended it. We answer signals that are sent to our whole group. If the program has nobody to ask, it starts with
these signals blocked, and ends with its stream, or is killed.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys

import trio

from sftpfs.aio import ByteStream
from sftpfs.config import Endpoint, TransportConfig
from sftpfs.errors import Failure, MountError
from sftpfs.transport.api import Prompter, Transport
from sftpfs.transport.messages import one_line
from sftpfs.transport.openssh_errors import SshWords
from sftpfs.transport.sockets import SocketTransport
from sftpfs.transport.worker_transport import SOCKET_BUFFER

log = logging.getLogger(__name__)

STOP_LIMIT = 2.0
"""Seconds the program has to end by itself once its stream is closed."""
GROUP_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
"""What a terminal, a service manager or a shutdown sends to all of us."""
LEVEL_FLAG = re.compile("-[46AaCfGgKkMNnsTtXxYy]*[qv]")
"""-q or -v among ssh's flags, which win over an option."""
SSH_DEFAULTS = (
    *("-x", "-a", "-oClearAllForwardings=yes"),
    *("-oRemoteCommand=none", "-oRequestTTY=no", "-oStdinNull=no", "-oForkAfterAuthentication=no"),
)
"""Nothing is to be forwarded through a file system's connection, and what a configuration has for people's
logins would leave no stream."""


def ssh_arguments(config: TransportConfig, endpoint: Endpoint, batch: bool) -> list[str]:
    """argv of the program. ``batch``: it must ask nobody anything."""
    argv = [*config.ssh_command, *SSH_DEFAULTS]
    if endpoint.port is not None:
        argv += ["-p", str(endpoint.port)]
    if config.ssh_config_file is not None:
        argv += ["-F", config.ssh_config_file]
    if config.compression:
        argv.append("-C")
    given = {keyword.lower() for keyword, _ in config.ssh_options}
    if batch and "batchmode" not in given:
        argv.append("-oBatchMode=yes")
    argv += [f"-o{keyword}={value}" for keyword, value in config.ssh_options]
    if not own_level(config):
        argv.append("-oLogLevel=DEBUG1")
    if "serveraliveinterval" not in given:
        argv.append(f"-oServerAliveInterval={config.keepalive_interval:.0f}")
    if "serveralivecountmax" not in given:
        argv.append(f"-oServerAliveCountMax={config.keepalive_count}")
    if "connecttimeout" not in given:
        argv.append(f"-oConnectTimeout={max(1, round(config.connect_timeout))}")
    if endpoint.user is not None:
        argv += ["-l", endpoint.user]
    argv += ["-s", endpoint.host, config.sftp_server]
    if "/" in config.sftp_server:
        argv[argv.index("-s")] = "-oSessionType=default"
    return argv


def own_level(config: TransportConfig) -> bool:
    """True if somebody chose what the program logs. Then it is shown as it comes, and no kind of failure
    is read from it."""
    given = {keyword.lower() for keyword, _ in config.ssh_options}
    return "loglevel" in given or any(LEVEL_FLAG.match(word) for word in config.ssh_command[1:])


class CommandTransport(SocketTransport):
    """A running program and its one stream."""

    def __init__(self, stream: ByteStream, process: subprocess.Popen[bytes]) -> None:
        super().__init__(stream)
        self.process = process
        self.words = SshWords()

    def close(self) -> None:
        """Ends the program's stream, and with it the program, which its watcher reaps."""
        if not self.closed.is_set():
            super().close()
        if self.process.poll() is None:
            self.process.terminate()  # it may be asking: then it puts the terminal back


class CommandConnector:
    """Starts the program, once a connection."""

    def __init__(
        self, config: TransportConfig, endpoint: Endpoint, prompter: Prompter, nursery: trio.Nursery
    ) -> None:
        self._config = config
        self._endpoint = endpoint
        self._prompter = prompter
        self._nursery = nursery
        self._running: set[CommandTransport] = set()

    @property
    def single(self) -> bool:
        """False: the program can be started again."""
        return False

    @property
    def logging_in(self) -> bool:
        """As ``Connector.logging_in``; unknown where somebody chose what ssh logs."""
        return any(one.words.logging_in for one in self._running if not one.closed.is_set())

    async def connect(self, *, interactive: bool, beside: Transport | None = None) -> CommandTransport:
        """Start the program. What keeps it from connecting shows as the end of its stream,
        ``closed`` and ``reason``. Raises MountError(CONFIGURATION) where it cannot be started.
        """
        await trio.lowlevel.checkpoint()
        batch = not (interactive and self._prompter.available)
        argv = ssh_arguments(self._config, self._endpoint, batch)
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
        words_read, words_write = os.pipe2(os.O_CLOEXEC)
        try:
            with theirs:
                process = start(argv, theirs, words_write, shielded=batch)
        except OSError as error:
            ours.close()
            os.close(words_read)
            message = f"cannot run '{argv[0]}': {error.strerror}"
            raise MountError(Failure.CONFIGURATION, message) from None
        finally:
            os.close(words_write)
        fd = ours.detach()
        transport = CommandTransport(ByteStream(fd, fd), process)
        transport.may_be_asking = not batch
        self._running.add(transport)
        self._nursery.start_soon(self._watch, transport, words_read)
        return transport

    async def _watch(self, transport: CommandTransport, words_fd: int) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._kill_late, transport)
                async with trio.lowlevel.FdStream(words_fd) as words:
                    await self._pass_on(words, transport)
                await wait_exit(transport.process)
                nursery.cancel_scope.cancel()
        finally:
            self._running.discard(transport)
            reap(transport.process)
            if not transport.closed.is_set():
                transport.reason = self._words_for(transport)
                if not own_level(self._config):
                    transport.failure = transport.words.failure(transport.process.returncode)
                transport.close()

    async def _kill_late(self, transport: CommandTransport) -> None:
        await transport.closed.wait()
        await trio.sleep(STOP_LIMIT)
        transport.process.kill()

    async def _pass_on(self, words: trio.lowlevel.FdStream, transport: CommandTransport) -> None:
        """Pass stderr on, keeping its last line. Ends with the program, whose children may keep stderr."""
        async with trio.open_nursery() as nursery:

            async def until_exit() -> None:
                await wait_exit(transport.process)
                with trio.move_on_after(0.2):  # what it said last may still be in the pipe
                    await trio.sleep_forever()
                nursery.cancel_scope.cancel()

            nursery.start_soon(until_exit)
            async for chunk in words:
                self._show(transport.words.take(chunk), chunk)
                transport.address = transport.words.address
            nursery.cancel_scope.cancel()
        self._show(transport.words.finish(), b"")

    def _show(self, lines: list[str], chunk: bytes | bytearray) -> None:
        text = "".join(f"{line}\n" for line in lines)
        if own_level(self._config):
            text = chunk.decode(errors="replace")
        if not text:
            return
        if self._prompter.available:
            sys.stderr.write(text)
            sys.stderr.flush()
        else:
            log.info("%s: %s", self._config.ssh_command[0], one_line(text))

    def _words_for(self, transport: CommandTransport) -> str:
        status = transport.process.returncode
        name = self._config.ssh_command[0]
        how = f"ended with status {status}"
        if status is not None and status < 0:
            how = f"was killed by {signal.Signals(-status).name}"
        said = transport.words.last or "it said nothing"
        return f"'{name}' to {self._endpoint.host} {how}: {said}"

    async def aclose(self) -> None:
        """End every program started, and wait at most ``STOP_LIMIT`` seconds."""
        running = list(self._running)
        for transport in running:
            transport.close()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(STOP_LIMIT):
                for transport in running:
                    await wait_exit(transport.process)
            for transport in running:
                reap(transport.process)


def start(argv: list[str], stdio: socket.socket, stderr: int, shielded: bool) -> subprocess.Popen[bytes]:
    """Start the program in our session and process group; ``shielded`` from what is sent to all of that.

    Raises OSError.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS if shielded else ())
    try:
        return subprocess.Popen(argv, stdin=stdio.fileno(), stdout=stdio.fileno(), stderr=stderr)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # what came meanwhile is answered now


async def wait_exit(process: subprocess.Popen[bytes]) -> None:
    """Wait for ``process`` to end."""
    if process.poll() is not None:
        return
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)
    process.poll()


def reap(process: subprocess.Popen[bytes]) -> None:
    """Make sure ``process`` is gone."""
    if process.poll() is None:
        process.kill()
        process.wait()
