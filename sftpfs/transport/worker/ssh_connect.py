"""From settings to an authenticated SSH connection: sockets, proxies, questions about host keys.

Runs in a transport worker. Every failure leaves as a ``MountError`` of one line.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncssh
from asyncssh.public_key import get_public_key_algs

from sftpfs.errors import Failure, MountError
from sftpfs.transport.connect_errors import connect_failure, name_failure
from sftpfs.transport.keys import known_hosts
from sftpfs.transport.keys.pinned_keys import Pin
from sftpfs.transport.keys.user_keys import Ask, Log
from sftpfs.transport.messages import one_line
from sftpfs.transport.worker.algorithms import Algorithms, agreed, plain
from sftpfs.transport.worker.asyncssh_errors import explain
from sftpfs.transport.worker.authentication import Authenticator, Client
from sftpfs.transport.worker.hop_settings import Settings, StrictChecking
from sftpfs.transport.worker.host_key_policy import HostKeyJudge

PROXY_CHUNK, PROXY_TAIL = 65536, 4096
"""Bytes read at once of what a proxy command says, and kept of it."""
PROXY_PATIENCE = 1.0
"""Seconds that a failed proxy command has to say why."""
LOGIN_LIMIT = 130.0
"""Seconds for a login once the server's key was accepted. ssh has no limit. sshd ends a login after
LoginGraceTime, 120 s by default, and until then somebody may be looking for the telephone on which to agree.
"""
LOGIN_PROBES = (
    (socket.TCP_KEEPIDLE, 4),
    (socket.TCP_KEEPINTVL, 4),
    (socket.TCP_USER_TIMEOUT, 12_000),
)
"""Probes that show meanwhile whether the path is dead: seconds between the kernel's questions, milliseconds
without an answer to one or to what was sent."""
CONFIRM_TRIES = 3
"""How often a question is repeated whose answer is neither yes nor no."""
VERSION = "sftpfs_as_OpenSSH"
"""Our software version. We put the arguments of SYMLINK in OpenSSH's order, which is not the draft's; servers
that know both orders go by this word."""


class Clock:
    """The time that a connection may take. It stands still while a person is asked."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout

    def remaining(self) -> float:
        """Seconds left."""
        when = self._timeout.when()
        return 3600.0 if when is None else max(0.0, when - asyncio.get_running_loop().time())

    def restart(self, seconds: float) -> None:
        """There are ``seconds`` left from now on."""
        self._timeout.reschedule(asyncio.get_running_loop().time() + seconds)

    async def outside(self, waiting: Awaitable[str | None]) -> str | None:
        """Awaits ``waiting`` without counting the time."""
        left = self.remaining()
        self._timeout.reschedule(None)
        try:
            return await waiting
        finally:
            self._timeout.reschedule(asyncio.get_running_loop().time() + left)


class ProxyWords:
    """What a proxy command says on standard error. It is read while the command lives, which would otherwise
    block."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._tail = b""
        self._reading = asyncio.get_running_loop().create_task(self._read(stream))

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(PROXY_CHUNK):
            self._tail = (self._tail + chunk)[-PROXY_TAIL:]

    async def last(self) -> str:
        """Its last line, once it has said everything, or said nothing for a moment."""
        await asyncio.wait([self._reading], timeout=PROXY_PATIENCE)
        return one_line(self._tail.decode(errors="replace").strip().rpartition("\n")[2])


@dataclass
class Attempt:
    """The state of making one connection."""

    ask: Ask
    log: Log
    interactive: bool
    password_stdin: bool = False
    keep_taken_keys: bool = True
    """As ``TransportConfig.keep_taken_keys``."""
    greeted: Callable[[], None] = lambda: None
    """Called when a server says that it speaks SSH."""
    address: tuple[Any, ...] | None = None
    """The socket address to try first; once connected, the one that was reached; None with a proxy."""
    only: bool = False
    """No other address will do."""
    clock: Clock | None = None
    limit: float = 0.0
    """Seconds the stage may take."""
    stage: str = "connecting"
    began: float = 0.0
    """When the connection being made was begun, by the loop's clock."""
    asked: bool = False
    """Somebody was asked on it."""
    client: Client | None = None
    """What the connection being made reports of the server."""
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    """Proxy commands; ended with the worker."""
    proxy_words: ProxyWords | None = None
    """Those of the proxy command started last."""

    def begin(self, stage: str, limit: float) -> None:
        """``stage`` begins, and may take ``limit`` seconds."""
        self.stage, self.limit = stage, limit
        if self.clock is not None:
            self.clock.restart(limit)

    async def question(self, kind: str, text: str, echo: bool, key: str, attempt: int) -> str | None:
        """As ``Ask``: during a login, so that the server may lose patience."""
        self.asked = True
        return await self.ask(kind, text, echo, key, attempt)

    def end_processes(self) -> None:
        """Kill what proxy commands are left. They were started with SIGTERM ignored, as this process is."""
        for process in self.processes:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


async def judge_unknown(judge: HostKeyJudge, attempt: Attempt) -> None:
    """Asks about a key that nobody knows. Returns if a person accepted it. Raises MountError."""
    key = judge.unknown
    assert key is not None
    judge.unknown = None
    if judge.settings.strict is StrictChecking.YES:
        cure = "StrictHostKeyChecking=yes refuses keys that are not in known_hosts"
        raise known_hosts.unknown_error(judge.display, key, cure)
    if attempt.interactive and not judge.settings.batch:
        text = known_hosts.question(judge.display, key)
        for _ in range(CONFIRM_TRIES):
            answer = await attempt.ask("CONFIRM", text, True, "", 0)
            decision = known_hosts.agrees(answer, key)
            if decision:
                judge.approve(key)
                return
            if answer is None:
                break
            if decision is False:
                raise known_hosts.unknown_error(judge.display, key, "not accepted")
            text = "Please type 'yes', 'no' or the fingerprint: "
    cure = "nobody can be asked; connect once with ssh, or use -o StrictHostKeyChecking=accept-new"
    raise known_hosts.unknown_error(judge.display, key, cure)


async def connect_hop(
    settings: Settings,
    tunnel: asyncssh.SSHClientConnection | None,
    attempt: Attempt,
    lost: Callable[[Exception | None], None],
    pin: Pin | None = None,
) -> asyncssh.SSHClientConnection:
    """One authenticated connection, over TCP, a proxy command, or ``tunnel``. Raises MountError.

    ``pin`` is the key by which an earlier connection of this mount logged in there.

    A person is asked about an unknown host key between two connections, because nobody can be asked while
    keys are exchanged. So the server's login timer does not run meanwhile.
    """
    algorithms = agreed(settings.algorithms, settings.gssapi_key_exchange)
    judge = HostKeyJudge(settings, algorithms, attempt.log, pin, attempt.keep_taken_keys)
    while True:
        authenticator = Authenticator(settings, algorithms.user_keys, attempt.question, attempt.log)
        attempt.client = client = Client(authenticator, judge, attempt.log)
        client.greeted = attempt.greeted
        client.trusted = partial(attempt.begin, "login", LOGIN_LIMIT)
        try:
            options = _options(settings, algorithms, judge)
            connection = await _connect_once(settings, tunnel, attempt, client, options)
            client.lost = lost
            return connection
        except asyncssh.HostKeyNotVerifiable as error:
            if judge.error is not None:
                raise judge.error from None
            if judge.unknown is None:
                message = f"host key of {settings} cannot be verified: {one_line(str(error))}"
                raise MountError(Failure.HOST_KEY_CHANGED, message) from None
        except (asyncssh.Error, OSError, ValueError) as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                raise  # of our clock; the kernel's says that the path is dead
            raise explain(
                error, settings, attempt, client, authenticator, through=tunnel is not None
            ) from None
        finally:
            await authenticator.close()
        await judge_unknown(judge, attempt)


async def _connect_once(
    settings: Settings,
    tunnel: asyncssh.SSHClientConnection | None,
    attempt: Attempt,
    client: Client,
    options: dict[str, Any],
) -> asyncssh.SSHClientConnection:
    sock: socket.socket | None = None
    attempt.begin("connecting", settings.connect_timeout)
    attempt.began, attempt.asked = asyncio.get_running_loop().time(), False
    way = (
        " through its jump host"
        if tunnel is not None
        else " by ProxyCommand"
        if settings.proxy_command
        else ""
    )
    attempt.log(f"connecting to {settings}{way}")
    if tunnel is None:
        if settings.proxy_command:
            sock = await open_proxy(settings, attempt)
            attempt.address = None
        else:
            sock = await open_tcp(settings, attempt.address, attempt.only)
            attempt.address = sock.getpeername()
        attempt.stage = "login"
    way_in: dict[str, Any] = {"sock": sock} if sock is not None else {"tunnel": tunnel}
    try:
        with impatient(sock):
            return await asyncssh.connect(
                settings.host, settings.port, client_factory=lambda: client, **way_in, **options
            )
    except BaseException:
        if sock is not None:
            sock.close()
        raise


def _options(settings: Settings, algorithms: Algorithms, judge: HostKeyJudge) -> dict[str, Any]:
    """asyncssh's connection options. Everything that it would look up by itself is given."""
    signatures = [name.decode() for name in get_public_key_algs()]
    options: dict[str, Any] = {
        "config": [],
        "proxy_command": None,
        "username": settings.user,
        "client_version": VERSION,
        "client_keys": None,
        "agent_path": None,
        "known_hosts": lambda host, address, port: ([], [], []),
        "host_key_alias": settings.host_key_alias,
        "x509_trusted_certs": None,
        "x509_trusted_cert_paths": [],
        "connect_timeout": None,
        "login_timeout": 0,
        "keepalive_interval": settings.keepalive_interval,
        "keepalive_count_max": settings.keepalive_count,
        "tcp_keepalive": settings.tcp_keepalive,
        "host_based_auth": False,
        "public_key_auth": settings.pubkey,
        "password_auth": settings.password,
        "kbdint_auth": settings.keyboard_interactive,
        "gss_auth": settings.gssapi,
        "gss_kex": settings.gssapi_key_exchange,
        "gss_delegate_creds": settings.gssapi_delegate,
        "agent_forwarding": False,
        "x11_forwarding": False,
        "request_pty": False,
        "compression_algs": "zlib@openssh.com,none" if settings.compression else "none,zlib@openssh.com",
        "kex_algs": list(algorithms.kex),
        "encryption_algs": list(algorithms.ciphers),
        "mac_algs": list(algorithms.macs),
        "server_host_key_algs": list(judge.offered),
        # asyncssh's word for what a key of ours may sign with
        "signature_algs": [name for name in signatures if name in set(map(plain, algorithms.user_keys))],
    }
    if settings.rekey_limit:
        options |= rekey_limit(settings.rekey_limit)
    if settings.preferred:
        options["preferred_auth"] = list(settings.preferred)
    return options


def rekey_limit(words: str) -> dict[str, str]:
    """asyncssh's options for ``RekeyLimit BYTES [TIME]``."""
    size, _, time = words.lower().partition(" ")
    options = {} if size in ("default", "none") else {"rekey_bytes": size}
    if time:
        options["rekey_seconds"] = "0" if time == "none" else time
    return options


async def open_tcp(
    settings: Settings, first: tuple[Any, ...] | None = None, only: bool = False
) -> socket.socket:
    """A connected TCP socket. Tries every address of the host in turn, ``first`` before the others if it is
    one of them, or ``only`` that. Raises MountError."""
    loop = asyncio.get_running_loop()
    host, port = (first[0], first[1]) if only and first else (settings.host, settings.port)
    try:
        addresses = await loop.getaddrinfo(host, port, family=settings.family, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise name_failure(settings.host, error) from None
    addresses.sort(key=lambda one: one[4] != first)
    failures: list[OSError] = []
    share = settings.connect_timeout / max(1, len(addresses))
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
        try:
            if settings.bind_interface:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, settings.bind_interface.encode())
            if settings.bind_address:
                sock.bind((settings.bind_address, 0))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.wait_for(loop.sock_connect(sock, address), share)
            return sock
        except OSError as error:
            sock.close()
            failures.append(error)
        except BaseException:
            sock.close()
            raise
    raise connect_failure(str(settings), failures, settings.connect_timeout)


@contextmanager
def impatient(sock: socket.socket | None) -> Iterator[None]:
    """Makes the kernel notice a dead path during a login, when a server may be silent for long (tcp(7))."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        yield
        return
    before = [(option, sock.getsockopt(socket.IPPROTO_TCP, option)) for option, _ in LOGIN_PROBES]
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in LOGIN_PROBES:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    yield
    with suppress(OSError):  # lost meanwhile
        for option, value in before:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


async def open_proxy(settings: Settings, attempt: Attempt) -> socket.socket:
    """Starts the ProxyCommand; its stdin and stdout are the socket's other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    assert settings.proxy_command is not None
    with theirs:
        process = await asyncio.create_subprocess_shell(
            f"exec {settings.proxy_command}",
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    assert process.stderr is not None
    attempt.processes.append(process)
    attempt.proxy_words = ProxyWords(process.stderr)
    return ours


async def proxy_words(attempt: Attempt) -> str:
    """The last line of the proxy command that failed."""
    return await attempt.proxy_words.last() if attempt.proxy_words is not None else ""
