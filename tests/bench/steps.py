"""One step: one workload by one contestant, in a process of its own, within a limit."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from tests.bench.dataset import Dataset
from tests.bench.results import Outcome, Status
from tests.bench.usage import Usage, usage_of
from tests.harness import processes
from tests.harness.mounts import Mount
from tests.sshd import Sshd

SAMPLE = 0.2
"""Seconds between two looks at memory: each costs the machine some milliseconds."""

_forking = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step runs: ``here`` as the client sees the server's directory ``there``.

    ``out`` is an empty directory of the client's; ``work`` inside ``here`` an empty one of the server's.
    """

    here: Path
    there: Path
    out: Path
    data: Dataset

    @property
    def work(self) -> Path:
        """The directory to write in, as the client sees it."""
        return self.here / "work"

    @property
    def written(self) -> Path:
        """The same, as the server has it."""
        return self.there / "work"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a workload found: its seconds, and more figures by name."""

    seconds: float
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of the table.

    ``run`` verifies what it did (AssertionError). ``setup`` changes the server's side before the
    mount. ``uses`` are the files of the server's that are read; ``programs`` are run once before,
    for a program's own pages are not what is measured.
    """

    name: str
    title: str
    run: Callable[[Place], Measured]
    uses: tuple[str, ...] = ()
    programs: tuple[tuple[str, ...], ...] = ()
    setup: Callable[[Dataset], None] | None = None
    units: int = 1
    """Reads, files, MiB or saves it consists of."""


class Stopwatch:
    """``with Stopwatch() as watch: …`` then ``watch.seconds``."""

    seconds = 0.0

    def __enter__(self) -> Stopwatch:
        self._begin = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begin


def run_command(words: Sequence[str | Path], **more: object) -> bytes:
    """Run a program to its end; its output. AssertionError with its complaint where it fails."""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        words, capture_output=True, stdin=subprocess.DEVNULL, **{"env": environment, **more}
    )  # type: ignore[call-overload]
    complaint = done.stderr.decode(errors="replace").strip()[-200:]
    assert done.returncode == 0, f"{words[0]} ended with {done.returncode}: {complaint}"
    return bytes(done.stdout)


def proportional_memory(pids: Iterable[int]) -> int:
    """Bytes of memory of ``pids``, shared pages divided among their users (PSS)."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue  # gone meanwhile
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total * 1024


class Sampler:
    """Memory of a mount's processes and bytes its server sent, looked at again and again."""

    def __init__(self, sshd: Sshd, mount: Mount | None) -> None:
        self._sshd = sshd
        self._mount = mount
        self._sent: dict[int, int] = {}
        self._before = sum(self._look_at_servers().values())
        self.memory: int | None = None
        self.look()
        self._usage = Usage(0, 0) if mount is None else usage_of(mount)

    def _look_at_servers(self) -> dict[int, int]:
        for pid in self._sshd.session_pids():
            try:
                if Path(f"/proc/{pid}/comm").read_text() != "sftp-server\n":
                    continue
                text = Path(f"/proc/{pid}/io").read_text()
            except OSError:
                continue
            self._sent[pid] = int(text.partition("wchar:")[2].split()[0])
        return self._sent

    def look(self) -> None:
        """Once more. A server that ends counts as last seen."""
        self._look_at_servers()
        if self._mount is not None:
            held = proportional_memory(self._mount.family())
            self.memory = max(self.memory or 0, held)

    def used(self) -> dict[str, float]:
        """What the mount's processes took since the first look, as figures; empty without a mount."""
        if self._mount is None:
            return {}
        return usage_of(self._mount).since(self._usage).figures()

    @property
    def fetched(self) -> int | None:
        """Bytes the SFTP servers sent since the first look; None without a mount."""
        return sum(self._sent.values()) - self._before if self._mount is not None else None


def _perform(run: Callable[[Place], Measured], place: Place, answer: Connection) -> None:
    try:
        answer.send(run(place))
    except (AssertionError, OSError, subprocess.SubprocessError) as problem:
        answer.send(f"{type(problem).__name__}: {problem}"[:300])


def perform(
    run: Callable[[Place], Measured], place: Place, limit: float, sshd: Sshd, mount: Mount | None
) -> Outcome:
    """Run one step for at most ``limit`` s; then it and its mount are killed."""
    sampler = Sampler(sshd, mount)
    receiver, sender = _forking.Pipe(duplex=False)
    child = _forking.Process(target=_perform, args=(run, place, sender))
    child.start()
    sender.close()
    end = time.monotonic() + limit
    try:
        while not receiver.poll(SAMPLE):
            if time.monotonic() > end:
                return Outcome(Status.LIMIT, limit, memory=sampler.memory)
            sampler.look()
        answer = receiver.recv()
        used = sampler.used()
        sampler.look()
    except EOFError:
        answer = "the step ended without a result"
    finally:
        if child.is_alive() and time.monotonic() > end:
            processes.kill_tree(child.pid or 0)
            if mount is not None:
                mount.kill()  # what hangs in the kernel ends with it
        child.join(20)
        receiver.close()
    if isinstance(answer, Measured):
        figures = {**answer.figures, **used}
        if "asked" in figures and sampler.fetched is not None:
            figures["fetched/asked"] = sampler.fetched / figures["asked"]
        return Outcome(Status.DONE, answer.seconds, figures, memory=sampler.memory, fetched=sampler.fetched)
    return Outcome(Status.FAILED, problem=str(answer), memory=sampler.memory)
