"""Many handles of few files, the connection reset between and during what is done: as on a local directory.

Each step is done to a file of the mount and to one beside it, and compared; each run ends with what the
server has. Whatever handle made it, what was accepted is there, and no call fails. A run is its seed.

``-m long`` makes many longer runs (``HANDLES_SEED`` begins elsewhere).
"""

from __future__ import annotations

import fcntl
import os
import random
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.mounts import Mount
from tests.harness.outage import LOSS
from tests.model.pair import Pair, data_of, outcome

RUNS = 8
STEPS = 150
LONG_RUNS = 300
LONG_STEPS = 1500

FIRST_SEED = int(os.environ.get("HANDLES_SEED", "0"))

STEPS_BETWEEN_RESETS = 8
"""A connection lost again at once is made again after a pause only; that is not what is tested here."""

NAMES = ["a", "b"]

FLAGS = [
    os.O_RDONLY,
    os.O_RDWR,
    os.O_RDWR,
    os.O_RDWR | os.O_SYNC,
    os.O_RDWR | os.O_DIRECT,
    os.O_WRONLY | os.O_APPEND,
    os.O_RDWR | os.O_APPEND,
    os.O_RDWR | os.O_TRUNC,
]

DURING = ["WRITE", "WRITE", "FSTAT", "FSETSTAT", "fsync@openssh.com", "READ", "OPEN", "LSTAT", "CLOSE"]

MOST_OPEN = 6

LARGEST = 400_000

DELAY = 0.008
"""Seconds each reply is held, every other run: far enough for content to travel on connections of its own."""


class Run:
    """One seed's."""

    def __init__(self, seed: int, mount: Mount, proxy: CountingProxy, twins: Path) -> None:
        self.random = random.Random(seed)
        self.proxy = proxy
        self.there = mount.backing / f"{seed}"
        self.here = mount.path / f"{seed}"
        self.twin = twins / f"{seed}"
        self.twin.mkdir()
        self.here.mkdir()
        self.open: list[Pair] = []
        self.since_reset = 0
        self.resets = 0
        self.log: list[str] = []
        self.steps: list[tuple[Callable[[], None], int]] = [
            (self.open_one, 6),
            (self.write, 14),
            (self.read, 5),
            (self.truncate, 3),
            (self.sync, 4),
            (self.look, 4),
            (self.close_one, 4),
            (self.duplicate, 2),
            (self.mode, 3),
            (self.date, 2),
            (self.save, 1),
            (self.wait, 1),
            (self.reset, 4),
        ]

    def both(self, what: str, action: Callable[[Path], object]) -> object:
        self.log.append(what)
        expected, found = outcome(lambda: action(self.twin)), outcome(lambda: action(self.here))
        assert found == expected, f"{what}: {found!r:.200} and not {expected!r:.200}"
        return expected

    def through(self, what: str, pair: Pair, action: Callable[[int], object]) -> None:
        self.log.append(f"{what} by {pair.here}")
        expected, found = outcome(lambda: action(pair.twin)), outcome(lambda: action(pair.here))
        assert found == expected, f"{what}: {found!r:.200} and not {expected!r:.200}"

    def some(self, *, reads: bool = False, writes: bool = False) -> Pair | None:
        """An open file that may do so, and has a name: another cannot be opened again after a reset."""
        fitting = []
        for pair in self.open:
            access = os.O_ACCMODE & fcntl.fcntl(pair.twin, fcntl.F_GETFL)
            if (not reads or access != os.O_WRONLY) and (not writes or access != os.O_RDONLY):
                fitting.append(pair)
        return self.random.choice(fitting) if fitting else None

    def open_one(self) -> None:
        if len(self.open) >= MOST_OPEN:
            return
        name, flags = self.random.choice(NAMES), self.random.choice(FLAGS)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            flags |= os.O_CREAT
        self.log.append(f"open {name} {flags:o}")
        twin = outcome(lambda: os.open(self.twin / name, flags & ~os.O_DIRECT, 0o644))
        here = outcome(lambda: os.open(self.here / name, flags, 0o644))
        if isinstance(twin, int) and isinstance(here, int):
            self.open.append(Pair(here, twin))
        else:
            assert twin == here

    def write(self) -> None:
        pair = self.some(writes=True)
        if pair is not None:
            at = self.random.choice([0, self.random.randrange(LARGEST), os.fstat(pair.twin).st_size])
            length = self.random.choice([1, 100, 4096, 70_000, 300_000])
            data = data_of(self.random.randrange(1000), length)
            self.through(f"write {at} {length}", pair, lambda file: os.pwrite(file, data, at))

    def read(self) -> None:
        pair = self.some(reads=True)
        if pair is not None:
            at, length = self.random.randrange(LARGEST), self.random.randrange(LARGEST)
            self.through(f"read {at} {length}", pair, lambda file: os.pread(file, length, at))

    def truncate(self) -> None:
        pair = self.some(writes=True)
        size = self.random.randrange(LARGEST)
        if pair is not None and self.random.random() < 0.6:
            self.through(f"truncate {size}", pair, lambda file: os.ftruncate(file, size))
        else:
            name = self.random.choice(NAMES)
            self.both(f"truncate {name} {size}", lambda root: os.truncate(root / name, size))

    def sync(self) -> None:
        pair = self.some()
        if pair is not None:
            self.through("sync", pair, os.fsync)

    def look(self) -> None:
        pair = self.some()
        if pair is not None and self.random.random() < 0.5:
            self.through("fstat", pair, lambda file: os.fstat(file).st_size)
        else:
            name = self.random.choice(NAMES)
            self.both(f"read all of {name}", lambda root: (root / name).read_bytes())

    def close_one(self) -> None:
        if self.open:
            pair = self.open.pop(self.random.randrange(len(self.open)))
            self.log.append(f"close {pair.here}")
            pair.close()

    def duplicate(self) -> None:
        pair = self.some()
        if pair is not None:
            self.through("dup, close", pair, lambda file: os.close(os.dup(file)))

    def mode(self) -> None:
        pair = self.some()
        mode = self.random.choice([0o600, 0o644, 0o755, 0o640])
        if pair is not None and self.random.random() < 0.5:
            self.through(f"mode {mode:o}", pair, lambda file: os.fchmod(file, mode))
        else:
            name = self.random.choice(NAMES)
            self.both(f"mode {name} {mode:o}", lambda root: os.chmod(root / name, mode))

    def date(self) -> None:
        pair = self.some(writes=True)
        when = self.random.choice([1_000_000_000, int(time.time()) + 100_000])
        if pair is not None and self.random.random() < 0.5:
            self.through(f"date {when}", pair, lambda file: os.utime(file, (when, when)))
        else:
            name = self.random.choice(NAMES)
            self.both(f"date {name} {when}", lambda root: os.utime(root / name, (when, when)))

    def save(self) -> None:
        """As editors do. What is open of the file before has no name then, and is closed."""
        name = self.random.choice(NAMES)
        data = data_of(self.random.randrange(1000), self.random.randrange(LARGEST))

        def saved(root: Path) -> None:
            (root / "new").write_bytes(data)
            (root / "new").rename(root / name)

        before = _stat(self.twin / name)
        for pair in [one for one in self.open if os.path.samestat(os.fstat(one.twin), before)]:
            self.open.remove(pair)
            pair.close()
        self.both(f"save {name}", saved)

    def wait(self) -> None:
        """What is written is sent and settled without being asked for."""
        self.log.append("wait")
        time.sleep(1.6)

    def reset(self) -> None:
        if self.since_reset < STEPS_BETWEEN_RESETS:
            return
        self.since_reset = 0
        self.resets += 1
        self.proxy.forget_cuts()
        if self.random.random() < 0.3:
            self.log.append("reset")
            self.proxy.cut()
        else:
            during, carried_out = self.random.choice(DURING), self.random.random() < 0.5
            self.log.append(f"reset in {during}, {'after' if carried_out else 'before'}")
            self.proxy.cut_at(during, carried_out=carried_out)

    def go(self, steps: int) -> None:
        try:
            chosen = self.random.choices(*map(list, zip(*self.steps, strict=True)), k=steps)
            for step in chosen:
                self.since_reset += 1
                step()
            self.proxy.forget_cuts()
            self.end()
        except BaseException:
            print("\n".join(self.log[-60:]))
            for pair in self.open:
                os.close(pair.twin)
                outcome(partial(os.close, pair.here))
            raise

    def end(self) -> None:
        while self.open:
            self.open.pop().close()
        for name in NAMES:
            expected, found = outcome((self.twin / name).read_bytes), outcome((self.there / name).read_bytes)
            assert found == expected, f"{name} on the server"
            if not isinstance(expected, tuple):
                roots = (self.twin, self.there, self.here)
                modes = [stat.S_IMODE(os.stat(root / name).st_mode) for root in roots]
                assert len(set(modes)) == 1, f"mode of {name}: {modes}"


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError:
        return os.stat("/")


@pytest.fixture
def resets(
    make_mount: MakeMount, proxy: CountingProxy, backing: Path, tmp_path: Path
) -> Callable[[int, int], None]:
    """Make a run of a seed, with so many steps."""
    mount = make_mount(port=proxy.port, backing=backing)
    mount.expect(LOSS)
    twins = tmp_path / "twins"
    twins.mkdir()

    def run(seed: int, steps: int) -> None:
        proxy.set_latency(DELAY if seed % 2 else 0.0)
        one = Run(seed, mount, proxy, twins)
        try:
            one.go(steps)
        finally:
            proxy.set_latency(0.0)

    return run


@pytest.mark.limit(240)
@pytest.mark.parametrize("seed", range(RUNS))
def test_handles_over_resets(resets: Callable[[int, int], None], seed: int) -> None:
    resets(seed, STEPS)


@pytest.mark.long
@pytest.mark.limit(7200)
def test_many_handles_over_many_resets(resets: Callable[[int, int], None]) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + LONG_RUNS):
        print("seed", seed)
        resets(seed, LONG_STEPS)
