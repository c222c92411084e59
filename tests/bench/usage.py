"""What a mount takes of the machine: processor time, task switches and system calls of all its processes.

sftpfs is a front, a fork server and workers. sshfs forks its ssh twice, so that this is no child of it: they
have a session in common. Processor time is read from schedstat, in nanoseconds; ticks of 10 ms are too few.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.harness import processes
from tests.harness.mounts import Mount

ATTACH_LIMIT = 20.0
"""Seconds for strace to have every thread."""


class Usage(NamedTuple):
    """Seconds of processor time, user and system, and how often a task gave up its processor or lost it."""

    seconds: float
    switches: int

    def figures(self) -> dict[str, float]:
        """By name."""
        return {"cpu": self.seconds, "switches": float(self.switches)}

    def since(self, before: Usage) -> Usage:
        """What came to it after ``before``."""
        return Usage(self.seconds - before.seconds, self.switches - before.switches)


def processes_of(mount: Mount) -> set[int]:
    """The mount's process, all below it, and all of its session with all below those."""
    table = processes.table()
    session = {pid for pid in table if _session(pid) == mount.pid} | {mount.pid}
    return session | processes.descendants(session, table)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def usage_of(mount: Mount) -> Usage:
    """All that the processes of ``mount`` have taken so far."""
    nanoseconds = switches = 0
    for pid in processes_of(mount):
        for task in Path(f"/proc/{pid}/task").glob("*"):
            try:
                nanoseconds += int((task / "schedstat").read_text().split()[0])
                found = re.findall(r"ctxt_switches:\s*(\d+)", (task / "status").read_text())
            except OSError:
                continue  # gone meanwhile
            switches += sum(map(int, found))
    return Usage(nanoseconds / 1e9, switches)


class SystemCalls:
    """``count`` once the block of ``counted`` has ended."""

    count = 0


@contextmanager
def counted(mount: Mount) -> Iterator[SystemCalls]:
    """Count the system calls of ``mount``'s processes by strace, which makes each many times slower."""
    calls = SystemCalls()
    with tempfile.NamedTemporaryFile("r") as summary:
        words = ["strace", "-f", "-c", "-o", summary.name]
        pids = processes_of(mount)
        for pid in pids:
            words += ["-p", str(pid)]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as tracer:
            try:
                assert tracer.stderr is not None
                for _ in pids:
                    assert "attached" in tracer.stderr.readline(), "strace cannot attach"
                yield calls
            finally:
                tracer.send_signal(signal.SIGINT)
                tracer.communicate(timeout=ATTACH_LIMIT)
        calls.count = total(summary.read())


def total(summary: str) -> int:
    """All calls of a ``strace -c``: its last line."""
    words = summary.splitlines()[-1].split()
    assert words[-1] == "total", summary
    return int(words[3])
