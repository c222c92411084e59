"""Readers and writers under a connection that is reset every few seconds, for minutes; checksums at the end.

    pytest -m long tests/faults/test_soak.py            SOAK_SECONDS=600 unless set

Over a real sshd. The second test measures how long a mount takes to work again once its server is back.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.link import FaultyLink
from tests.harness.mounts import Mount
from tests.harness.outage import LOSS
from tests.harness.waiting import eventually
from tests.sshd import Sshd

pytestmark = [pytest.mark.long, pytest.mark.limit(7200)]

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
MIB = 1 << 20
SEEDS = random.Random(4)

RECOVERIES = 10
RECOVERED_WITHIN = 3.0
"""Seconds, median, from the server's return to the first success."""


@pytest.fixture
def link(sshd: Sshd) -> Iterator[FaultyLink]:
    with FaultyLink(sshd) as running:
        yield running


class Work:
    """Threads that go on until told to stop; the first failure of any is raised by ``end``."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.rounds: dict[str, int] = {}
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def go_on(self, name: str, once: Callable[[int], None]) -> None:
        """Call ``once`` with 0, 1, 2, … in a thread."""

        def run() -> None:
            try:
                while not self.stop.is_set():
                    once(self.rounds.get(name, 0))
                    self.rounds[name] = self.rounds.get(name, 0) + 1
            except BaseException as problem:
                problem.add_note(f"{name}, round {self.rounds.get(name, 0)}")
                self._failures.append(problem)
                self.stop.set()

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def end(self) -> None:
        """Stop all, and raise what failed."""
        self.stop.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), thread.name
        if self._failures:
            raise self._failures[0]


def readable(directory: Path) -> dict[str, str]:
    """Files to be read; their checksums by name."""
    sums = {}
    for name, size in (("small", 3000), ("middle", 2 * MIB), ("big", 40 * MIB)):
        data = random.Random(size).randbytes(size)
        (directory / name).write_bytes(data)
        sums[name] = hashlib.sha256(data).hexdigest()
    return sums


def test_resets_every_few_seconds(link: FaultyLink, make_mount: MakeMount, backing: Path) -> None:
    sums = readable(backing)
    mount = make_mount("timeout=60", server=link, backing=backing)
    mount.expect(LOSS)
    here, written = mount.path, {}
    log: list[bytes] = []

    def read(_number: int) -> None:
        for name, known in sums.items():
            assert hashlib.sha256((here / name).read_bytes()).hexdigest() == known, name

    def write(number: int) -> None:
        data = random.Random(number).randbytes(6 * MIB)
        name = f"written {number % 8}"
        (here / name).write_bytes(data)
        written[name] = hashlib.sha256(data).hexdigest()
        assert hashlib.sha256((backing / name).read_bytes()).hexdigest() == written[name], "acknowledged"

    def save(number: int) -> None:
        text = b"text %d\n" % number * 100
        with open(here / "text.tmp", "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(here / "text.tmp", here / "text")
        assert (backing / "text").read_bytes() == text

    def append(number: int) -> None:
        line = b"line %d\n" % number
        with open(here / "log", "ab", buffering=0) as file:
            file.write(line)
        log.append(line)

    def names(number: int) -> None:
        directory = here / f"directory {number % 4}"
        directory.mkdir()
        for file in range(20):
            (directory / f"file {file}").touch()
        assert len(os.listdir(directory)) == 20
        for file in range(20):
            os.unlink(directory / f"file {file}")
        directory.rmdir()

    work = Work()
    for act in (read, write, save, append, names):
        work.go_on(act.__name__, act)
    end = time.monotonic() + SECONDS
    resets = 0
    while time.monotonic() < end and not work.stop.wait(SEEDS.uniform(1.0, 5.0)):
        link.cut()
        resets += 1
    work.end()
    assert (backing / "log").read_bytes() == b"".join(log)
    for name, known in written.items():
        assert hashlib.sha256((backing / name).read_bytes()).hexdigest() == known, name
    memory = {name: _memory(mount, name) for name in ("VmRSS", "VmHWM")}
    print(f"\n{resets} resets in {SECONDS:g} s, rounds {work.rounds}, front {memory} MiB")
    assert memory["VmHWM"] < 400


def _memory(mount: Mount, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{mount.pid}/status").read_text())
    assert found
    return int(found[1]) >> 10


@pytest.mark.parametrize("away", [0.5, 5.0], ids=["a moment", "a while"])
def test_recovery_after_the_server_is_back(
    tmp_path: Path, make_mount: MakeMount, backing: Path, away: float
) -> None:
    """sshd stopped, away for some seconds, started: median of ten until a stat and a read succeed."""
    (backing / "file").write_bytes(b"content")
    taken = []
    with Sshd(tmp_path / "own-sshd") as server:
        mount = make_mount("dir_cache=no", "timeout=60", server=server, backing=backing)
        mount.expect(LOSS)
        with open(mount.path / "file", "rb", buffering=0) as file:
            for _ in range(RECOVERIES):
                server.stop()
                results: list[object] = []

                def use(results: list[object] = results, fd: int = file.fileno()) -> None:
                    results.append((os.stat(mount.path / "file").st_size, os.pread(fd, 7, 0)))

                asking = threading.Thread(target=use, daemon=True)
                asking.start()
                time.sleep(away)
                server.start()
                back = time.monotonic()
                asking.join(60)
                taken.append(time.monotonic() - back)
                assert results == [(7, b"content")]
                eventually(lambda: os.listdir(mount.path) == ["file"])
    median = statistics.median(taken)
    print(
        f"\nworks {median:.2f} s after the server is back (median of {RECOVERIES}, worst {max(taken):.2f} s)"
    )
    assert median < RECOVERED_WITHIN
