"""From settings to an authenticated SSH connection: sockets, proxies, words for failure.

Runs in a transport worker. Every failure leaves as a ``MountError`` of one line.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import asyncssh
from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from sftpfs.errors import Failure, MountError
from sftpfs.transport import hostkeys
from sftpfs.transport.authentication import Ask, Authenticator, Client, Log
from sftpfs.transport.control import one_line
from sftpfs.transport.failures import connect_failure, name_failure
from sftpfs.transport.host_key_judge import HostKeyJudge
from sftpfs.transport.settings import Settings, StrictChecking
from sftpfs.transport.ssh_config import match_patterns

CONFIRM_TRIES = 3
"""Times an answer that is neither yes nor no is asked again."""
VERSION = "sftpfs_as_OpenSSH"
"""Our software version. We put the arguments of SYMLINK in OpenSSH's order, which is not the draft's; servers
that know both go by this word."""


class Clock:
    """The time a connection may take; stands still while a person is asked."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout

    def remaining(self) -> float:
        """Seconds left."""
        when = self._timeout.when()
        return 3600.0 if when is None else max(0.0, when - asyncio.get_running_loop().time())

    async def outside(self, waiting: Awaitable[str | None]) -> str | None:
        """Await ``waiting`` without it counting."""
        left = self.remaining()
        self._timeout.reschedule(None)
        try:
            return await waiting
        finally:
            self._timeout.reschedule(asyncio.get_running_loop().time() + left)


@dataclass
class Attempt:
    """What goes on while one connection is made."""

    ask: Ask
    log: Log
    interactive: bool
    stage: str = "connecting"
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    """Proxy commands; ended with the worker."""

    def end_processes(self) -> None:
        """Kill what proxy commands are left. They were started with SIGTERM ignored, as this process is."""
        for process in self.processes:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


async def judge_unknown(judge: HostKeyJudge, attempt: Attempt) -> None:
    """Ask about the key nobody knows; returns where a person took it. Raises MountError."""
    key = judge.unknown
    assert key is not None
    judge.unknown = None
    if judge.settings.strict is StrictChecking.YES:
        cure = "StrictHostKeyChecking=yes refuses keys that are not in known_hosts"
        raise hostkeys.unknown_error(judge.display, key, cure)
    if attempt.interactive and not judge.settings.batch:
        text = hostkeys.question(judge.display, key)
        for _ in range(CONFIRM_TRIES):
            answer = await attempt.ask("CONFIRM", text, True, "", 0)
            decision = hostkeys.agrees(answer, key)
            if decision:
                judge.approve(key)
                return
            if answer is None:
                break
            if decision is False:
                raise hostkeys.unknown_error(judge.display, key, "not accepted")
            text = "Please type 'yes', 'no' or the fingerprint: "
    cure = "nobody can be asked; connect once with ssh, or use -o StrictHostKeyChecking=accept-new"
    raise hostkeys.unknown_error(judge.display, key, cure)


async def connect_hop(
    settings: Settings,
    tunnel: asyncssh.SSHClientConnection | None,
    attempt: Attempt,
    lost: Callable[[Exception | None], None],
) -> asyncssh.SSHClientConnection:
    """One authenticated connection, over TCP, a proxy command, or ``tunnel``. Raises MountError.

    An unknown host key is asked about between two connections, as it cannot be while
    keys are exchanged; the server's login timer does not run meanwhile.
    """
    judge = HostKeyJudge(settings, attempt.log)
    while True:
        authenticator = Authenticator(settings, attempt.ask, attempt.log)
        client = Client(authenticator, judge, attempt.log)
        try:
            connection = await _connect_once(settings, tunnel, attempt, client, judge)
            client.lost = lost
            return connection
        except asyncssh.HostKeyNotVerifiable as error:
            if judge.error is not None:
                raise judge.error from None
            if judge.unknown is None:
                message = f"host key of {settings} cannot be verified: {one_line(str(error))}"
                raise MountError(Failure.HOST_KEY_CHANGED, message) from None
        except (asyncssh.Error, OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise explain(error, settings, tunnel, attempt, authenticator) from None
        finally:
            await authenticator.close()
        await judge_unknown(judge, attempt)


async def _connect_once(
    settings: Settings,
    tunnel: asyncssh.SSHClientConnection | None,
    attempt: Attempt,
    client: Client,
    judge: HostKeyJudge,
) -> asyncssh.SSHClientConnection:
    check_algorithms(settings)
    sock: socket.socket | None = None
    attempt.stage = "connecting"
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
        else:
            sock = await open_tcp(settings)
        attempt.stage = "login"
    config = os.memfd_create("ssh_config", os.MFD_CLOEXEC)
    try:
        lines = [f"{name} {value}\n" for name, value in settings.algorithms.items()]
        os.write(config, "".join(lines).encode(errors="surrogateescape"))
        options: dict[str, Any] = {"sock": sock} if sock is not None else {"tunnel": tunnel}
        connection = await asyncssh.connect(
            settings.host,
            settings.port,
            config=[f"/proc/self/fd/{config}"],
            client_factory=lambda: client,
            **options,
            **_options(settings, judge),
        )
    except BaseException:
        if sock is not None:
            sock.close()
        raise
    finally:
        os.close(config)
    return connection


def _options(settings: Settings, judge: HostKeyJudge) -> dict[str, Any]:
    """asyncssh's connection options; what it would look up by itself is all given."""
    options: dict[str, Any] = {
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
    }
    if "HostKeyAlgorithms" not in settings.algorithms:
        options["server_host_key_algs"] = judge.algorithms()
    if settings.preferred:
        options["preferred_auth"] = list(settings.preferred)
    return options


def check_algorithms(settings: Settings) -> None:
    """Refuse a list of which nothing is supported here. Raises MountError(CONFIGURATION)."""
    supported = {
        "Ciphers": get_encryption_algs(),
        "MACs": get_mac_algs(),
        "KexAlgorithms": get_kex_algs(),
        "HostKeyAlgorithms": get_public_key_algs() + get_certificate_algs(),
    }
    for keyword, algorithms in supported.items():
        wanted = settings.algorithms.get(keyword, "+")
        names = [algorithm.decode() for algorithm in algorithms]
        if wanted[0] not in "+-^" and not any(match_patterns(wanted.split(","), name) for name in names):
            message = f"{keyword} '{wanted}': none of these is supported here"
            raise MountError(Failure.CONFIGURATION, message)


async def open_tcp(settings: Settings) -> socket.socket:
    """A connected TCP socket: every address of the host in turn. Raises MountError."""
    loop = asyncio.get_running_loop()
    try:
        addresses = await loop.getaddrinfo(
            settings.host, settings.port, family=settings.family, type=socket.SOCK_STREAM
        )
    except (socket.gaierror, UnicodeError) as error:
        raise name_failure(settings.host, error) from None
    failures: list[OSError] = []
    share = settings.connect_timeout / max(1, len(addresses))
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
        try:
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


async def open_proxy(settings: Settings, attempt: Attempt) -> socket.socket:
    """Start the ProxyCommand; its stdin and stdout are the socket's other end."""
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
    attempt.processes.append(process)
    return ours


async def proxy_words(attempt: Attempt) -> str:
    """What the proxy command that failed said last."""
    if not attempt.processes:
        return ""
    process = attempt.processes[-1]
    assert process.stderr is not None
    try:
        async with asyncio.timeout(1.0):
            text = await process.stderr.read(65536)
    except TimeoutError:
        return ""
    return one_line(text.decode(errors="replace").strip().rpartition("\n")[2])


def explain(
    error: Exception,
    settings: Settings,
    tunnel: asyncssh.SSHClientConnection | None,
    attempt: Attempt,
    authenticator: Authenticator,
) -> MountError:
    """The words for what asyncssh or the system raised."""
    text = one_line(str(error)) or type(error).__name__
    if isinstance(error, asyncssh.ChannelOpenError):
        message = f"the jump host cannot reach {settings}: {text}"
        return MountError(Failure.UNREACHABLE, message)
    if isinstance(error, asyncssh.PermissionDenied) or "authentication failures" in text:
        return authentication_failure(settings, attempt, authenticator, text)
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return MountError(Failure.PROTOCOL, f"{settings} and we share no algorithms: {text}")
    if isinstance(error, asyncssh.ProtocolNotSupported | asyncssh.ProtocolError):
        return MountError(Failure.PROTOCOL, f"what answers at {settings} does not speak SSH 2: {text}")
    if isinstance(error, asyncssh.ServiceNotAvailable):
        return MountError(Failure.PROTOCOL, f"{settings} refuses SSH service: {text}")
    if isinstance(error, asyncssh.Error | ConnectionError):
        where = f"{settings} through its jump host" if tunnel is not None else str(settings)
        return MountError(Failure.TRANSPORT, f"{where} closed the connection during login: {text}")
    if isinstance(error, ValueError):
        return MountError(Failure.CONFIGURATION, f"ssh options for {settings}: {text}")
    return MountError(Failure.TRANSPORT, f"cannot connect to {settings}: {text}")


def authentication_failure(
    settings: Settings, attempt: Attempt, authenticator: Authenticator, text: str
) -> MountError:
    """The words for a login refused: the methods tried, and what to do."""
    tried = ", ".join(authenticator.tried) or "none the server offers"
    untried = [method for method in authenticator.offered if method not in authenticator.tried]
    if untried:
        tried += f"; offered too: {', '.join(untried)}"
    if "Too many" in text:
        cure = "too many keys were offered; name the one to use: -o IdentityFile=FILE -o IdentitiesOnly=yes"
    elif authenticator.locked_files:
        cure = f"the key {authenticator.locked_files[0]} needs its passphrase; load it into ssh-agent"
    elif authenticator.unusable_files:
        cure = f"the key file {authenticator.unusable_files[0]}"
    elif settings.batch:
        cure = "BatchMode=yes asks for no password; load a key into ssh-agent or name one with IdentityFile"
    elif not attempt.interactive:
        cure = "nobody can be asked for a password; load a key into ssh-agent or name one with IdentityFile"
    else:
        cure = "check the user name, and that the server knows your key or password"
    message = f"{settings.user}@{settings} refuses to let us in (methods tried: {tried}): {cure}"
    return MountError(Failure.AUTHENTICATION, message)
