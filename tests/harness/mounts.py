"""Real mounts, each in a process of its own: sftpfs, and sshfs to compare with.

In the foreground, with the process at hand: tests kill it, read its log, and compare it with other
programs'. What needs none of that mounts by ``sftpfs.mounted``, as users do.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

from tests.harness import processes, time_limit
from tests.harness.waiting import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
READY_LIMIT = 40.0
"""Seconds for a mount to appear: python, asyncssh's imports and a login on a busy machine."""
UNMOUNT_LIMIT = 30.0

COMPLAINT = re.compile(
    r"\b(WARNING|ERROR|CRITICAL|Traceback|Exception ignored)\b|RuntimeWarning|ResourceWarning"
)
"""What no mount may log unless the test says so."""

live: dict[int, Mount] = {}
"""Mounts made and not yet closed, by pid."""


def mountpoints() -> dict[str, str]:
    """Every FUSE mountpoint of this mount namespace → its source."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, source, *_ = right.split(" ")
        if kind == "fuse" or kind.startswith("fuse."):
            path = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), left.split(" ")[4])
            found[path] = source
    return found


def unmount_lazily(path: str) -> None:
    """Take ``path`` out of the tree whatever state its file system is in."""
    subprocess.run(
        ["fusermount3", "-u", "-z", path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )


def sftpfs_command(spec: str, mountpoint: str, options: Sequence[str]) -> list[str]:
    """argv for sftpfs in the foreground."""
    joined = ["-o", ",".join(options)] if options else []
    return [sys.executable, "-m", "sftpfs", spec, mountpoint, "-f", *joined]


def sshfs_command(spec: str, mountpoint: str, options: Sequence[str]) -> list[str]:
    """argv for sshfs in the foreground."""
    joined = ["-o", ",".join(options)] if options else []
    return ["sshfs", spec, mountpoint, "-f", *joined]


Flavour = Callable[[str, str, Sequence[str]], list[str]]


class Mount:
    """One mount and the process behind it.

    ``path`` is the mountpoint, ``backing`` the same directory as the server sees it.
    Ready (its root answers) when the constructor returns; ``close`` always leaves
    neither a mount nor a process behind.
    """

    def __init__(
        self,
        spec: str,
        path: Path,
        backing: Path,
        options: Iterable[str] = (),
        *,
        flavour: Flavour = sftpfs_command,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.path = path
        self.backing = backing
        self.closed = False
        self.expected: list[re.Pattern[str]] = []
        self.ends_with = {0}
        """Exit statuses that are right."""
        path.mkdir(parents=True, exist_ok=True)
        self._log_path = path.with_name(path.name + ".log")
        self._checked = 0
        self._bare_device = os.stat(path).st_dev
        command = flavour(spec, str(path), tuple(options))
        # Should the test run be killed, the kernel ends the mount with it.
        with open(self._log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), **(environment or {})},
                start_new_session=True,
            )
        live[self.pid] = self
        time_limit.on_timeout(self.pid, self.kill)
        try:
            eventually(self._ready, READY_LIMIT, "mounted")
        except BaseException as problem:
            self.close(clean=False)
            if hasattr(problem, "add_note"):
                problem.add_note(f"{shlex.join(command)}\n{self.log()}")
            raise

    @property
    def pid(self) -> int:
        """The process that answers the kernel (setpriv became it)."""
        return self.process.pid

    def _ready(self) -> bool:
        status = self.process.poll()
        assert status is None, f"the mount command ended with {status}: {self.log()}"
        return str(self.path) in mountpoints() and os.stat(self.path).st_dev != self._bare_device

    def log(self) -> str:
        """What the process wrote to stdout and stderr so far."""
        return self._log_path.read_text(errors="replace")

    def expect(self, pattern: str) -> None:
        """Allow log lines that match ``pattern``."""
        self.expected.append(re.compile(pattern))

    def complaints(self) -> list[str]:
        """Warnings and errors logged since the last call that no test expected."""
        text = self._log_path.read_bytes()
        fresh, self._checked = text[self._checked :], len(text)
        return [
            line
            for line in fresh.decode(errors="replace").splitlines()
            if COMPLAINT.search(line) and not any(pattern.search(line) for pattern in self.expected)
        ]

    def family(self) -> set[int]:
        """The pids of the mount process and everything below it."""
        return {self.pid, *processes.descendants([self.pid], processes.table())}

    def kill(self) -> None:
        """SIGKILL for the mount and its children: the kernel then fails what is pending."""
        processes.kill_tree(self.pid)

    def unmount(self, limit: float = UNMOUNT_LIMIT) -> None:
        """``fusermount3 -u``, then the process ends by itself with a status of ``ends_with``."""
        subprocess.run(
            ["fusermount3", "-u", str(self.path)], check=True, timeout=limit, stdin=subprocess.DEVNULL
        )
        status = self.process.wait(limit)
        assert status in self.ends_with, f"the mount process ended with {status}: {self.log()}"

    def close(self, clean: bool = True) -> None:
        """Unmount and end everything. ``clean``: complain where that took force."""
        if self.closed:
            return
        self.closed = True
        family = self.family()
        try:
            if clean and self.process.poll() is None:
                self.unmount()
            elif clean:
                status = self.process.returncode
                assert status in self.ends_with, f"ended with {status}: {self.log()}"
            if clean:
                left = processes.wait_gone(family, 10)
                assert not left, f"left behind: {[processes.describe(pid) for pid in left]}"
                complaints = self.complaints()
                assert not complaints, "logged:\n" + "\n".join(complaints)
        finally:
            live.pop(self.pid, None)
            time_limit.forget(self.pid)
            self._end_by_force(family)

    def _end_by_force(self, family: set[int]) -> None:
        if str(self.path) in mountpoints():
            unmount_lazily(str(self.path))
        if self.process.poll() is None:
            family |= self.family()
        for pid in processes.table().keys() & family & {self.pid, *processes.ours()}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(20)

    def __enter__(self) -> Mount:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(clean=error is None)


class LocalDirectory:
    """Stands where a Mount stands, without one: what the tests expect, checked on a local file system."""

    def __init__(self, directory: Path) -> None:
        self.path = self.backing = directory


def in_time(action: Callable[[], object], limit: float) -> tuple[object, float]:
    """Run ``action`` in a thread and wait at most ``limit`` s; its result or OSError, and seconds taken.

    For operations that may hang in the kernel: AssertionError when it is still running.
    """
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(action())
        except OSError as error:
            outcome.append(error)

    begin = time.monotonic()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    assert outcome, f"still running after {limit} s"
    return outcome[0], time.monotonic() - begin
