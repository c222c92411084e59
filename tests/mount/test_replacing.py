"""A file replaced by rename while others open and read it: one version or the other, never a mixture."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from tests.conftest import MakeMount, Place
from tests.harness.counting import CountingProxy
from tests.harness.kernel import opened, read_all
from tests.harness.waiting import eventually

SAVES = 150
READERS = 3


def version(number: int) -> bytes:
    """Content that tells its version everywhere, each of another size."""
    return b"%08d" % number * (1000 + number)


def save(directory: Path, number: int) -> None:
    """As editors save: a new file, renamed over the old one."""
    fresh = directory / f"fresh{number % 3}"
    fresh.write_bytes(version(number))
    fresh.rename(directory / "f")


@pytest.mark.parametrize("where", ["here", "there"])
def test_readers_of_a_file_that_is_saved_again_and_again(place: Place, where: str) -> None:
    directory = getattr(place, where)
    save(place.there, 0)
    saved, over = 0, threading.Event()
    wrong: list[str] = []

    def read() -> None:
        while not over.is_set():
            floor = saved
            try:
                with opened(place.here / "f", os.O_RDONLY) as fd:
                    data = read_all(fd)
            except OSError as problem:
                if problem.errno == errno.ESTALE:
                    continue  # replaced twice while it was being opened
                wrong.append(f"{problem!r} at version {floor}")
                continue
            number = int(data[:8] or b"-1")
            if data != version(number):
                wrong.append(f"version {number} in {len(data)} bytes is not itself")
            elif where == "here" and number < floor:
                wrong.append(f"version {number} read after {floor} was saved")

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, SAVES + 1):
            save(directory, number)
            saved = number
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert not wrong, wrong[:5]
    with opened(place.here / "f", os.O_RDONLY) as fd:
        assert read_all(fd) == version(SAVES)


def test_a_file_replaced_on_the_server_gets_an_inode_of_its_own(place: Place) -> None:
    """What is open stays the file it was, with its bytes."""
    (place.there / "f").write_bytes(b"old " * 100_000)
    with opened(place.here / "f", os.O_RDONLY) as old:
        number = os.fstat(old).st_ino
        assert os.pread(old, 4, 0) == b"old "
        (place.there / "fresh").write_bytes(b"fresh " * 50_000)
        (place.there / "fresh").rename(place.there / "f")
        with opened(place.here / "f", os.O_RDONLY) as new:
            assert read_all(new) == b"fresh " * 50_000
            assert os.fstat(new).st_ino != number
            assert read_all(old) == b"old " * 100_000
            assert os.fstat(old).st_ino == number
            assert os.fstat(old).st_size == 400_000
            assert read_all(new) == b"fresh " * 50_000


def test_a_file_that_grows_on_the_server_keeps_its_inode(place: Place) -> None:
    """tail -F takes another inode for another file."""
    (place.there / "log").write_bytes(b"line\n")
    with opened(place.here / "log", os.O_RDONLY) as fd:
        number = os.fstat(fd).st_ino
        for count in range(2, 30):
            with open(place.there / "log", "ab") as file:
                file.write(b"line\n")
            with opened(place.here / "log", os.O_RDONLY) as again:
                assert read_all(again) == b"line\n" * count
                assert os.fstat(again).st_ino == number
        assert read_all(fd) == b"line\n" * 29


def test_a_file_replaced_and_removed_while_its_name_is_looked_up(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """What is open is not taken for what had its name for a moment: it would be shown longer than it is."""
    (backing / "f").write_bytes(version(1))
    mount = make_mount("dir_cache=no", "max_conns=1", port=counting_proxy.port, backing=backing)
    with opened(mount.path / "f", os.O_RDONLY) as fd:
        assert read_all(fd) == version(1)
        save(backing, 2)
        counting_proxy.set_latency(1.0)
        counting_proxy.reset()
        seen: list[os.stat_result] = []

        def look() -> None:
            try:
                seen.append(os.stat(mount.path / "f"))
            except FileNotFoundError:
                pass  # as true

        looking = threading.Thread(target=look)
        looking.start()
        eventually(lambda: counting_proxy.read().requests.get("LSTAT"), what="the name looked up")
        (backing / "f").unlink()  # before the second look, which tells whether it is another file
        looking.join()
        counting_proxy.set_latency(0.0)
        assert not any(one.st_ino == os.fstat(fd).st_ino for one in seen)
        assert os.fstat(fd).st_size == len(version(1))
        assert read_all(fd) == version(1)
