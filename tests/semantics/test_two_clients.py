"""The worked examples of SEMANTICS.md: two clients, no options."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.harness.kernel import opened
from tests.harness.waiting import eventually
from tests.semantics.conftest import Clients
from tests.semantics.statements import states

ABSENCE_LIMIT = 10.0
"""Seconds: the two of the lease, and a slow machine."""


@states("E1", "The next `open` on A reads B's content.")
def test_close_to_open(clients: Clients) -> None:
    (clients.server / "notes.txt").write_text("first")
    assert (clients.a / "notes.txt").read_text() == "first"
    (clients.b / "notes.txt").write_text("second")
    assert (clients.a / "notes.txt").read_text() == "second"
    (clients.b / "notes.txt").write_text("THIRD!")
    assert (clients.a / "notes.txt").read_text() == "THIRD!"


@states("E2", "A finds the new name within two seconds or so, without doing anything")
def test_a_name_that_was_missing(clients: Clients) -> None:
    assert not os.path.exists(clients.a / "done")
    (clients.b / "done").touch()
    eventually(lambda: os.path.exists(clients.a / "done"), ABSENCE_LIMIT)


@states("C7", "sftpfs believes for two seconds at first that a name does not exist.")
def test_absence_is_believed_for_a_while_and_no_longer(clients: Clients) -> None:
    for number in range(3):
        assert not os.path.exists(clients.a / f"n{number}")
    (clients.server / "n1").touch()
    eventually(lambda: os.path.exists(clients.a / "n1"), ABSENCE_LIMIT)
    assert not os.path.exists(clients.a / "n2")


APPENDER = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for number in range(100):
    os.write(fd, b"%s %03d\\n" % (sys.argv[2].encode(), number))
    if number % 10 == 9:
        os.fsync(fd)
os.close(fd)
"""


@states("E3", "Lines appended by two clients with `O_APPEND` are all there, none over another")
def test_two_appenders(clients: Clients) -> None:
    (clients.server / "log").touch()
    started = [
        subprocess.Popen([sys.executable, "-c", APPENDER, directory / "log", name])
        for directory, name in ((clients.a, "a"), (clients.b, "b"))
    ]
    assert [process.wait(60) for process in started] == [0, 0]
    lines = (clients.server / "log").read_text().splitlines()
    assert sorted(lines) == sorted(f"{name} {number:03}" for name in "ab" for number in range(100))


@states(
    "E6",
    "A program on A that opens the log meanwhile reads it as the server has it, with A's own lines in their "
    "places",
)
def test_a_log_to_which_both_append_is_read_as_it_is(clients: Clients) -> None:
    (clients.server / "log").write_text("begin\n")
    with (
        opened(clients.a / "log", os.O_WRONLY | os.O_APPEND) as ours,
        opened(clients.a / "log", os.O_RDWR | os.O_APPEND) as other,
        opened(clients.server / "log", os.O_WRONLY | os.O_APPEND) as theirs,
    ):
        for number in range(40):
            os.write(ours if number % 10 else other, b"here %03d\n" % number)
            os.write(theirs, b"and there %03d\n" % number)
            if number % 4 == 3:
                shown = (clients.a / "log").read_text()
                assert shown == (clients.server / "log").read_text()
                assert all(f"{who} {number:03}\n" in shown for who in ("here", "there"))
        os.fsync(ours)


@states(
    "C10",
    "An `open` of a file that a program here never stops writing sees what others changed as well.",
)
def test_an_open_beside_a_writer_sees_what_others_changed(clients: Clients) -> None:
    data = bytearray(os.urandom(300_000))
    (clients.server / "database").write_bytes(data)
    with (
        opened(clients.a / "database", os.O_RDWR) as ours,
        opened(clients.server / "database", os.O_RDWR) as theirs,
    ):
        for number in range(20):
            os.pwrite(ours, b"%d" % (number % 10), number)
            data[number : number + 1] = b"%d" % (number % 10)
            piece = os.urandom(1000)
            os.pwrite(theirs, piece, 100_000 + 5000 * number)
            data[100_000 + 5000 * number : 101_000 + 5000 * number] = piece
            if number % 5 == 4:
                os.ftruncate(theirs, len(data) + 1000)
                data += bytes(1000)
            assert (clients.a / "database").read_bytes() == data


@states("E4", "The open handle goes on reading the old file, and the next `open` gets the new one")
def test_a_file_replaced_while_it_is_read(clients: Clients) -> None:
    (clients.server / "config").write_text("old " * 50_000)
    with open(clients.a / "config") as reading:
        assert reading.read(4) == "old "
        (clients.b / "config.new").write_text("new")
        os.rename(clients.b / "config.new", clients.b / "config")
        assert (clients.a / "config").read_text() == "new"
        assert reading.read() == "old " * 49_999
        assert os.fstat(reading.fileno()).st_ino != os.stat(clients.a / "config").st_ino


def claims(path: Path) -> bool:
    """One more try to be the one that has the lock."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True


@states("E5", "Exactly one of two clients that create a name with `O_EXCL` succeeds")
def test_exclusive_creates_of_two_clients(clients: Clients) -> None:
    with ThreadPoolExecutor(2) as pool:
        for number in range(20):
            name = f"lock{number}"
            tries = [pool.submit(claims, directory / name) for directory in (clients.a, clients.b)]
            assert sorted(attempt.result(30) for attempt in tries) == [False, True]


@states("D6", "Data that nobody closes or syncs is sent within two seconds or so.")
def test_data_nobody_syncs_arrives(clients: Clients) -> None:
    with opened(clients.a / "f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"some bytes")
        eventually(lambda: (clients.server / "f").read_bytes() == b"some bytes", 10)


@states("K2", "Nobody else sees them: not the server, and not another client.")
def test_locks_stay_on_their_client(clients: Clients) -> None:
    for directory in (clients.a, clients.b, clients.server):
        (directory / "lock").touch()
    command = ["flock", "--exclusive", "--nonblock"]
    inner = [*command, clients.b / "lock", *command, clients.server / "lock", "true"]
    subprocess.run([*command, clients.a / "lock", *inner], check=True, timeout=30)
