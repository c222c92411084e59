"""What is measured. Each workload verifies what it read or wrote."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.harness.mounts import Mount

MIB = 1 << 20
BLOCK = MIB
FILES_PER_DIRECTORY = 30
DIRECTORIES = 30


@dataclass(frozen=True)
class Sizes:
    """How much is moved, in bytes."""

    sequential: int
    small_writes: int
    memory: int


FULL = Sizes(512 * MIB, 64 * MIB, 2048 * MIB)
QUICK = Sizes(64 * MIB, 8 * MIB, 512 * MIB)

_base = random.Random(11).randbytes(BLOCK)


def block(number: int) -> bytes:
    """Block ``number`` of every test file: BLOCK bytes, no two blocks the same."""
    return number.to_bytes(8, "big") + _base[8:]


def drop_caches() -> None:
    """Have the kernel forget clean pages, names and inodes."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def prepare(backing: Path, sizes: Sizes) -> None:
    """What the workloads read."""
    with open(backing / "big", "wb") as file:
        for number in range(sizes.sequential // BLOCK):
            file.write(block(number))
    with open(backing / "huge", "wb") as file:
        file.truncate(sizes.memory)
    for directory in range(DIRECTORIES):
        path = backing / "tree" / f"directory{directory:02}"
        path.mkdir(parents=True)
        for number in range(FILES_PER_DIRECTORY):
            (path / f"file{number:02}").write_bytes(b"x" * number)


def read_sequentially(mount: Mount, sizes: Sizes) -> float:
    """MB/s of reading one big file."""
    begin = time.perf_counter()
    with open(mount.path / "big", "rb", buffering=0) as file:
        for number in range(sizes.sequential // BLOCK):
            data = file.read(BLOCK)
            while len(data) < BLOCK:
                more = file.read(BLOCK - len(data))
                assert more, "file too short"
                data += more
            assert data == block(number), f"wrong bytes in block {number}"
        assert not file.read(1)
    return sizes.sequential / 1e6 / (time.perf_counter() - begin)


def _write(mount: Mount, total: int, piece: int) -> float:
    with open("/dev/urandom", "rb") as entropy:
        name = "written-" + entropy.read(6).hex()
    blocks = [block(number) for number in range(total // BLOCK)]
    begin = time.perf_counter()
    fd = os.open(mount.path / name, os.O_CREAT | os.O_WRONLY, 0o644)
    for data in blocks:
        for start in range(0, BLOCK, piece):
            part = data[start : start + piece] if piece < BLOCK else data
            assert os.write(fd, part) == len(part)
    os.close(fd)
    taken = time.perf_counter() - begin
    with open(mount.backing / name, "rb") as file:
        for number, data in enumerate(blocks):
            assert file.read(BLOCK) == data, f"wrong bytes in block {number}"
        assert not file.read(1)
    os.unlink(mount.backing / name)
    return total / 1e6 / taken


def write_sequentially(mount: Mount, sizes: Sizes) -> float:
    """MB/s of writing one big file, close included."""
    return _write(mount, sizes.sequential, BLOCK)


def write_small(mount: Mount, sizes: Sizes) -> float:
    """MB/s of writing in pieces of 4 KiB, close included."""
    return _write(mount, sizes.small_writes, 4096)


def list_tree(mount: Mount, _sizes: Sizes) -> float:
    """Seconds of a cold ``ls -lR``."""
    begin = time.perf_counter()
    done = subprocess.run(["ls", "-lR", mount.path / "tree"], capture_output=True, check=True, timeout=600)
    taken = time.perf_counter() - begin
    assert done.stdout.count(b" file") == DIRECTORIES * FILES_PER_DIRECTORY
    return taken


def proportional_memory(pids: set[int]) -> float:
    """MB of memory of ``pids``, shared pages divided among their users (PSS)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total * 1024 / 1e6


def memory(mount: Mount, sizes: Sizes) -> float:
    """MB held by all processes of the mount after reading a huge file."""
    read = 0
    with open(mount.path / "huge", "rb", buffering=0) as file:
        while data := file.read(BLOCK):
            read += len(data)
    assert read == sizes.memory
    return proportional_memory(mount.family())


@dataclass(frozen=True)
class Workload:
    """One line of the table."""

    name: str
    unit: str
    run: Callable[[Mount, Sizes], float]
    more_is_better: bool
    repeats: bool = True


WORKLOADS = [
    Workload("sequential read", "MB/s", read_sequentially, True),
    Workload("sequential write", "MB/s", write_sequentially, True),
    Workload("4 KiB writes", "MB/s", write_small, True),
    Workload("cold ls -lR, 900 files", "s", list_tree, False),
    Workload("memory after a long read", "MB", memory, False, repeats=False),
]
