"""What is asked for ahead and not used: bytes the server sent, against those that were needed.

Counted at the server, to the mount's end, so that what nobody waited for is in it.
"""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.bench.dataset import age, git, git_environment, make_tree
from tests.conftest import MakeMount
from tests.harness.counting import Count, CountingProxy
from tests.harness.mounts import Mount

TOLERATED = 1.25
"""Bytes sent for one that is needed: a fifth of what is sent may be in vain."""

LATENCY = 0.01
"""Seconds each reply is held: enough for what is asked ahead to be ahead."""


@pytest.fixture
def server(backing: Path, make_mount: MakeMount, counting_proxy: CountingProxy) -> Server:
    return Server(backing, make_mount, counting_proxy)


class Server:
    """What the server holds, and what it sends while a mount of it lives."""

    def __init__(self, backing: Path, make_mount: MakeMount, proxy: CountingProxy) -> None:
        self.backing = backing
        self._make_mount = make_mount
        self._proxy = proxy

    def mount(self) -> Mount:
        """A mount, counted from now."""
        self._proxy.set_latency(LATENCY)
        mount = self._make_mount("max_conns=1", port=self._proxy.port, backing=self.backing)
        self._proxy.reset()
        return mount

    def ended(self, mount: Mount) -> Count:
        """Everything sent for ``mount``, which ends."""
        mount.unmount()
        return self._proxy.read()


def size_of(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def files(directory: Path, names: list[str], size: int) -> None:
    """``names`` of ``size`` bytes each, and old."""
    directory.mkdir()
    for name in names:
        (directory / name).write_bytes(os.urandom(size))
    age(directory)


def directories(top: Path) -> int:
    return 1 + sum(path.is_dir() for path in top.rglob("*"))


def test_find_lists_what_it_lists_and_reads_nothing(server: Server) -> None:
    make_tree(server.backing / "tree", 120, 30)
    mount = server.mount()
    found = subprocess.run(
        ["find", mount.path / "tree", "-name", "*.py"], capture_output=True, check=True, timeout=60
    )
    assert found.stdout
    count = server.ended(mount)
    assert count.requests["OPENDIR"] == directories(server.backing / "tree")
    assert "DATA" not in count.sent


def test_find_of_two_levels_lists_little_below(server: Server) -> None:
    for one in range(20):
        for two in range(20):
            (server.backing / "top" / f"{one:02}" / f"{two:02}").mkdir(parents=True)
    mount = server.mount()
    subprocess.run(
        ["find", mount.path / "top", "-maxdepth", "2"], capture_output=True, check=True, timeout=60
    )
    count = server.ended(mount)
    assert count.requests["OPENDIR"] <= 21 * TOLERATED, count.requests


def test_git_status_fetches_the_files_it_compares(server: Server) -> None:
    repository = server.backing / "repository"
    make_tree(repository, 120, 25)
    git(repository, "init", "-q")
    (repository / ".gitignore").write_text("*.o\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "all")
    for number in range(100):
        (repository / f"module{number}.o").write_bytes(bytes(8000))
    age(repository)
    mount = server.mount()
    words = ["git", "-c", "safe.directory=*", "status", "--porcelain"]
    subprocess.run(words, cwd=mount.path / "repository", env=git_environment(), check=True, timeout=60)
    count = server.ended(mount)
    compared = git(repository, "ls-files").stdout.decode().split()
    needed = size_of([repository / name for name in [*compared, ".git/index"]])
    assert count.sent["DATA"] <= TOLERATED * needed, (count.sent, needed)


def test_random_reads_fetch_little_more(server: Server) -> None:
    size, piece, reads = 32 << 20, 4096, 300
    content = os.urandom(size)
    (server.backing / "big").write_bytes(content)
    age(server.backing)
    rng = random.Random(3)
    mount = server.mount()
    with open(mount.path / "big", "rb", buffering=0) as file:
        for _ in range(reads):
            offset = rng.randrange(size // piece) * piece
            assert os.pread(file.fileno(), piece, offset) == content[offset : offset + piece]
    count = server.ended(mount)
    assert count.sent["DATA"] <= TOLERATED * reads * piece, count.sent


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("every", [10, 2])
def test_some_files_of_a_directory_are_all_that_is_fetched(server: Server, by_name: bool, every: int) -> None:
    size = 5000
    files(server.backing / "many", [f"file{number:04}" for number in range(200)], size)
    mount = server.mount()
    names = os.listdir(mount.path / "many")
    chosen = (sorted(names) if by_name else names)[::every]
    for name in chosen:
        assert (mount.path / "many" / name).read_bytes() == (server.backing / "many" / name).read_bytes()
    count = server.ended(mount)
    assert count.sent["DATA"] <= TOLERATED * size * len(chosen)


def test_one_kind_of_files_is_fetched_without_the_others(server: Server) -> None:
    size, number = 5000, 60
    kinds = ("c", "d", "h", "o")
    files(server.backing / "many", [f"file{n:03}.{kind}" for n in range(number) for kind in kinds], size)
    mount = server.mount()
    words = ["grep", "-r", "--include=*.c", "-c", "nothing", mount.path / "many"]
    assert subprocess.run(words, capture_output=True, timeout=60).returncode == 1
    count = server.ended(mount)
    assert count.sent["DATA"] <= TOLERATED * size * number, count.sent
    assert count.waits <= number, f"{count.waits} waits for {number} files"
