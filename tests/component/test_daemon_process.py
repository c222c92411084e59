"""The command's process and the mount's: real forks, real signals, a real pipe."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sftpfs.errors import Failure
from tests.harness.processes import alive, wait_gone
from tests.harness.waiting import eventually

REPOSITORY = Path(__file__).resolve().parents[2]

PROGRAM = """
import os, signal, sys, time
from sftpfs.errors import Failure, MountError
from sftpfs.host.daemon import run_as_daemon
directory = sys.argv[1]

def note(name, text=""):
    with open(os.path.join(directory, name + ".new"), "w") as file:
        file.write(text)
    os.rename(os.path.join(directory, name + ".new"), os.path.join(directory, name))

def serve(ready):
    note("pid", str(os.getpid()))
    {body}

sys.exit(run_as_daemon(serve, clean_up=lambda: note("cleaned")))
"""


class Command:
    """One run of PROGRAM, its ``serve`` having ``body``."""

    def __init__(self, directory: Path, body: str) -> None:
        self.directory = directory
        code = PROGRAM.replace("{body}", body.replace("\n", "\n    "))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(directory)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def child(self) -> int:
        """The pid of the forked process, once it runs."""
        return int(eventually(lambda: self.read("pid"), what="the child's pid"))

    def read(self, name: str) -> str:
        path = self.directory / name
        return path.read_text() if path.exists() else ""

    def finish(self) -> tuple[int, str]:
        """(exit status, stderr)."""
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors

    def end(self) -> None:
        for pid in (self.process.pid, int(self.read("pid") or 0)):
            if pid and alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate(timeout=30)


MakeCommand = Callable[[str], Command]


@pytest.fixture
def command(tmp_path: Path) -> Iterator[MakeCommand]:
    made: list[Command] = []

    def make(body: str) -> Command:
        made.append(Command(tmp_path, body))
        return made[-1]

    yield make
    for each in made:
        each.end()


WAIT_FOR_SIGNAL = "signal.sigwait({signal.SIGTERM})"


def test_ready_lets_the_command_return_and_the_child_leave(command: MakeCommand, tmp_path: Path) -> None:
    body = (
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "ready()\n"
        "print('nobody sees this', file=sys.stderr)\n"
        "note('where', os.getcwd() + ' ' + str(os.getsid(0)) + ' ' + os.readlink('/proc/self/fd/0'))\n"
        f"{WAIT_FOR_SIGNAL}\n"
        "return 0"
    )
    run = command(body)
    assert run.finish() == (0, "")
    child = run.child()
    assert eventually(lambda: run.read("where")) == f"/ {child} /dev/null"
    os.kill(child, signal.SIGTERM)
    assert not wait_gone([child], 10)
    assert run.read("cleaned") == ""


def test_a_failure_is_told_once_and_is_the_exit_status(command: MakeCommand) -> None:
    run = command("raise MountError(Failure.REFUSED, 'host refused\\nus')")
    assert run.finish() == (Failure.REFUSED.value, "sftpfs: host refused\\nus\n")
    assert not wait_gone([run.child()], 10)


def test_an_internal_error_is_one_line(command: MakeCommand) -> None:
    run = command("raise ExceptionGroup('x', [ValueError('boom')])")
    status, errors = run.finish()
    assert status == 70
    assert re.fullmatch(r"sftpfs: internal error, please report it: ValueError: boom \(in [^\n]*\)\n", errors)


def test_a_silent_death_is_told_by_the_parent(command: MakeCommand, tmp_path: Path) -> None:
    run = command("os.kill(os.getpid(), signal.SIGKILL)")
    status, errors = run.finish()
    assert status == 70
    assert errors.count("\n") == 1
    assert "killed by signal 9" in errors
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_command_ends_both(command: MakeCommand, number: int) -> None:
    body = (
        "def stop(number, frame):\n"
        "    raise MountError(Failure.INTERRUPTED, 'interrupted')\n"
        "for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):\n"
        "    signal.signal(each, stop)\n"
        "note('armed', 'yes')\n"
        "time.sleep(60)"
    )
    run = command(body)
    eventually(lambda: run.read("armed"))
    run.process.send_signal(number)
    assert run.finish() == (130, "sftpfs: interrupted\n")
    assert not wait_gone([run.child()], 10)


def test_a_child_that_does_not_stop_is_killed_and_cleaned_up_after(
    command: MakeCommand, tmp_path: Path
) -> None:
    body = (
        "for each in (signal.SIGINT, signal.SIGTERM):\n"
        "    signal.signal(each, signal.SIG_IGN)\n"
        "note('armed', 'yes')\n"
        "time.sleep(60)"
    )
    run = command(body)
    eventually(lambda: run.read("armed"))
    run.process.send_signal(signal.SIGINT)
    assert run.finish() == (130, "sftpfs: interrupted\n")
    assert not wait_gone([run.child()], 10)
    assert (tmp_path / "cleaned").exists()
