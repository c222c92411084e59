"""What the transport tests share: a scripted person, a connector with its end, a few SFTP bytes."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import trio

from sftpfs.aio import ByteStream
from sftpfs.config import Endpoint, TransportConfig
from sftpfs.errors import Failure, MountError
from sftpfs.transport.api import Connector, Prompter, PromptKind, Transport
from sftpfs.transport.connector import make_connector
from tests.harness.waiting import eventually
from tests.sshd import Sshd, descendants, generate_key

LIMIT = 15.0
INIT = struct.pack(">IBI", 5, 1, 3)


class Script:
    """A prompter that gives ``answers`` in order; an answer is text, or what makes it of the question."""

    def __init__(self, *answers: str | Callable[[str], str] | None) -> None:
        self.available = True
        self.asked: list[tuple[PromptKind, str, bool]] = []
        self._answers = list(answers)

    async def ask(self, kind: PromptKind, text: str, echo: bool) -> str | None:
        """The next answer."""
        await trio.lowlevel.checkpoint()
        self.asked.append((kind, text, echo))
        assert self._answers, f"unexpected question: {text}"
        answer = self._answers.pop(0)
        return answer(text) if callable(answer) else answer

    @property
    def unused(self) -> int:
        """Answers nobody asked for."""
        return len(self._answers)


class Nobody(Script):
    """Nobody to ask."""

    def __init__(self) -> None:
        super().__init__()
        self.available = False


def run(function: Callable[[], Awaitable[None]], *servers: Sshd) -> None:
    """Run under trio, within a limit; no child process may be left but those of ``servers``."""

    async def limited() -> None:
        with trio.fail_after(LIMIT):
            await function()

    before = set(descendants(os.getpid()))
    trio.run(limited)

    def left() -> list[bytes]:
        ours = before.union(*(server.pids() for server in servers))
        started = [pid for pid in descendants(os.getpid()) if pid not in ours and alive(pid)]
        return [command_line(pid) for pid in started]

    # A process told to end may need a moment more than the connector that told it.
    eventually(lambda: not left(), what="every process that was started is gone")


def command_line(pid: int) -> bytes:
    """The process's argv joined by NULs; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def alive(pid: int) -> bool:
    """True while the process exists and is not a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


async def gone(pids: Sequence[int]) -> None:
    """Wait until all of ``pids`` are gone (the caller's limit holds)."""
    while any(alive(pid) for pid in pids):  # noqa: ASYNC110 - they are not our children
        await trio.sleep(0.01)


@asynccontextmanager
async def connector(
    config: TransportConfig, endpoint: Endpoint, prompter: Prompter | None = None
) -> AsyncIterator[Connector]:
    """A connector, ended afterwards."""
    async with trio.open_nursery() as nursery:
        made = make_connector(config, endpoint, prompter or Nobody(), nursery)
        try:
            yield made
        finally:
            await made.aclose()
            nursery.cancel_scope.cancel()


def options(
    server: Sshd, *extra: tuple[str, str], without: Sequence[str] = ()
) -> tuple[tuple[str, str], ...]:
    """``server``'s options, ``extra`` ones in front, those named left out."""
    dropped = {name.lower() for name, _ in extra} | {name.lower() for name in without}
    return (*extra, *(pair for pair in server.ssh_options() if pair[0].lower() not in dropped))


def configure(
    server: Sshd, *extra: tuple[str, str], without: Sequence[str] = (), **fields: object
) -> TransportConfig:
    """A configuration that gets into ``server`` unless ``extra`` keeps it out."""
    fields.setdefault("ssh_config_file", "none")
    return TransportConfig(ssh_options=options(server, *extra, without=without), **fields)  # type: ignore[arg-type]


def endpoint_of(server: Sshd) -> Endpoint:
    """Where ``server`` is."""
    return Endpoint(server.host, port=server.port)


async def send(stream: ByteStream, data: bytes) -> None:
    """Write all of ``data``."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(stream.write_fd, view) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(stream.write_fd)


async def receive(stream: ByteStream, count: int) -> bytes:
    """Read ``count`` bytes, fewer only at end of file, or where the transport ended and closed the stream."""
    data = bytearray()
    while len(data) < count and not stream.closed:
        try:
            chunk = os.read(stream.read_fd, count - len(data))
        except BlockingIOError:
            with suppress(trio.ClosedResourceError):
                await trio.lowlevel.wait_readable(stream.read_fd)
            continue
        if not chunk:
            break
        data += chunk
    return bytes(data)


async def packet(stream: ByteStream) -> bytes:
    """One SFTP packet without its length; b"" at end of file."""
    head = await receive(stream, 4)
    return await receive(stream, int.from_bytes(head, "big")) if len(head) == 4 else b""


async def handshake(stream: ByteStream) -> None:
    """INIT out, VERSION 3 back: an SFTP server is at the other end."""
    await send(stream, INIT)
    reply = await packet(stream)
    assert reply[:5] == b"\x02\x00\x00\x00\x03", reply


def says_once(message: str) -> bool:
    """True where ``message`` is one line a person can read."""
    return "\n" not in message and bool(re.search(r"\w", message)) and "Traceback" not in message


async def handshake_of(transport: Transport) -> None:
    """The transport's channel leads to an SFTP server."""
    stream = await transport.open_channel()
    await handshake(stream)
    stream.close()


def failure_of(config: TransportConfig, endpoint: Endpoint, script: Script | None = None) -> MountError:
    """The error connecting ends with."""
    found: list[MountError] = []

    async def check() -> None:
        async with connector(config, endpoint, script) as made:
            try:
                await made.connect(interactive=script is not None)
            except MountError as error:
                found.append(error)

    run(check)
    assert found, "it connected"
    assert says_once(found[0].message), found[0].message
    return found[0]


def success_of(config: TransportConfig, endpoint: Endpoint, script: Script | None = None) -> None:
    """Connecting works, as far as SFTP."""

    async def check() -> None:
        async with connector(config, endpoint, script) as made:
            await handshake_of(await made.connect(interactive=script is not None))

    run(check)


def ssh_beside(server: Sshd, config: TransportConfig) -> subprocess.CompletedProcess[str]:
    """OpenSSH's client with the same options, asked nothing; to stand beside ours. 0, or 255 where it is not
    let in."""
    command = ["ssh", "-F", "none", "-p", str(server.port), "-oBatchMode=yes"]
    command += [f"-o{name}={value}" for name, value in config.ssh_options]
    done = subprocess.run(
        [*command, server.host, "true"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode in (0, 255), done.stderr
    return done


def ssh_lets_in(server: Sshd, config: TransportConfig) -> bool:
    """Whether OpenSSH's client logs in with the same options."""
    return ssh_beside(server, config).returncode == 0


def both_let_in(server: Sshd, config: TransportConfig) -> None:
    """Ours gets in, and so does ssh."""
    assert ssh_lets_in(server, config), "ssh is refused"
    success_of(config, endpoint_of(server))


def both_refuse(server: Sshd, config: TransportConfig, failure: Failure) -> str:
    """Ours refuses, as does ssh; the words."""
    assert not ssh_lets_in(server, config), "ssh gets in"
    error = failure_of(config, endpoint_of(server))
    assert error.failure is failure, error.message
    return error.message


@contextmanager
def peer(directory: Path, mode: str, *arguments: str, host_key: str = "ed25519") -> Iterator[TransportConfig]:
    """An asyncssh server; the configuration to reach it, its port among the options."""
    key = generate_key(directory / f"peer_{mode}", host_key)
    script = Path(__file__).parent / "peer_server.py"
    process = subprocess.Popen(
        [sys.executable, str(script), str(key), mode, *(["0", *arguments] if arguments else [])],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the peer did not start"
        hosts = directory / f"hosts_{mode}"
        hosts.write_text(f"[127.0.0.1]:{port} {key.with_suffix('.pub').read_text()}")
        yield TransportConfig(
            ssh_config_file="none",
            ssh_options=(
                ("Port", port),
                ("UserKnownHostsFile", str(hosts)),
                ("IdentityFile", "none"),
                ("IdentityAgent", "none"),
            ),
        )
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
