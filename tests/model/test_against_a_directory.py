"""A mount and a local directory side by side: whatever is done to both ends the same.

Hypothesis makes up the operations; the connection is cut between and during them, and in one of the two
set-ups others change files on the server. Each result or errno is compared as it comes, and every name,
mode and byte at the end of a run: through the mount, and as the server has it.

``-m long`` runs many more steps, with other choices each time.
"""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.mounts import Mount
from tests.harness.outage import LOSS
from tests.model.pair import Pair, data_of, everything, outcome, shown

STEPS = 50
"""Operations of one run, each in a directory of its own."""
RUNS = 25
LONG_RUNS = 1000

STEPS_BETWEEN_CUTS = 12
"""A connection lost again at once is made again after a pause only; that is not what is tested here."""

PLACES = ["a", "b", "d", "d/a", "d/e", "d/e/a", "d/e/f", "g", "g/a"]
TARGETS = ["a", "d", "missing", "./b", "d/e", "l"]
FLAGS = [
    os.O_RDONLY,
    os.O_RDWR,
    os.O_WRONLY | os.O_CREAT,
    os.O_RDWR | os.O_CREAT | os.O_EXCL,
    os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    os.O_WRONLY | os.O_APPEND | os.O_CREAT,
]
CUTTABLE = ["OPEN", "WRITE", "MKDIR", "REMOVE", "RMDIR", "posix-rename@openssh.com", "SYMLINK", "SETSTAT"]
CUTTABLE += ["hardlink@openssh.com", "FSTAT", "LSTAT", "READ", "READDIR"]

places = st.sampled_from(PLACES)
offsets = st.integers(0, 300_000)
lengths = st.one_of(st.integers(0, 100), st.integers(0, 200_000))
modes = st.sampled_from([0o644, 0o600, 0o755, 0o400, 0o777])
seeds = st.integers(0, 1000)
picks = st.integers(0, 7)


class SideBySide(RuleBasedStateMachine):
    """See the module. ``mount`` and ``proxy`` are set by the test."""

    mount: Mount
    proxy: CountingProxy
    twins: Path
    others_write: bool
    tally: Counter[str]
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        name = f"run{next(self.numbers)}"
        self.here = self.mount.path / name
        self.there = self.mount.backing / name
        self.twin = self.twins / name
        for directory in (self.here, self.twin):
            (directory / "d" / "e").mkdir(parents=True)
            (directory / "a").write_bytes(b"content")
        self.open: list[Pair] = []
        self.since_cut = 0

    # -- helpers

    def both(self, action: Callable[[Path], object]) -> object:
        """Do it to both; the result, which must be one."""
        self.since_cut += 1
        self.tally["done"] += 1
        expected = outcome(lambda: action(self.twin))
        found = outcome(lambda: action(self.here))
        assert found == expected, f"the mount: {found!r:.200}, the directory: {expected!r:.200}"
        return expected

    def on_handle(self, pick: int, action: Callable[[int], object]) -> None:
        """Do it to an open file of both."""
        self.since_cut += 1
        self.tally["done"] += 1
        pair = self.open[pick % len(self.open)]
        if pair.lost:
            self.shut(pair)
            return
        expected = outcome(lambda: action(pair.twin))
        found = outcome(lambda: action(pair.here))
        assert found == expected, f"the mount: {found!r:.200}, the directory: {expected!r:.200}"

    def shut(self, pair: Pair) -> None:
        self.open.remove(pair)
        pair.close()

    def was_cut(self) -> None:
        self.since_cut = 0
        for pair in self.open:
            pair.cut = True

    # -- names

    @rule(place=places, mode=modes)
    def mkdir(self, place: str, mode: int) -> None:
        self.both(lambda root: os.mkdir(root / place, mode | 0o700))

    @rule(place=places)
    def rmdir(self, place: str) -> None:
        self.both(lambda root: os.rmdir(root / place))

    @rule(place=places)
    def unlink(self, place: str) -> None:
        self.both(lambda root: os.unlink(root / place))

    @rule(old=places, new=places)
    def rename(self, old: str, new: str) -> None:
        self.both(lambda root: os.rename(root / old, root / new))

    @rule(old=places, new=places)
    def link(self, old: str, new: str) -> None:
        self.both(lambda root: os.link(root / old, root / new))

    @rule(place=places, words=st.sampled_from(TARGETS))
    def symlink(self, place: str, words: str) -> None:
        self.both(lambda root: os.symlink(words, root / place))

    # -- looking

    @rule(place=places)
    def look(self, place: str) -> None:
        self.both(lambda root: shown(os.lstat(root / place)))

    @rule(place=places)
    def list(self, place: str) -> None:
        self.both(lambda root: sorted(os.listdir(root / place)))

    @rule(place=places)
    def read(self, place: str) -> None:
        self.both(lambda root: (root / place).read_bytes())

    @rule(place=places)
    def readlink(self, place: str) -> None:
        self.both(lambda root: os.readlink(root / place))

    # -- files by name

    @rule(place=places, seed=seeds, length=lengths)
    def save(self, place: str, seed: int, length: int) -> None:
        self.both(lambda root: (root / place).write_bytes(data_of(seed, length)))

    @rule(place=places, seed=seeds, length=lengths)
    def append(self, place: str, seed: int, length: int) -> None:
        def act(root: Path) -> None:
            with open(root / place, "ab") as file:
                file.write(data_of(seed, length))

        self.both(act)

    @rule(place=places, size=offsets)
    def truncate(self, place: str, size: int) -> None:
        self.both(lambda root: os.truncate(root / place, size))

    @rule(place=places, mode=modes)
    def chmod(self, place: str, mode: int) -> None:
        self.both(lambda root: os.chmod(root / place, mode))

    @rule(place=places, seconds=st.integers(0, 2**31))
    def utime(self, place: str, seconds: int) -> None:
        def act(root: Path) -> float:
            os.utime(root / place, (seconds, seconds))
            return os.stat(root / place).st_mtime

        self.both(act)

    # -- files kept open

    @precondition(lambda self: len(self.open) < 6)
    @rule(place=places, flags=st.sampled_from(FLAGS), mode=modes)
    def open_file(self, place: str, flags: int, mode: int) -> None:
        opened: dict[Path, int] = {}

        def act(root: Path) -> None:
            fd = os.open(root / place, flags, mode)
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                os.close(fd)  # not to be read or written
            else:
                opened[root] = fd

        try:
            self.both(act)
        finally:
            if len(opened) == 2:
                self.open.append(Pair(opened[self.here], opened[self.twin]))
            else:
                for fd in opened.values():
                    os.close(fd)

    @precondition(lambda self: self.open)
    @rule(pick=picks, offset=offsets, seed=seeds, length=lengths)
    def write_at(self, pick: int, offset: int, seed: int, length: int) -> None:
        self.on_handle(pick, lambda fd: os.pwrite(fd, data_of(seed, length), offset))

    @precondition(lambda self: self.open)
    @rule(pick=picks, offset=offsets, length=lengths)
    def read_at(self, pick: int, offset: int, length: int) -> None:
        self.on_handle(pick, lambda fd: os.pread(fd, length, offset))

    @precondition(lambda self: self.open)
    @rule(pick=picks)
    def look_at(self, pick: int) -> None:
        self.on_handle(pick, lambda fd: (os.fstat(fd).st_size, os.fstat(fd).st_mode))

    @precondition(lambda self: self.open)
    @rule(pick=picks, size=offsets)
    def resize(self, pick: int, size: int) -> None:
        self.on_handle(pick, lambda fd: os.ftruncate(fd, size))

    @precondition(lambda self: self.open)
    @rule(pick=picks, mode=modes)
    def change_mode(self, pick: int, mode: int) -> None:
        self.on_handle(pick, lambda fd: os.fchmod(fd, mode))

    @precondition(lambda self: self.open)
    @rule(pick=picks)
    def fsync(self, pick: int) -> None:
        self.on_handle(pick, os.fsync)

    @precondition(lambda self: self.open)
    @rule(pick=picks)
    def close(self, pick: int) -> None:
        self.shut(self.open[pick % len(self.open)])

    # -- what befalls the mount

    @precondition(lambda self: self.since_cut > STEPS_BETWEEN_CUTS)
    @rule()
    def cut(self) -> None:
        self.proxy.cut()
        self.was_cut()
        self.tally["cut"] += 1

    @precondition(lambda self: self.since_cut > STEPS_BETWEEN_CUTS)
    @rule(name=st.sampled_from(CUTTABLE), carried_out=st.booleans(), old=places, new=places, seed=seeds)
    def cut_during(self, name: str, carried_out: bool, old: str, new: str, seed: int) -> None:
        """A little of everything, with the connection lost at one request of it."""
        self.was_cut()
        self.proxy.cut_at(name, carried_out=carried_out)
        try:
            self.both(lambda root: os.mkdir(root / new))
            self.both(lambda root: os.symlink("a", root / old))
            self.both(lambda root: (root / old).write_bytes(data_of(seed, 5000)))
            self.both(lambda root: os.link(root / old, root / new))
            self.both(lambda root: os.rename(root / old, root / new))
            self.both(lambda root: os.chmod(root / new, 0o600))
            self.both(lambda root: sorted(os.listdir(root / "d")))
            self.both(lambda root: (root / new).read_bytes())
            self.both(lambda root: os.unlink(root / old))
            self.both(lambda root: os.rmdir(root / new))
        finally:
            self.tally["cut during"] += 1 - self.proxy.cuts_left()
            self.proxy.forget_cuts()
            self.was_cut()

    @precondition(lambda self: self.others_write)
    @rule(place=places, seed=seeds, length=lengths)
    def another_saves(self, place: str, seed: int, length: int) -> None:
        """As an editor on the server does. What has it open goes on with the old file: closed first."""
        for pair in list(self.open):
            self.shut(pair)

        def act(root: Path) -> None:
            (root / "saved").write_bytes(data_of(seed, length))
            try:
                os.rename(root / "saved", root / place)
            except OSError:
                os.unlink(root / "saved")

        act(self.there)
        act(self.twin)
        self.tally["others"] += 1

    @precondition(lambda self: self.others_write)
    @rule(place=places)
    def another_removes(self, place: str) -> None:
        for pair in list(self.open):
            self.shut(pair)
        for root in (self.there, self.twin):
            outcome(lambda root=root: os.unlink(root / place))  # type: ignore[misc]

    def teardown(self) -> None:
        """Everything is the same, here and on the server; then nothing is left of it."""
        try:
            for pair in list(self.open):
                self.shut(pair)
            expected = everything(self.twin)
            assert everything(self.here) == expected
            assert everything(self.there) == expected
        finally:
            shutil.rmtree(self.here)
            shutil.rmtree(self.twin)


def run(make_mount: MakeMount, proxy: CountingProxy, tmp_path: Path, others: bool, runs: int) -> None:
    """Let hypothesis try ``runs`` runs on a mount of their own."""
    options = ["dir_cache=no"] if others else []
    mount = make_mount(*options, port=proxy.port)
    mount.expect(LOSS)
    twins = tmp_path / "twins"
    twins.mkdir()
    tally: Counter[str] = Counter()
    known = {"mount": mount, "proxy": proxy, "twins": twins, "others_write": others, "tally": tally}
    machine = type("SideBySide", (SideBySide,), known)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=runs,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=runs == RUNS,
            database=None,
            phases=[Phase.generate, Phase.shrink] if runs != RUNS else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert tally["done"] >= STEPS * runs // 2, tally
    assert tally["cut"] + tally["cut during"] >= runs // 4, tally
    assert tally["others"] >= runs // 4 or not others, tally


OTHERS = pytest.mark.parametrize("others", [False, True], ids=["leased", "with others"])


@pytest.mark.limit(240)
@OTHERS
def test_a_mount_is_as_a_directory(
    proxy: CountingProxy, make_mount: MakeMount, tmp_path: Path, others: bool
) -> None:
    run(make_mount, proxy, tmp_path, others, RUNS)


@pytest.mark.long
@pytest.mark.limit(7200)
@OTHERS
def test_a_mount_is_as_a_directory_for_long(
    proxy: CountingProxy, make_mount: MakeMount, tmp_path: Path, others: bool
) -> None:
    run(make_mount, proxy, tmp_path, others, LONG_RUNS)
