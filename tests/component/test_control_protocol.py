"""The control socket: what travels, who may ask, and what becomes of clients that misbehave."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from sftpfs import clock
from sftpfs.control import protocol, server, socket_location
from sftpfs.control.client import Client, OverdueError, RequestFailedError
from sftpfs.control.protocol import ControlError, Values
from sftpfs.control.server import ControlServer, Handler, Send
from sftpfs.errors import MountError
from sftpfs.host.mountpoint import MountedAt

LIMIT = 20.0
DEVICE = "0:7"
MOUNT = MountedAt(DEVICE, "/mnt/x", "fuse.sftpfs", "host:", 1, "/", os.geteuid())


# -- lines -----------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b""))), st.integers(1, 9))
def test_lines_come_out_however_they_are_cut(lines: list[bytes], step: int) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cutter, found = protocol.Lines(20), []
    for start in range(0, len(stream), step):
        found += cutter.feed(stream[start : start + step])
    assert found == lines


def test_a_line_without_an_end_is_not_kept() -> None:
    cutter = protocol.Lines(20)
    cutter.feed(b"x" * 20)
    with pytest.raises(ControlError):
        cutter.feed(b"x")


HOSTILE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 60_000,
    b'{"do": 1}',
    b'{"do": "echo", "with": []}',
    b'{"do": ["echo"]}',
    b'{"with": {}}',
    b"1" * 60_000,
]


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: repr(line[:20]))
def test_what_is_no_request_is_refused(line: bytes) -> None:
    with pytest.raises(ControlError):
        protocol.parse_request(line)


@pytest.mark.parametrize(
    "line", [*HOSTILE, b'{"failed": 1}', b'{"done": 3}'], ids=lambda line: repr(line[:20])
)
def test_what_is_no_reply_is_refused(line: bytes) -> None:
    with pytest.raises(ControlError):
        protocol.parse_reply(line)


def test_names_that_are_no_text_travel_unharmed() -> None:
    name = os.fsdecode(b"caf\xe9\xff")
    line = protocol.request_line("refresh", {"path": name})
    assert os.fsencode(protocol.parse_request(line).arguments["path"]) == b"caf\xe9\xff"


# -- server and client -----------------------------------------------------------------------


async def echo(arguments: Values, send: Send) -> Values:
    for number in range(arguments.get("times", 0)):
        await send({"number": number})
    if "errno" in arguments:
        raise OSError(arguments["errno"], "as asked")
    if "break" in arguments:
        raise ZeroDivisionError
    return {"text": arguments.get("text", "")}


@asynccontextmanager
async def serving(directory: Path, **handlers: Handler) -> AsyncIterator[str]:
    control = ControlServer({"echo": echo, **handlers})
    control.listen(str(directory), DEVICE)
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(control.run)
            try:
                yield str(directory / socket_location.socket_name(DEVICE))
            finally:
                control.close()
                nursery.cancel_scope.cancel()
    assert not os.listdir(directory)


def connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(LIMIT)
    connection.connect(path)
    return connection


def asked(path: str, name: str, **arguments: object) -> list[Values]:
    with Client(connected(path), MOUNT) as client:
        return list(client.stream(name, **arguments))


def answer_to(path: str, data: bytes) -> bytes:
    """Everything the server says to ``data``."""
    with connected(path) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while more := connection.recv(1 << 16):
            answer += more
        return answer


async def in_thread(work: Callable[[], object]) -> object:
    return await trio.to_thread.run_sync(work)


def test_the_socket_of_the_next_mount_with_the_number_stays(tmp_path: Path) -> None:
    """The kernel gives a number away at once, and the mount that had it may take long to end."""

    async def main() -> None:
        gone, slow = ControlServer({"echo": echo}), ControlServer({"echo": echo})
        async with trio.open_nursery() as nursery:
            for control in (gone, slow):
                control.listen(str(tmp_path), DEVICE)
                nursery.start_soon(control.run)
            gone.withdraw()
            assert os.listdir(tmp_path), "not that of its successor"
            async with serving(tmp_path) as path:
                for control in (gone, slow):
                    control.withdraw()
                    control.close()
                    assert await in_thread(partial(asked, path, "echo", text="here")) == [{"text": "here"}]

    trio.run(main)


def test_who_asked_before_the_socket_was_withdrawn_is_answered(tmp_path: Path) -> None:
    async def main() -> None:
        control = ControlServer({"echo": echo})
        control.listen(str(tmp_path), DEVICE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(control.run)
            with Client(connected(str(tmp_path / socket_location.socket_name(DEVICE))), MOUNT) as client:
                control.withdraw()
                assert not os.listdir(tmp_path)
                assert await in_thread(partial(client.ask, "echo", text="here")) == {"text": "here"}
            control.close()

    trio.run(main)


def test_progress_comes_before_the_result(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as path:
            found = await in_thread(partial(asked, path, "echo", times=3, text="ä\udcff"))
            assert found == [{"number": 0}, {"number": 1}, {"number": 2}, {"text": "ä\udcff"}]

    trio.run(main)


def test_failures_reach_the_client_in_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(tmp_path) as path:
            with pytest.raises(RequestFailedError, match="as asked") as caught:
                await in_thread(partial(asked, path, "echo", errno=5))
            assert caught.value.errno == 5
            with pytest.raises(RequestFailedError, match="no request 'dance'"):
                await in_thread(partial(asked, path, "dance"))
            with pytest.raises(RequestFailedError, match="internal error"):
                await in_thread(partial(asked, path, "echo", **{"break": 1}))
            assert "ZeroDivisionError" in caplog.text
            caplog.clear()

    trio.run(main)


def test_hostile_clients_disturb_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as path:
            for line in HOSTILE:
                said = await in_thread(partial(answer_to, path, line + b"\n"))
                assert isinstance(said, bytes) and "failed" in json.loads(said), line[:20]
            endless = await in_thread(partial(answer_to, path, b"x" * (protocol.MAX_REQUEST + 1)))
            assert isinstance(endless, bytes) and b"a line of more than" in endless
            assert await in_thread(partial(answer_to, path, b'{"do": "echo"')) == b""
            assert await in_thread(partial(asked, path, "echo")) == [{"text": ""}]

    trio.run(main)


def test_progress_does_not_prolong_for_ever(tmp_path: Path) -> None:
    """Another user's mount that always has something to tell is waited for until an end all the same."""

    async def chatter(arguments: Values, send: Send) -> Values:
        while True:
            await send({"files": 1})
            await trio.sleep(0.01)

    def listen(path: str) -> int:
        lines = 0
        overdue = pytest.raises(
            OverdueError, match=f"process {os.getpid()} of user .* not waiting for it any longer"
        )
        with Client(connected(path), MOUNT, end=clock.awake() + 0.5) as client, overdue:
            for _ in client.stream("chatter"):
                lines += 1
        return lines

    async def main() -> None:
        async with serving(tmp_path, chatter=chatter) as path:
            assert await in_thread(partial(listen, path))

    trio.run(main)


def test_an_answer_of_another_version_is_told_from_one(tmp_path: Path) -> None:
    async def old(arguments: Values, send: Send) -> Values:
        return {"version": "0.0.1", "pid": 1}

    async def main() -> None:
        async with serving(tmp_path, status=old) as path:
            with pytest.raises(MountError, match=r"sent an answer to status that cannot be read.*made anew"):
                await in_thread(partial(asked, path, "status"))

    trio.run(main)


def test_a_client_that_goes_withdraws_its_request(tmp_path: Path) -> None:
    async def main() -> None:
        withdrawn = trio.Event()

        async def wait_for_ever(arguments: Values, send: Send) -> Values:
            try:
                await send({})
                await trio.sleep_forever()
            finally:
                withdrawn.set()
            return {}

        async with serving(tmp_path, wait=wait_for_ever) as path:
            with Client(connected(path), MOUNT) as client:
                replies = client.stream("wait")
                assert await in_thread(partial(next, replies)) == {}
                assert not withdrawn.is_set()
            await withdrawn.wait()

    trio.run(main)


def test_more_clients_than_served_are_turned_away(tmp_path: Path) -> None:
    async def main() -> None:
        async def wait_for_ever(arguments: Values, send: Send) -> Values:
            await send({})
            await trio.sleep_forever()
            return {}

        async with serving(tmp_path, wait=wait_for_ever) as path:
            clients = [Client(connected(path), MOUNT) for _ in range(server.MOST_CLIENTS)]
            for client in clients:
                await in_thread(partial(next, client.stream("wait")))
            with pytest.raises(MountError, match="ended meanwhile"):
                await in_thread(partial(asked, path, "echo"))
            for client in clients:
                client.__exit__(None, None, None)

    trio.run(main)


ASK_AS_ANOTHER = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(20)
connection.connect(sys.argv[1])
try:
    connection.sendall(b'{"do": "echo"}\\n')
    print(connection.recv(100))
except ConnectionError:
    print(b"")
"""


def test_another_user_is_not_answered() -> None:
    directory = Path("/tmp") / f"control-{os.getpid()}"
    directory.mkdir(0o755)
    script = directory.with_name(directory.name + ".py")
    script.write_text(ASK_AS_ANOTHER)

    def ask(path: str, *prefix: str) -> str:
        done = subprocess.run(
            [*prefix, "/usr/bin/env", "python3", str(script), path],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=True,
            stdin=subprocess.DEVNULL,
            cwd="/",
        )
        return done.stdout.strip()

    async def main() -> None:
        async with serving(directory) as path:
            os.chmod(path, 0o777)
            other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]
            assert await in_thread(partial(ask, path)) == 'b\'{"done":{"text":""}}\\n\''
            assert await in_thread(partial(ask, path, *other)) == "b''"

    try:
        trio.run(main)
    finally:
        script.unlink()
        directory.rmdir()


# -- where it is -----------------------------------------------------------------------------


def test_only_a_private_directory_will_do(tmp_path: Path) -> None:
    good, open_to_all, link = tmp_path / "good", tmp_path / "open", tmp_path / "link"
    good.mkdir(0o700)
    open_to_all.mkdir(0o755)
    link.symlink_to(good)
    uid = os.geteuid()
    assert socket_location.is_private(str(good), uid)
    assert not socket_location.is_private(str(good), uid + 1)
    assert not socket_location.is_private(str(open_to_all), uid)
    assert not socket_location.is_private(str(link), uid)
    assert not socket_location.is_private(str(tmp_path / "none"), uid)


def test_a_directory_that_is_another_users_is_passed_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, fallback = tmp_path / "taken", tmp_path / "fallback"
    taken.mkdir(0o777)
    places = [str(tmp_path / ("long" * 30)), str(tmp_path / "no" / "parent"), str(taken), str(fallback)]
    monkeypatch.setattr(socket_location, "directories", lambda uid: places)
    assert socket_location.make_directory() == str(fallback)
    assert socket_location.is_private(str(fallback), os.geteuid())
    monkeypatch.setattr(socket_location, "directories", lambda uid: places[:3])
    with pytest.raises(PermissionError):
        socket_location.make_directory()


def test_users_have_directories_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/elsewhere")
    assert socket_location.directories(0) == ["/run/sftpfs", "/tmp/sftpfs-0"]
    assert socket_location.directories(1234) == ["/run/user/1234/sftpfs", "/tmp/sftpfs-1234"]
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert socket_location.directories(1234)[0] == "/run/elsewhere/sftpfs"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert socket_location.directories(1234)[0] == "/run/user/1234/sftpfs"
