"""Files whose open asked nobody, for they were fetched ahead: the same file whatever is done to it here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually

FILES = 60
READ = 25
"""Files read one after another: the next ones are fetched meanwhile."""

DELAY = 0.01


def content(name: str) -> bytes:
    return f"{name}\n".encode() * 600


class Memory:
    """A directory of which a reader has read the beginning."""

    def __init__(self, mount: Mount, proxy: CountingProxy, backing: Path) -> None:
        self.path = mount.path / "files"
        self.proxy = proxy
        self.backing = backing / "files"
        self.left = iter(sorted(os.listdir(self.path))[READ:])

    def opened(self) -> tuple[Path, int]:
        """The next file that can be opened without asking, and a descriptor."""
        for name in self.left:
            before = self.proxy.read().requests.get("OPEN", 0)
            descriptor = os.open(self.path / name, os.O_RDONLY)
            if self.proxy.read().requests.get("OPEN", 0) == before:
                return self.path / name, descriptor
            os.close(descriptor)
        raise AssertionError("no open was answered from memory")


@pytest.fixture
def memory(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path, request: pytest.FixtureRequest
) -> Iterator[Memory]:
    """The files were changed a minute ago, or the parameter's seconds."""
    (backing / "files").mkdir()
    changed = time.time() - getattr(request, "param", 60)
    for number in range(FILES):
        file = backing / "files" / f"{number:03}"
        file.write_bytes(content(file.name))
        os.utime(file, (changed, changed))
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    counting_proxy.set_latency(DELAY)
    memory = Memory(mount, counting_proxy, backing)
    counting_proxy.reset()
    for number in range(READ):
        assert (memory.path / f"{number:03}").read_bytes() == content(f"{number:03}")
    eventually(lambda: counting_proxy.ask("outstanding")["outstanding"] == 0, what="nothing under way")
    yield memory
    counting_proxy.set_latency(0)


FOLLOWED = 10.0
"""Seconds until a change is seen of what is asked for about every second: half of the lease."""


def grows(memory: Memory, path: Path, descriptor: int) -> None:
    """Another client appends to the file, and its reader goes on."""
    size = os.fstat(descriptor).st_size
    assert os.read(descriptor, 1 << 20) == content(path.name)
    with open(memory.backing / path.name, "ab") as there:
        there.write(b"more")
    eventually(lambda: os.fstat(descriptor).st_size == size + 4, FOLLOWED, "it has grown")
    assert os.read(descriptor, 100) == b"more"


def test_one_that_grows_as_it_is_opened_is_followed(memory: Memory) -> None:
    """It is opened on the server a second later: that tells."""
    path, descriptor = memory.opened()
    try:
        grows(memory, path, descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("memory", [3], indirect=True)
def test_one_that_was_changed_lately_is_followed(memory: Memory) -> None:
    path, descriptor = memory.opened()
    try:
        before = memory.proxy.read().requests.get("OPEN", 0)
        eventually(lambda: memory.proxy.read().requests.get("OPEN", 0) > before, what="opened on the server")
        grows(memory, path, descriptor)
    finally:
        os.close(descriptor)


def emptied(path: Path) -> bytes:
    path.write_bytes(b"saved")
    return b"saved"


def appended(path: Path) -> bytes:
    with path.open("ab") as file:
        file.write(b"more")
    return content(path.name) + b"more"


def cut(path: Path) -> bytes:
    os.truncate(path, 5)
    return content(path.name)[:5]


def forbidden(path: Path) -> bytes:
    path.chmod(0)
    return content(path.name)


def overwritten(path: Path) -> bytes:
    with path.open("r+b") as file:
        file.write(b"over")
    return b"over" + content(path.name)[4:]


def removed(path: Path) -> bytes:
    path.unlink()
    return content(path.name)


def replaced(path: Path) -> bytes:
    aside = path.with_name("new")
    aside.write_bytes(b"another file")
    aside.rename(path)
    return content(path.name)


def opened(path: Path) -> bytes:
    """What is in memory is dropped; then another client replaces the file."""
    path.open("ab").close()
    return replaced(path)


CHANGES = [emptied, appended, cut, forbidden, overwritten, removed, replaced, opened]


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__)
def test_who_has_it_open_keeps_the_file(memory: Memory, change: Callable[[Path], bytes]) -> None:
    path, descriptor = memory.opened()
    try:
        expected = change(path)
        if change is not removed:
            with path.open("ab"):  # drops what is kept of the file that has the name
                pass
        assert os.pread(descriptor, 100000, 0) == expected
        assert os.fstat(descriptor).st_size == len(expected)
        if change not in (removed, replaced, opened):
            assert os.fstat(descriptor).st_ino == path.stat().st_ino
    finally:
        os.close(descriptor)


def test_fsync_asks_the_server(memory: Memory) -> None:
    """What is open to read was written before, by who closed it since."""
    _, descriptor = memory.opened()
    try:
        before = memory.proxy.read().requests.get("fsync@openssh.com", 0)
        os.fsync(descriptor)
        assert memory.proxy.read().requests["fsync@openssh.com"] == before + 1
    finally:
        os.close(descriptor)
