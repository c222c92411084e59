"""What time a file has while it is written: that of a program's last look at what it wrote stays true.

Editors and file managers compare it with the file's later ("changed on disk"). The server's clock is set on
by ``AHEAD`` behind the mount's back, so that a time that is not the server's own word is another one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.conftest import MakeMount
from tests.harness.command import say
from tests.harness.counting import CountingProxy
from tests.harness.kernel import opened
from tests.harness.mounts import Mount

T = TypeVar("T")

AHEAD = 7

PAGE = 4096
WRITES = 64

LIMIT = 30.0
"""Seconds a look has that is to wait for no answer; requests have ``timeout=100``."""


@pytest.fixture
def mount(make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path) -> Mount:
    """One that has learned how the server's clock stands, which was set on since."""
    (backing / "old").write_bytes(b"old")
    made = make_mount("max_conns=1", "timeout=100", port=counting_proxy.port, backing=backing)
    (made.path / "mine").touch()
    counting_proxy.set_clock(AHEAD)
    return made


def of_server(path: Path) -> int:
    """The mtime the server tells of ``path``, as it is there; nanoseconds."""
    return (int(os.stat(path).st_mtime) + AHEAD) * 10**9


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("new", os.O_CREAT | os.O_EXCL),
        ("old", os.O_TRUNC),
        ("old", 0),
        ("old", os.O_APPEND),
        ("new", os.O_CREAT | os.O_SYNC),
        ("new", os.O_CREAT | os.O_DIRECT),
    ],
    ids=["new", "emptied", "written in", "appended to", "synchronous", "direct"],
)
def test_the_time_told_after_the_last_write_is_the_time_after_close(
    mount: Mount, backing: Path, name: str, flags: int
) -> None:
    path = mount.path / name
    with opened(path, os.O_WRONLY | flags) as fd:
        os.write(fd, b"first")
        os.fstat(fd)
        os.write(fd, b"last")
        by_descriptor, by_name = os.fstat(fd).st_mtime_ns, os.stat(path).st_mtime_ns
    assert by_descriptor == by_name == of_server(backing / name)
    assert os.stat(path).st_mtime_ns == by_descriptor
    assert say("refresh", path).status == 0
    assert os.stat(path).st_mtime_ns == by_descriptor


def test_a_look_at_what_was_written_asks_what_close_would_have(
    mount: Mount, counting_proxy: CountingProxy
) -> None:
    counts = []
    for name in ("one", "two"):
        counting_proxy.reset()
        with opened(mount.path / name, os.O_WRONLY | os.O_CREAT) as fd:
            os.write(fd, b"data")
            if name == "two":
                os.fstat(fd)
                os.fstat(fd)
        count = counting_proxy.read()
        count.requests.pop("CLOSE", None)  # waited for by nobody
        counts.append((count.waits, count.requests))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    "look",
    [lambda fd: os.pread(fd, 1, 0), lambda fd: os.lseek(fd, 0, os.SEEK_END)],
    ids=["read", "seek"],
)
def test_who_reads_between_writes_waits_for_no_time_and_is_told_it_later(
    mount: Mount, counting_proxy: CountingProxy, backing: Path, look: Callable[[int], object]
) -> None:
    path = mount.path / "old"
    (backing / "old").write_bytes(bytes(PAGE * WRITES))
    with opened(path, os.O_RDWR) as fd:
        os.pread(fd, PAGE * WRITES, 0)
        os.pwrite(fd, b"x", 0)
        counting_proxy.reset()
        for number in range(WRITES):
            os.pwrite(fd, b"x", PAGE * number)
            look(fd)
        # None is sent for a look: what is written goes after a second, and is looked at then.
        assert counting_proxy.read().requests.get("FSTAT", 0) < WRITES // 2
        assert os.fstat(fd).st_mtime_ns == of_server(backing / "old")
    assert os.stat(path).st_mtime_ns == of_server(backing / "old")


def test_preallocating_what_is_there_waits_for_no_answer(
    mount: Mount, counting_proxy: CountingProxy, backing: Path
) -> None:
    (backing / "old").write_bytes(bytes(PAGE * WRITES))
    with opened(mount.path / "old", os.O_RDWR) as fd:
        counting_proxy.reset()
        os.posix_fallocate(fd, 0, PAGE * WRITES)
        assert counting_proxy.read().requests.get("FSTAT", 0) < WRITES // 2
    assert (backing / "old").read_bytes() == bytes(PAGE * WRITES)


WRITER = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
print("opened", flush=True)
sys.stdin.readline()
os.write(fd, b"data")
print("written", flush=True)
sys.stdin.readline()
"""


@contextmanager
def writer(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that has opened ``path``; it writes at the next line it is given, and ends at one more."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout.readline() == "opened\n"
            yield program
        finally:
            program.stdin.close()
            program.wait()


def test_who_does_not_write_is_told_at_once_and_asks_again(
    mount: Mount, counting_proxy: CountingProxy, backing: Path
) -> None:
    path = mount.path / "new"
    with writer(path) as program, opened(path, os.O_RDONLY) as reading:
        counting_proxy.hold_replies("WRITE")
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "written\n"
        seen = within_the_limit(lambda: (os.fstat(reading), os.stat(path), os.lstat(path)))
        for one in seen:
            assert (one.st_size, one.st_mtime_ns % 10**9, one.st_ctime_ns % 10**9 >= 0) == (4, 0, True)
        counting_proxy.deliver_replies()
    assert program.returncode == 0
    assert os.stat(path).st_mtime_ns == of_server(backing / "new")


def within_the_limit(look: Callable[[], T]) -> T:
    """What ``look`` returns in another thread, which has to be there within ``LIMIT``."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(look()), daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert found, "it waits"
    return found[0]


def test_another_thread_is_held_up_once_by_what_takes_long(
    mount: Mount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """One that shows how far the writing is."""
    path = mount.path / "new"
    with opened(path, os.O_WRONLY | os.O_CREAT) as fd:
        counting_proxy.hold_replies("WRITE")
        os.write(fd, b"data")
        for _ in range(3):
            assert within_the_limit(lambda: os.fstat(fd)).st_size == 4
        counting_proxy.deliver_replies()
        assert os.fstat(fd).st_mtime_ns == of_server(backing / "new")
        os.write(fd, b"more")
        assert within_the_limit(lambda: os.fstat(fd)).st_mtime_ns == of_server(backing / "new")


@pytest.mark.parametrize("renamed", [False, True], ids=["", "renamed"])
def test_a_child_with_the_descriptor_is_told_the_time_after_close(
    mount: Mount, backing: Path, renamed: bool
) -> None:
    path = mount.path / "new"
    with opened(path, os.O_WRONLY | os.O_CREAT) as fd:
        if renamed:
            os.rename(path, path := mount.path / "renamed")
        os.write(fd, b"data")
        look = "import os, sys; print(os.fstat(int(sys.argv[1])).st_mtime_ns)"
        child = [sys.executable, "-c", look, str(fd)]
        told = subprocess.run(child, pass_fds=[fd], capture_output=True, check=True, timeout=LIMIT)
    assert int(told.stdout) == os.stat(path).st_mtime_ns == of_server(backing / path.name)


def test_while_the_server_is_away_nobody_waits(mount: Mount, counting_proxy: CountingProxy) -> None:
    path = mount.path / "new"

    def look() -> os.stat_result:
        with opened(path, os.O_WRONLY | os.O_CREAT) as fd:
            counting_proxy.pause()
            try:
                os.write(fd, b"data")
                return os.fstat(fd)
            finally:
                counting_proxy.resume()

    assert within_the_limit(look).st_size == 4
    assert os.stat(path).st_size == 4


def test_a_time_that_was_set_is_told_as_it_was(mount: Mount, counting_proxy: CountingProxy) -> None:
    path = mount.path / "new"
    with opened(path, os.O_WRONLY | os.O_CREAT) as fd:
        os.write(fd, b"data")
        os.fstat(fd)
        os.utime(fd, (1_000_000_000, 1_000_000_000))
        assert os.fstat(fd).st_mtime == 1_000_000_000
    assert os.stat(path).st_mtime == 1_000_000_000
