"""Many at once."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading

import pytest

from tests.conftest import Place

WORKERS = 8

WORKER = r"""
import hashlib, os, random, sys
root, number = sys.argv[1], int(sys.argv[2])
chance = random.Random(number)
shared = os.path.join(root, "shared")
own = os.path.join(root, f"own{number}")
os.mkdir(own)
digest = hashlib.sha256(open(shared, "rb").read()).hexdigest()
assert digest == sys.argv[3], "shared file read wrong"
known = {}
for turn in range(40):
    name = os.path.join(own, f"f{chance.randrange(8)}")
    what = chance.randrange(5)
    if what <= 1:
        data = chance.randbytes(chance.randrange(400_000))
        with open(name, "wb") as file:
            file.write(data)
        known[name] = data
    elif what == 2 and name in known:
        data = chance.randbytes(1000)
        at = chance.randrange(len(known[name]) + 1)
        with open(name, "r+b") as file:
            file.seek(at)
            file.write(data)
        known[name] = known[name][:at] + data + known[name][at + 1000:]
    elif what == 3 and name in known:
        new = name + f".{turn}"
        os.rename(name, new)
        known[new] = known.pop(name)
    elif name in known:
        assert open(name, "rb").read() == known[name], name
for name, data in known.items():
    assert open(name, "rb").read() == data, name
assert sorted(os.listdir(own)) == sorted(os.path.basename(name) for name in known)
for name, data in sorted(known.items()):
    print(os.path.basename(name), hashlib.sha256(data).hexdigest())
"""


@pytest.mark.limit(240)
def test_eight_processes_read_and_write_at_once(place: Place) -> None:
    data = random.Random(0).randbytes(8 << 20)
    (place.there / "shared").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, place.here, str(number), digest],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(WORKERS)
    ]
    for number, worker in enumerate(workers):
        output, problem = worker.communicate(timeout=200)
        assert worker.returncode == 0, problem.decode()
        expected = dict(line.split() for line in output.decode().splitlines())
        own = place.there / f"own{number}"
        found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in own.iterdir()}
        assert found == expected


def together(number: int, action) -> list[object]:  # type: ignore[no-untyped-def]
    """Run ``action(n)`` in ``number`` threads starting at once; results or OSErrors."""
    barrier = threading.Barrier(number)
    results: list[object] = [None] * number

    def run(index: int) -> None:
        barrier.wait(30)
        try:
            results[index] = action(index)
        except OSError as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results


def test_one_of_many_exclusive_creates_wins(place: Place) -> None:
    for turn in range(5):
        name = place.here / f"lock{turn}"

        def create(_index: int, name: os.PathLike[str] = name) -> bool:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            return True

        results = together(8, create)
        assert results.count(True) == 1
        assert all(result is True or isinstance(result, FileExistsError) for result in results), results


def test_one_of_many_mkdirs_wins(place: Place) -> None:
    results = together(8, lambda _index: os.mkdir(place.here / "d"))
    assert results.count(None) == 1
    assert all(result is None or isinstance(result, FileExistsError) for result in results), results


def test_many_lookups_of_one_name(place: Place) -> None:
    (place.there / "f").write_bytes(b"123")
    results = together(16, lambda _index: os.stat(place.here / "f").st_size)
    assert results == [3] * 16


def test_appends_from_many_threads_all_arrive(place: Place) -> None:
    """Each line whole: O_APPEND writes of one mount do not overwrite each other."""
    name = place.here / "log"
    name.touch()

    def append(index: int) -> None:
        with open(name, "ab", 0) as file:
            for number in range(25):
                file.write(b"%d-%03d\n" % (index, number))

    assert together(6, append) == [None] * 6
    lines = (place.there / "log").read_bytes().split()
    assert sorted(lines) == sorted(b"%d-%03d" % (index, number) for index in range(6) for number in range(25))


def test_writers_of_different_parts_of_one_file(place: Place) -> None:
    part = 300_000
    (place.here / "f").touch()

    def write(index: int) -> None:
        with open(place.here / "f", "r+b") as file:
            file.seek(index * part)
            file.write(bytes([65 + index]) * part)

    assert together(6, write) == [None] * 6
    assert (place.there / "f").read_bytes() == b"".join(bytes([65 + index]) * part for index in range(6))


def test_readers_of_one_big_file(place: Place) -> None:
    data = random.Random(4).randbytes(6 << 20)
    (place.there / "f").write_bytes(data)

    def read(index: int) -> bool:
        with open(place.here / "f", "rb") as file:
            file.seek(index * 500_000)
            return file.read() == data[index * 500_000 :]

    assert together(8, read) == [True] * 8


def test_creating_and_removing_while_listing(place: Place) -> None:
    for number in range(100):
        (place.there / f"stays{number}").touch()

    def churn(index: int) -> None:
        for number in range(15):
            name = place.here / f"moves{index}-{number}"
            if index % 2:
                name.touch()
                os.unlink(name)
            else:
                names = set(os.listdir(place.here))
                assert {f"stays{n}" for n in range(100)} <= names

    assert together(6, churn) == [None] * 6
    assert len(os.listdir(place.here)) == 100
