"""Runs of the ``sftpfs`` command as a person or mount(8) makes them: one process, its output, its status."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.harness import processes
from tests.harness.mounts import REPOSITORY, mountpoints, unmount_lazily
from tests.harness.waiting import eventually

LIMIT = 40.0
"""Seconds for one run of the command on a busy machine."""

COMMAND = [sys.executable, "-m", "sftpfs"]


def environment(**more: str) -> dict[str, str]:
    """For every run: this checkout's package; the mark by which leftovers are found is inherited."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), **more}


def run(
    *words: str | Path,
    prefix: Sequence[str] = (),
    env: dict[str, str] | None = None,
    stdin: int | None = subprocess.DEVNULL,
    text: str | None = None,
) -> tuple[int, str]:
    """Run the command without a terminal until it returns: (status, stderr)."""
    done = subprocess.run(
        [*prefix, *COMMAND, *map(str, words)],
        env=env or environment(),
        cwd=REPOSITORY,
        stdin=None if text is not None else stdin,
        input=text,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT,
        start_new_session=True,
        check=False,
    )
    return done.returncode, done.stderr


class Output(NamedTuple):
    """What a command said and how it ended."""

    status: int
    stdout: str
    stderr: str


def say(*words: str | Path, prefix: Sequence[str] = (), env: dict[str, str] | None = None) -> Output:
    """Run the command without a terminal until it returns."""
    with started(*words, prefix=prefix, env=env) as process:
        return ended(process)


def started(
    *words: str | Path, prefix: Sequence[str] = (), env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """A run of the command that goes on; for ``ended``."""
    return subprocess.Popen(
        [*prefix, *COMMAND, *map(str, words)],
        env=env or environment(),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> Output:
    """Wait for a run that was ``started``; it is killed where it takes too long."""
    try:
        stdout, stderr = process.communicate(timeout=LIMIT)
    except BaseException:
        process.kill()
        raise
    return Output(process.returncode, stdout, stderr)


def daemon_of(path: Path) -> int:
    """The pid of the daemon that serves the mount on ``path``."""
    found = []
    for pid in processes.ours():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"sftpfs" in words and os.fsencode(path) in words:
            found.append(pid)
    assert len(found) == 1, [processes.describe(pid) for pid in found]
    return found[0]


def family_of(path: Path) -> set[int]:
    """The daemon of ``path`` and every process below it."""
    pid = daemon_of(path)
    return {pid, *processes.descendants([pid], processes.table())}


def assert_gone(path: Path, family: set[int], limit: float = 20.0) -> None:
    """Nothing is mounted on ``path`` and no process of ``family`` lives."""
    left = processes.wait_gone(family, limit)
    assert not left, [processes.describe(pid) for pid in left]
    assert str(path) not in mountpoints()


class Terminal:
    """A run of the command, or of another, on a terminal of its own, with a person (the test) at it."""

    def __init__(self, *words: str | Path, command: Sequence[str] = COMMAND) -> None:
        self.master, slave = os.openpty()
        self.output = ""
        self.slave_name = os.ttyname(slave)
        try:
            self.process = subprocess.Popen(
                ["setsid", "--ctty", "--wait", *command, *map(str, words)],
                env=environment(),
                cwd=REPOSITORY,
                stdin=slave,
                stdout=slave,
                stderr=slave,
            )
        finally:
            os.close(slave)

    def _read(self, limit: float) -> bool:
        """Take what is there or comes within ``limit`` s; False at the end."""
        ready, _, _ = select.select([self.master], [], [], limit)
        if not ready:
            return True
        try:
            data = os.read(self.master, 4096)
        except OSError:
            return False  # the last process on the terminal has left it
        self.output += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, text: str) -> None:
        """Wait until the terminal shows ``text``."""
        end = time.monotonic() + LIMIT
        while text not in self.output:
            assert time.monotonic() < end, f"{text!r} not in {self.output!r}"
            assert self._read(0.1), f"ended without {text!r}: {self.output!r}"

    def type(self, text: str) -> None:
        """Type ``text``; ``\\x03`` is Ctrl-C."""
        os.write(self.master, text.encode())

    def finish(self) -> int:
        """Wait for the command's end; its status."""
        eventually(
            lambda: not self._read(0.05) or self.process.poll() is not None, LIMIT, "the command's end"
        )
        status = self.process.wait(LIMIT)
        while select.select([self.master], [], [], 0)[0] and self._read(0):
            pass
        return status

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            processes.kill_tree(self.process.pid)
        self.process.wait(LIMIT)
        os.close(self.master)


class Foreground:
    """A run of the command with ``-f``; ends in the block, whatever happens."""

    def __init__(
        self, path: Path, *words: str | Path, stdin: int = subprocess.DEVNULL, stdout: int | None = None
    ) -> None:
        self.path = path
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, words), "-f"],
            env=environment(),
            cwd=REPOSITORY,
            stdin=stdin,
            stdout=subprocess.DEVNULL if stdout is None else stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_mounted(self) -> None:
        """Wait until the mount is there and serves."""
        eventually(
            lambda: str(self.path) in mountpoints() or self.process.poll() is not None, LIMIT, "mounted"
        )
        assert self.process.poll() is None, self.process.communicate()[1]
        os.stat(self.path)  # answered once it serves: in the kernel's table it is a little earlier

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    def finish(self) -> tuple[int, str]:
        """(status, stderr)."""
        _, errors = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, errors

    def __enter__(self) -> Foreground:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            processes.kill_tree(self.process.pid, signal.SIGKILL)
            unmount_lazily(str(self.path))
        self.process.communicate(timeout=LIMIT)
