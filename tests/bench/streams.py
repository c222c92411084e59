"""Big files: read and written, in order, at random, by several, in small pieces, beside listings."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from pathlib import Path

from tests.bench.dataset import BLOCK, FILES_PER_PLACE, MIB, PLACES, READERS, SEED, Sizes, block, is_block
from tests.bench.results import percentile
from tests.bench.steps import Measured, Place, Stopwatch, Workload

PIECE = 4096
ALONE = 1.5
"""Seconds a stream runs by itself before listings join it."""
RISE = 0.5
"""Seconds a stream has to get up to speed before it is looked at."""

_forking = multiprocessing.get_context("fork")


def check_file(path: Path, size: int, first: int = 0) -> None:
    """Read ``path`` to its end. AssertionError unless it holds the blocks from ``first`` on."""
    with open(path, "rb", buffering=0) as file:
        for number in range(size // BLOCK):
            data = file.read(BLOCK)
            while len(data) < BLOCK:
                more = file.read(BLOCK - len(data))
                assert more, f"{path.name} ends within block {number}"
                data += more
            assert is_block(data, first + number), f"wrong bytes in block {number} of {path.name}"
        assert not file.read(1), f"{path.name} is too long"


def _speed(size: int, seconds: float) -> dict[str, float]:
    return {"MB/s": size / 1e6 / seconds}


def read(place: Place) -> Measured:
    """One file from its begin to its end."""
    size = place.data.sizes.read
    with Stopwatch() as watch:
        check_file(place.here / "big", size)
    return Measured(watch.seconds, _speed(size, watch.seconds))


def _write(place: Place, size: int, piece: int, sync: bool) -> Measured:
    blocks = [block(number) for number in range(size // BLOCK)]
    with Stopwatch() as watch:
        fd = os.open(place.work / "written", os.O_CREAT | os.O_WRONLY, 0o644)
        try:
            for data in blocks:
                for start in range(0, BLOCK, piece):
                    part = data[start : start + piece] if piece < BLOCK else data
                    assert os.write(fd, part) == len(part)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
    check_file(place.written / "written", size)
    return Measured(watch.seconds, _speed(size, watch.seconds))


def write(place: Place) -> Measured:
    """One file in pieces of 1 MiB, fsync and close included."""
    return _write(place, place.data.sizes.write, BLOCK, sync=True)


def write_small(place: Place) -> Measured:
    """One file in pieces of 4 KiB, close included."""
    return _write(place, place.data.sizes.small_writes, PIECE, sync=False)


def read_random(place: Place) -> Measured:
    """Pieces of 4 KiB anywhere in one file."""
    rng = random.Random(SEED)
    sizes = place.data.sizes
    offsets = [rng.randrange(sizes.read // PIECE) * PIECE for _ in range(sizes.random_reads)]
    whole = [block(offset // BLOCK)[offset % BLOCK :][:PIECE] for offset in offsets]
    with Stopwatch() as watch:
        fd = os.open(place.here / "big", os.O_RDONLY)
        pieces = [os.pread(fd, PIECE, offset) for offset in offsets]
        os.close(fd)
    assert pieces == whole, "wrong bytes"
    return Measured(watch.seconds, {"asked": float(PIECE * len(offsets))})


def read_parallel(place: Place) -> Measured:
    """Several files at once, a process for each."""
    size = place.data.sizes.read
    readers = [
        _forking.Process(
            target=check_file, args=(place.here / f"part{reader}", size // READERS, reader * size)
        )
        for reader in range(READERS)
    ]
    with Stopwatch() as watch:
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    assert all(reader.exitcode == 0 for reader in readers), "a reader found wrong bytes"
    return Measured(watch.seconds, _speed(size, watch.seconds))


def list_beside_stream(place: Place) -> Measured:
    """How long a cold listing takes, at the 95th percentile, while another process streams."""
    places = [f"place{number:02}" for number in range(PLACES)]
    top = place.here / "places"
    assert sorted(os.listdir(top)) == places
    random.Random(SEED).shuffle(places)
    read_bytes = _forking.Value("q", 0)
    streamer = _forking.Process(target=_stream, args=(place.here / "endless", read_bytes))
    streamer.start()
    try:
        time.sleep(RISE)
        alone = _rate(read_bytes.value, time.perf_counter())
        time.sleep(ALONE)
        speed_alone = alone(read_bytes.value)
        beside = _rate(read_bytes.value, time.perf_counter())
        waits = []
        for name in places:
            with Stopwatch() as watch:
                names = os.listdir(top / name)
            assert len(names) == FILES_PER_PLACE
            waits.append(watch.seconds)
        speed = beside(read_bytes.value)
        assert streamer.is_alive(), "the stream found wrong bytes"
    finally:
        streamer.kill()
        streamer.join()
    figures = {"MB/s": speed, "of alone": speed / speed_alone, "median": percentile(waits, 0.5)}
    return Measured(percentile(waits, 0.95), figures)


class _rate:
    """MB/s since it was made."""

    def __init__(self, at: int, when: float) -> None:
        self._at, self._when = at, when

    def __call__(self, now: int) -> float:
        return (now - self._at) / 1e6 / (time.perf_counter() - self._when)


def _stream(path: Path, read_bytes: object) -> None:
    """Read a file of zeros until killed."""
    zeros = bytes(BLOCK)
    with open(path, "rb", buffering=0) as file:
        while data := file.read(BLOCK):
            if data != zeros[: len(data)]:
                return
            read_bytes.value += len(data)  # type: ignore[attr-defined]


def workloads(sizes: Sizes) -> list[Workload]:
    """The rows of this module."""
    parts = tuple(f"part{reader}" for reader in range(READERS))
    total, written, small = (size // MIB for size in (sizes.read, sizes.write, sizes.small_writes))
    return [
        Workload("read", f"read {total} MiB, sequential", read, ("big",), units=total),
        Workload("write", f"write {written} MiB + fsync", write, units=written),
        Workload(
            "random",
            f"{sizes.random_reads:,} random 4 KiB reads",
            read_random,
            ("big",),
            units=sizes.random_reads,
        ),
        Workload("readers", f"{READERS} readers, {total} MiB in all", read_parallel, parts),
        Workload("small-writes", f"write {small} MiB in 4 KiB pieces", write_small, units=small),
        Workload("ls-stream", "p95 of a cold ls beside a stream", list_beside_stream, ("places",)),
    ]
