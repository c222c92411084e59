"""Random use of one file through real mounts, against a shadow copy in memory."""

from __future__ import annotations

import mmap
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.kernel import read_all

LARGEST = 1 << 20
"""Bytes of the file: several chunks, small enough that everything is hit again and again."""

LONGEST = 40_000

MILLION = 1_000_000
"""Operations of the long run, over all kinds and seeds."""


class Exerciser:
    """One file, its handles and what must be in it."""

    def __init__(self, path: Path, seed: int, handles: int, maps: bool) -> None:
        self.random = random.Random(seed)
        self.path = path
        self.maps = maps
        self.shadow = bytearray()
        self.handles = [os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(handles)]

    def range(self) -> tuple[int, int]:
        """Somewhere in the largest file, mostly short."""
        length = min(int(self.random.expovariate(1 / 3000)) + 1, LONGEST)
        return self.random.randrange(LARGEST - length), length

    def handle(self) -> int:
        return self.random.choice(self.handles)

    def read(self) -> None:
        offset, length = self.range()
        found = os.pread(self.handle(), length, offset)
        assert found == self.shadow[offset : offset + length], f"read {length} at {offset}"

    def write(self) -> None:
        offset, length = self.range()
        data = self.random.randbytes(length)
        assert os.pwrite(self.handle(), data, offset) == length
        self.put(offset, data)

    def put(self, offset: int, data: bytes) -> None:
        """Into the shadow."""
        self.shadow.extend(bytes(max(0, offset + len(data) - len(self.shadow))))
        self.shadow[offset : offset + len(data)] = data

    def truncate(self) -> None:
        size = self.random.randrange(LARGEST)
        if self.random.random() < 0.5:
            os.ftruncate(self.handle(), size)
        else:
            os.truncate(self.path, size)
        del self.shadow[size:]
        self.shadow.extend(bytes(size - len(self.shadow)))

    def map(self) -> None:
        """Read and write through a shared map, then msync."""
        if not self.shadow or not self.maps:
            return
        with mmap.mmap(self.handle(), len(self.shadow)) as memory:
            offset = self.random.randrange(len(self.shadow))
            data = self.random.randbytes(min(3000, len(self.shadow) - offset))
            assert memory[offset : offset + 5000] == self.shadow[offset : offset + 5000], f"map at {offset}"
            memory[offset : offset + len(data)] = data
            memory.flush()
            self.put(offset, data)

    def reopen(self) -> None:
        index = self.random.randrange(len(self.handles))
        os.close(self.handles[index])
        self.handles[index] = os.open(self.path, os.O_RDWR)

    def check(self) -> None:
        """The size, and all of it."""
        assert os.stat(self.path).st_size == len(self.shadow)
        assert read_all(self.handle()) == self.shadow

    def run(self, operations: int) -> None:
        """As many, weighted; the seed decides all of them."""
        kinds = [self.read, self.write, self.truncate, self.map, self.reopen, self.check]
        for number, kind in enumerate(self.random.choices(kinds, [700, 250, 12, 30, 4, 1], k=operations)):
            try:
                kind()
            except AssertionError as problem:
                raise AssertionError(f"operation {number}, {kind.__name__}: {problem}") from None


@contextmanager
def exerciser(path: Path, seed: int, handles: int, maps: bool = True) -> Iterator[Exerciser]:
    """Its handles closed, whatever comes."""
    one = Exerciser(path, seed, handles, maps)
    try:
        yield one
    finally:
        for handle in one.handles:
            os.close(handle)


KINDS = {
    "cached": ((), 1, 20_000),
    "two-handles": ((), 2, 20_000),
    "no-cache": (("dir_cache=no",), 2, 12_000),
    "direct_io": (("direct_io",), 2, 8_000),
}
"""Options, handles, operations in the test command: fewer where each waits for the server."""

SEEDS = range(2, 7)


def exercise(make_mount: MakeMount, kind: str, seed: int, count: int) -> None:
    """A whole run on a mount of its own."""
    options, handles, _ = KINDS[kind]
    mount = make_mount(*options)
    with exerciser(mount.path / "f", seed, handles, maps="direct_io" not in options) as one:
        one.run(count)
    assert (mount.backing / "f").read_bytes() == one.shadow


@pytest.mark.limit(900)
@pytest.mark.parametrize("kind", KINDS)
def test_random_use_of_a_file(make_mount: MakeMount, kind: str) -> None:
    exercise(make_mount, kind, 1, KINDS[kind][2])


@pytest.mark.long
@pytest.mark.limit(3600)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_random_use_of_a_file_a_million_times(make_mount: MakeMount, kind: str, seed: int) -> None:
    exercise(make_mount, kind, seed, MILLION // (len(KINDS) * len(SEEDS)))
