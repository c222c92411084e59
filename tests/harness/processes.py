"""Which processes are ours: by a mark in the environment, and by descent.

A process the tests start carries MARK in its environment and so do its children,
also those that leave the session as a daemon. What sshd starts has a fresh
environment and is found by descent. Only processes found this way are ever ended.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterable
from typing import NamedTuple

from tests.harness.waiting import STEP

MARK = "SFTPFS_TEST_RUN"
RUN = uuid.uuid4().hex


class Process(NamedTuple):
    """One line of the process table."""

    pid: int
    parent: int
    state: str
    command: str


def mark_run() -> None:
    """Mark this process's environment, and with it that of every process started from now on."""
    os.environ[MARK] = RUN


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def table() -> dict[int, Process]:
    """All live processes of the machine; zombies left out, for they do nothing any more."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        line = _read(f"/proc/{name}/stat").decode(errors="replace")
        if ")" not in line:
            continue
        head, _, tail = line.rpartition(")")
        state, parent = tail.split()[:2]
        if state not in "ZX":
            found[int(name)] = Process(int(name), int(parent), state, head.partition("(")[2])
    return found


def descendants(roots: Iterable[int], processes: dict[int, Process]) -> set[int]:
    """The pids below ``roots``, ``roots`` themselves left out."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    pending = list(roots)
    while pending:
        for pid in children.get(pending.pop(), ()):
            if pid not in found:
                found.add(pid)
                pending.append(pid)
    return found


def ours(processes: dict[int, Process] | None = None) -> dict[int, Process]:
    """Every live process started by this test run, directly or not; not the run itself."""
    processes = table() if processes is None else processes
    mark = f"{MARK}={RUN}".encode()
    marked = {pid for pid in processes if mark in _read(f"/proc/{pid}/environ").split(b"\0")}
    roots = marked | {os.getpid()}
    found = (marked | descendants(roots, processes)) - {os.getpid()}
    return {pid: processes[pid] for pid in found if pid in processes}


def describe(pid: int) -> str:
    """pid and command line, for a message."""
    words = _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
    return f"{pid} [{words or '?'}]"


def alive(pid: int) -> bool:
    """True while the process runs (a zombie does not)."""
    return pid in table()


def wait_gone(pids: Iterable[int], limit: float) -> set[int]:
    """Wait for all of ``pids`` to end; those still alive after ``limit`` seconds."""
    end = time.monotonic() + limit
    left = set(pids)
    while left:
        left &= table().keys()
        if not left or time.monotonic() > end:
            break
        time.sleep(STEP)
    return left


def kill_tree(root: int, number: int = signal.SIGKILL) -> None:
    """Signal ``root`` and everything below it."""
    for pid in {root, *descendants([root], table())}:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
