"""A mount that may keep few names, beside a local directory: whatever is done to both ends the same.

Directories together larger than the bound are listed between small changes, by readers that stay open too,
so that names are let go of at any moment. With the right to it the kernel is made to forget what it can.

``-m long`` does many more, with a seed of its own, which a failure tells.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.model.pair import data_of, everything, outcome, shown

BOUND = 1000
"""The smallest a mount takes."""
WIDE = 700
"""Names in each of the directories that are only listed, and at first in those worked in."""
STEPS = 2000
LONG_STEPS = 150_000
DROP_EVERY = 700
CACHES = Path("/proc/sys/vm/drop_caches")

WIDE_ONES = ["w0", "w1", "w2"]
WORKED_IN = ["p", "q", "p/sub"]


class Worker:
    """Does the same to both, as a seed has it."""

    def __init__(self, here: Path, twin: Path, seed: int, drop: bool) -> None:
        self.here = here
        self.twin = twin
        self.random = random.Random(seed)
        self.drop = drop
        self.tally: Counter[str] = Counter()
        self.readers: list[Iterator[os.DirEntry[str]]] = []
        self.doings: list[Callable[[], None]] = [
            *[self.make, self.make_directory, self.rename, self.remove, self.remove_directory] * 3,
            *[self.replace, self.link, self.symlink, self.look, self.read, self.list] * 2,
            *[self.list_wide, self.read_wide, self.begin_to_read, self.read_on],
        ]

    def both(self, what: str, action: Callable[[Path], object]) -> None:
        expected = outcome(lambda: action(self.twin))
        found = outcome(lambda: action(self.here))
        assert found == expected, f"{what}: the mount {found!r:.200}, the directory {expected!r:.200}"
        self.tally[what] += not (isinstance(expected, tuple) and expected[0] is OSError)

    def name(self, where: str | None = None) -> str:
        """One that often is there, as names of one directory at the bound are made, moved and removed."""
        return f"{where or self.random.choice(WORKED_IN)}/n{self.random.randrange(60)}"

    def step(self, number: int) -> None:
        if self.drop and number % DROP_EVERY == DROP_EVERY - 1:
            CACHES.write_text("2\n")
        self.random.choice(self.doings)()

    def make(self) -> None:
        name, content = self.name(), data_of(self.random.randrange(1 << 30), self.random.randrange(300))
        self.both("make", lambda root: (root / name).write_bytes(content))

    def make_directory(self) -> None:
        """With something in it, and renamed: what is written then is in it and nowhere else."""
        name, new, content = self.name(), self.name(), data_of(self.random.randrange(1 << 30), 50)
        self.both("mkdir", lambda root: os.mkdir(root / name))
        self.both("fill", lambda root: (root / name / "inner").write_bytes(content))
        self.both("move", lambda root: os.rename(root / name, root / new))
        self.both("inner", lambda root: (root / new / "inner").read_bytes())

    def rename(self) -> None:
        old, new = self.name(), self.name()
        self.both("rename", lambda root: os.rename(root / old, root / new))

    def replace(self) -> None:
        where = self.random.choice(WORKED_IN)
        name, content = self.name(where), data_of(self.random.randrange(1 << 30), 30)

        def act(root: Path) -> None:
            (root / where / ".new").write_bytes(content)
            try:
                os.replace(root / where / ".new", root / name)
            finally:
                outcome(lambda: os.unlink(root / where / ".new"))

        self.both("replace", act)

    def remove(self) -> None:
        name = self.name()
        self.both("remove", lambda root: os.unlink(root / name))

    def remove_directory(self) -> None:
        name = self.name()
        self.both("emptied", lambda root: os.unlink(root / name / "inner"))
        self.both("rmdir", lambda root: os.rmdir(root / name))

    def link(self) -> None:
        old, new = self.name(), self.name()
        self.both("link", lambda root: os.link(root / old, root / new))

    def symlink(self) -> None:
        name = self.name()
        self.both("symlink", lambda root: os.symlink("n1", root / name))
        self.both("readlink", lambda root: os.readlink(root / name))

    def look(self) -> None:
        name = self.name()
        self.both("look", lambda root: shown(os.lstat(root / name)))

    def read(self) -> None:
        name = self.name()
        self.both("read", lambda root: (root / name).read_bytes())

    def list(self) -> None:
        where = self.random.choice(WORKED_IN)
        self.both("list", lambda root: sorted(os.listdir(root / where)))

    def list_wide(self) -> None:
        """Pushes others out of the bound."""
        where = self.random.choice(WIDE_ONES)
        self.both("list wide", lambda root: sorted(os.listdir(root / where)))

    def read_wide(self) -> None:
        name = f"{self.random.choice(WIDE_ONES)}/f{self.random.randrange(WIDE + 10):04}"
        self.both("read wide", lambda root: (root / name).read_bytes())

    def begin_to_read(self) -> None:
        """A directory at the bound, whose names are not all told for a while."""
        if len(self.readers) < 3:
            self.readers.append(os.scandir(self.here / self.random.choice(WIDE_ONES)))

    def read_on(self) -> None:
        """To the end: what was there all the while was told."""
        if self.readers:
            names = sorted(entry.name for entry in self.readers.pop(0))
            assert names == [f"f{number:04}" for number in range(WIDE)]
            self.tally["read on"] += 1


def work(make_mount: MakeMount, tmp_path: Path, backing: Path, seed: int, steps: int, drop: bool) -> None:
    """``steps`` steps, with everything compared at the end."""
    twin = tmp_path / "twin"
    for where in [*WIDE_ONES, *WORKED_IN]:
        (backing / where).mkdir()
    for where in [*WIDE_ONES, "p", "q"]:
        for number in range(WIDE):
            (backing / where / f"f{number:04}").write_bytes(b"%d" % number)
    shutil.copytree(backing, twin)
    mount = make_mount(f"dcache_max_size={BOUND}", backing=backing)
    worker = Worker(mount.path, twin, seed, drop)
    number = 0
    try:
        for number in range(steps):
            worker.step(number)
        for reader in worker.readers:
            list(reader)
        expected = everything(twin)
        assert everything(mount.path) == expected
        assert everything(backing) == expected
    except AssertionError as failed:
        failed.add_note(f"seed {seed}, step {number}, done before: {dict(worker.tally)}")
        raise
    assert min(worker.tally.values()) > 0 and len(worker.tally) >= 19, worker.tally


@pytest.mark.limit(240)
def test_a_small_mount_is_as_a_directory(make_mount: MakeMount, tmp_path: Path, backing: Path) -> None:
    work(make_mount, tmp_path, backing, seed=1, steps=STEPS, drop=False)


@pytest.mark.long
@pytest.mark.limit(7200)
def test_a_small_mount_is_as_a_directory_for_long(
    make_mount: MakeMount, tmp_path: Path, backing: Path
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    work(make_mount, tmp_path, backing, seed, LONG_STEPS, drop=os.access(CACHES, os.W_OK))
