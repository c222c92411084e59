"""Transports other than asyncssh: a command, plain sockets, stdin and stdout; and the terminal."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from sftpfs.config import Endpoint, TransportConfig, TransportKind
from sftpfs.errors import Failure, MountError
from sftpfs.transport.api import PromptKind
from sftpfs.transport.prompter import AskpassPrompter, NoPrompter, TerminalPrompter, make_prompter
from tests.sshd import SFTP_SERVER, Sshd, free_port
from tests.transport_helpers import (
    configure,
    connector,
    endpoint_of,
    gone,
    handshake,
    handshake_of,
    packet,
    run,
    says_once,
)

COMMAND = TransportKind.COMMAND


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


# --- command


FOR_PEOPLE = """RemoteCommand date
RequestTTY force
StdinNull yes
SessionType {kind}
ForkAfterAuthentication yes
"""


@pytest.mark.parametrize(("sftp_server", "kind"), [("sftp", "default"), (SFTP_SERVER, "none")])
def test_what_a_configuration_has_for_peoples_logins_does_not_take_the_stream(
    server: Sshd, tmp_path: Path, sftp_server: str, kind: str
) -> None:
    """A program, not a subsystem, is what SessionType would be heeded for."""
    file = tmp_path / "config"
    file.write_text(FOR_PEOPLE.format(kind=kind))

    async def check() -> None:
        config = configure(
            server, kind=COMMAND, ssh_command=("ssh",), ssh_config_file=str(file), sftp_server=sftp_server
        )
        async with connector(config, endpoint_of(server)) as made:
            transport = await made.connect(interactive=False)
            await handshake(await transport.open_channel())
            transport.close()

    run(check)


def test_opensshs_client_brings_the_stream(server: Sshd) -> None:
    async def check() -> None:
        config = configure(server, kind=COMMAND, ssh_command=("ssh",))
        async with connector(config, endpoint_of(server)) as made:
            transport = await made.connect(interactive=False)
            stream = await transport.open_channel()
            await handshake(stream)
            with pytest.raises(MountError) as caught:
                await transport.open_channel()
            assert caught.value.failure is Failure.TRANSPORT
            pid: int = transport.process.pid  # type: ignore[attr-defined]
            transport.close()
            await gone([pid])
            by_path = configure(server, kind=COMMAND, ssh_command=("ssh",), sftp_server=SFTP_SERVER)
        async with connector(by_path, endpoint_of(server)) as made:
            await handshake_of(await made.connect(interactive=False))

    run(check)


def test_a_command_that_ends_first_is_quoted(server: Sshd) -> None:
    async def check() -> None:
        config = configure(server, kind=COMMAND, ssh_command=("ssh",))
        nowhere = Endpoint("127.0.0.1", port=free_port())
        async with connector(config, nowhere) as made:
            transport = await made.connect(interactive=False)
            stream = await transport.open_channel()
            assert await packet(stream) == b""
            await transport.closed.wait()
            assert "status 255" in transport.reason and "refused" in transport.reason.lower()
            assert says_once(transport.reason)
            stream.close()

    run(check)


def test_a_command_killed_closes_its_transport(server: Sshd) -> None:
    async def check() -> None:
        config = configure(server, kind=COMMAND, ssh_command=("ssh",))
        async with connector(config, endpoint_of(server)) as made:
            transport = await made.connect(interactive=False)
            os.kill(transport.process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
            await transport.closed.wait()
            assert "SIGKILL" in transport.reason

    run(check)


def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    async def check() -> None:
        config = TransportConfig(kind=COMMAND, ssh_command=(str(tmp_path / "no-ssh"),))
        async with connector(config, Endpoint("host")) as made:
            with pytest.raises(MountError) as caught:
                await made.connect(interactive=False)
        assert caught.value.failure is Failure.CONFIGURATION and "no-ssh" in caught.value.message

    run(check)


# --- sockets


@contextmanager
def socat(address: str, *, ready: Path | int) -> Iterator[None]:
    """sftp-server behind a socket."""
    process = subprocess.Popen(["socat", f"{address},fork", f"EXEC:{SFTP_SERVER}"])
    try:
        for _ in range(1000):
            try:
                if isinstance(ready, int):
                    socket.create_connection(("127.0.0.1", ready), 1).close()
                else:
                    with socket.socket(socket.AF_UNIX) as probe:
                        probe.connect(str(ready))
                break
            except OSError:
                assert process.poll() is None
                process_wait(process)
        yield
    finally:
        process.kill()
        process.wait()


def process_wait(process: subprocess.Popen[bytes]) -> None:
    """Give it a moment."""
    try:
        process.wait(0.01)
    except subprocess.TimeoutExpired:
        pass


def test_a_unix_socket_and_a_tcp_port_bring_the_stream(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    port = free_port()
    unix = TransportConfig(kind=TransportKind.UNIX, unix_path=str(path))
    tcp = TransportConfig(kind=TransportKind.TCP, direct_port=port)

    async def check() -> None:
        for config in (unix, tcp):
            async with connector(config, Endpoint("127.0.0.1")) as made:
                one = await made.connect(interactive=False)
                two = await made.connect(interactive=False)
                await handshake_of(one)
                await handshake_of(two)
                with pytest.raises(MountError):
                    await one.open_channel()
                one.close()
                two.close()

    listen = f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr"
    with socat(f"UNIX-LISTEN:{path}", ready=path), socat(listen, ready=port):
        run(check)


@pytest.mark.parametrize(
    ("config", "host", "failure"),
    [
        (TransportConfig(kind=TransportKind.TCP, direct_port=1), "127.0.0.1", Failure.REFUSED),
        (TransportConfig(kind=TransportKind.TCP, direct_port=1), "none.invalid", Failure.NAME_NOT_FOUND),
        (TransportConfig(kind=TransportKind.UNIX, unix_path="/nonexistent/s"), "h", Failure.NAME_NOT_FOUND),
    ],
)
def test_sockets_have_their_own_words(config: TransportConfig, host: str, failure: Failure) -> None:
    async def check() -> None:
        async with connector(config, Endpoint(host)) as made:
            with pytest.raises(MountError) as caught:
                await made.connect(interactive=False)
        assert caught.value.failure is failure and says_once(caught.value.message)

    run(check)


def test_a_socket_nobody_accepts_on_times_out(tmp_path: Path) -> None:
    path = tmp_path / "full"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(str(path))
        config = TransportConfig(kind=TransportKind.UNIX, unix_path=str(path), connect_timeout=0.5)

        async def check() -> None:
            async with connector(config, Endpoint("h")) as made:
                with pytest.raises(MountError) as caught:
                    await made.connect(interactive=False)
            assert caught.value.failure is Failure.TIMED_OUT

        try:
            run(check)
        finally:
            for one in waiting:
                one.close()


PASSIVE = """
import sys, trio
from sftpfs.config import Endpoint, TransportConfig, TransportKind
from sftpfs.errors import MountError
from sftpfs.transport.connector import make_connector
from sftpfs.transport.prompter import NoPrompter
from tests.transport_helpers import handshake_of

async def main():
    async with trio.open_nursery() as nursery:
        config = TransportConfig(kind=TransportKind.PASSIVE)
        made = make_connector(config, Endpoint("h"), NoPrompter(), nursery)
        assert made.single
        await handshake_of(await made.connect(interactive=False))
        try:
            await made.connect(interactive=False)
        except MountError:
            print("once", file=sys.stderr)

trio.run(main)
"""


def test_stdin_and_stdout_are_one_session() -> None:
    ours, theirs = socket.socketpair()
    root = str(Path(__file__).parents[3])
    with ours, theirs:
        far = subprocess.Popen([SFTP_SERVER], stdin=theirs.fileno(), stdout=theirs.fileno())
        done = subprocess.run(
            [sys.executable, "-c", PASSIVE],
            stdin=ours.fileno(),
            stdout=ours.fileno(),
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": root},
            timeout=30,
        )
    far.wait(10)
    assert done.returncode == 0 and done.stderr == b"once\n", done.stderr


# --- the terminal


@contextmanager
def terminal() -> Iterator[tuple[int, int, str]]:
    """A pseudo terminal: our end, its end, its name."""
    master, slave = pty.openpty()
    try:
        yield master, slave, os.ttyname(slave)
    finally:
        os.close(master)
        os.close(slave)


def echoes(fd: int) -> bool:
    return bool(termios.tcgetattr(fd)[3] & termios.ECHO)


async def shown(master: int, wanted: bytes) -> bytes:
    """What is shown until ``wanted``."""
    text = b""
    while wanted not in text:
        await trio.lowlevel.wait_readable(master)
        text += os.read(master, 4096)
    return text


def test_a_secret_is_not_echoed_and_the_terminal_is_put_back() -> None:
    async def check() -> None:
        with terminal() as (master, slave, name):
            prompter = TerminalPrompter(name)
            assert prompter.available

            async def person() -> None:
                await shown(master, b"secret? ")
                assert not echoes(slave)
                os.write(master, b"hush\n")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(person)
                assert await prompter.ask(PromptKind.PASSWORD, "secret? ", False) == "hush"
            assert echoes(slave)
            assert b"hush" not in await shown(master, b"\n")

    run(check)


def test_a_question_given_up_puts_the_terminal_back_before_anything_else() -> None:
    async def check() -> None:
        with terminal() as (master, slave, name):
            prompter = TerminalPrompter(name)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(prompter.ask, PromptKind.PASSWORD, "secret? ", False)
                await shown(master, b"secret? ")
                assert not echoes(slave)
                nursery.cancel_scope.cancel()
            assert echoes(slave)

    run(check)


def test_after_detaching_nobody_is_asked() -> None:
    async def check() -> None:
        with terminal() as (_, _, name):
            prompter = TerminalPrompter(name)
            prompter.detach()
            assert not prompter.available
            assert await prompter.ask(PromptKind.CONFIRM, "yes?", True) is None
        assert not TerminalPrompter("/nonexistent/tty").available
        assert await TerminalPrompter("/nonexistent/tty").ask(PromptKind.CONFIRM, "yes?", True) is None
        assert not NoPrompter().available
        assert await NoPrompter().ask(PromptKind.CONFIRM, "yes?", True) is None

    run(check)


def askpass(path: Path, body: str) -> str:
    """An askpass program."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_an_askpass_program_is_shown_the_question_and_its_line_is_the_answer(tmp_path: Path) -> None:
    shows = askpass(tmp_path / "shows", 'printf "%s, of course\\nmore\\n" "$1"')
    closed = askpass(tmp_path / "closed", "echo half; exit 1")

    async def check() -> None:
        prompter = AskpassPrompter(shows)
        assert prompter.available
        assert await prompter.ask(PromptKind.PASSPHRASE, "a b; c", False) == "a b; c, of course"
        assert await AskpassPrompter(closed).ask(PromptKind.PASSPHRASE, "secret? ", False) is None
        missing = AskpassPrompter(str(tmp_path / "missing"))
        assert not missing.available
        assert await missing.ask(PromptKind.PASSPHRASE, "secret? ", False) is None
        prompter.detach()
        assert not prompter.available
        assert await prompter.ask(PromptKind.PASSPHRASE, "secret? ", False) is None

    run(check)


def test_an_askpass_program_ends_with_the_question(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "begun")
    waits = askpass(tmp_path / "waits", f"echo > {tmp_path}/begun; exec sleep 600")

    async def check() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(AskpassPrompter(waits).ask, PromptKind.PASSWORD, "secret? ", False)
            await trio.to_thread.run_sync((tmp_path / "begun").read_bytes)
            nursery.cancel_scope.cancel()

    run(check)


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({"SSH_ASKPASS": "/bin/ask"}, TerminalPrompter),
        ({"SSH_ASKPASS_REQUIRE": "force"}, AskpassPrompter),
        ({"SSH_ASKPASS_REQUIRE": "prefer"}, TerminalPrompter),
        ({"SSH_ASKPASS_REQUIRE": "prefer", "DISPLAY": ":0"}, AskpassPrompter),
        ({"SSH_ASKPASS_REQUIRE": "never", "WAYLAND_DISPLAY": "wayland-0"}, TerminalPrompter),
    ],
)
def test_who_asks(environment: dict[str, str], kind: type) -> None:
    assert type(make_prompter(environment)) is kind
