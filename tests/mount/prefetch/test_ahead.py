"""Directories and small files asked for ahead: how little is waited for, and that nothing is stale.

Counted over one connection by tests/harness/counting.py; ``OLD`` files, so that no content
is distrusted for having changed a moment ago.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually

OLD = time.time() - 86400.0
FILES = 120
SHORT = "dcache_timeout=1"
LEASE_LIMIT = 15.0


def old_file(path: Path, data: bytes, changed: float = OLD) -> None:
    path.write_bytes(data)
    os.utime(path, (changed, changed))


def content(number: int) -> bytes:
    return b"%06d" % number * 300


@pytest.fixture
def tree(make_mount: MakeMount, counting_proxy: CountingProxy, tmp_path: Path) -> Mount:
    """``files/0000`` …, and ``deep``: 3 directories in each of 3 in each of 3, a file in every one."""
    backing = tmp_path / "backing"
    (backing / "files").mkdir(parents=True)
    for number in range(FILES):
        old_file(backing / "files" / f"{number:04}", content(number))
    for one in "abc":
        for two in "abc":
            for three in "abc":
                directory = backing / "deep" / one / two / three
                directory.mkdir(parents=True)
                old_file(directory / "file", content(ord(three)))
    return make_mount("max_conns=1", port=counting_proxy.port, backing=backing)


def read_in(directory: Path, names: list[str]) -> None:
    for name in names:
        assert (directory / name).read_bytes() == content(int(name))


@pytest.mark.parametrize("by_name", [True, False])
def test_a_reader_of_small_files_hardly_waits(
    tree: Mount, counting_proxy: CountingProxy, by_name: bool
) -> None:
    names = os.listdir(tree.path / "files")
    counting_proxy.reset()
    read_in(tree.path / "files", sorted(names) if by_name else names)
    count = counting_proxy.read()
    assert count.waits <= FILES // 3, f"{count.waits} waits for {FILES} files"
    assert count.requests["READ"] <= FILES + 3


def test_grep_over_a_tree_reads_every_byte(tree: Mount, counting_proxy: CountingProxy) -> None:
    counting_proxy.reset()
    found = subprocess.run(
        ["grep", "-rc", "000", tree.path], capture_output=True, text=True, check=True, timeout=60
    )
    count = counting_proxy.read()
    assert len(found.stdout.splitlines()) == FILES + 27
    assert count.waits <= 60, count.waits
    assert count.requests["OPEN"] <= FILES + 27


def test_find_costs_its_depth_and_not_its_directories(tree: Mount, counting_proxy: CountingProxy) -> None:
    counting_proxy.reset()
    found = subprocess.run(["find", tree.path / "deep"], capture_output=True, check=True, timeout=60)
    count = counting_proxy.read()
    assert len(found.stdout.splitlines()) == 1 + 3 + 9 + 27 + 27
    assert count.waits <= 2 * 4 + 4, f"{count.waits} waits for 40 directories, 4 deep"
    assert count.requests["OPENDIR"] == 40
    assert "OPEN" not in count.requests


def test_stats_one_by_one_are_answered_by_a_listing(tree: Mount, counting_proxy: CountingProxy) -> None:
    os.stat(tree.path / "files")
    counting_proxy.reset()
    for number in range(FILES):
        assert os.stat(tree.path / "files" / f"{number:04}").st_size == 1800
    assert counting_proxy.read().waits <= 6


def test_every_tenth_file_fetches_nothing_ahead(tree: Mount, counting_proxy: CountingProxy) -> None:
    names = sorted(os.listdir(tree.path / "files"))[::10]
    counting_proxy.reset()
    read_in(tree.path / "files", names)
    assert counting_proxy.read().requests["READ"] == len(names)


def test_what_was_fetched_ahead_is_not_believed_past_its_lease(make_mount: MakeMount, backing: Path) -> None:
    for number in range(12):
        old_file(backing / f"{number:04}", content(number))
    mount = make_mount(SHORT, backing=backing)
    names = sorted(os.listdir(mount.path))
    read_in(mount.path, names[:6])  # the others are fetched ahead, and not opened
    last = mount.path / names[-1]
    old_file(mount.backing / names[-1], content(77), OLD + 60)
    eventually(lambda: last.read_bytes() == content(77), LEASE_LIMIT)
    old_file(mount.backing / names[-1], content(78) + b"longer", OLD + 60)
    eventually(lambda: last.read_bytes() == content(78) + b"longer", LEASE_LIMIT)


def test_our_own_changes_win_over_what_was_fetched_ahead(make_mount: MakeMount, backing: Path) -> None:
    for number in range(12):
        old_file(backing / f"{number:04}", content(number))
    mount = make_mount(backing=backing)
    names = sorted(os.listdir(mount.path))
    read_in(mount.path, names[:4])
    (mount.path / names[6]).write_bytes(b"ours")
    os.truncate(mount.path / names[7], 6)
    os.rename(mount.path / names[8], mount.path / names[9])
    (mount.path / names[10]).unlink()
    assert (mount.path / names[6]).read_bytes() == b"ours"
    assert (mount.path / names[7]).read_bytes() == content(7)[:6]
    assert (mount.path / names[9]).read_bytes() == content(8)
    assert not (mount.path / names[10]).exists()
    assert (mount.path / names[11]).read_bytes() == content(11)


def test_a_file_fetched_ahead_and_removed_while_open_reads_on(make_mount: MakeMount, backing: Path) -> None:
    for number in range(12):
        old_file(backing / f"{number:04}", content(number))
    mount = make_mount(backing=backing)
    names = sorted(os.listdir(mount.path))
    read_in(mount.path, names[:5])
    with open(mount.path / names[7], "rb") as file:
        (mount.path / names[7]).unlink()
        assert file.read() == content(7)
        assert os.fstat(file.fileno()).st_nlink == 0


def test_names_missing_in_one_directory_after_the_other_cost_few_waits(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """As git looks for .gitignore, after the leases on what is missing have ended."""
    tops = [backing / f"d{number:02}" for number in range(20)]
    for top in tops:
        (top / "sub").mkdir(parents=True)
        os.utime(top / "sub", (OLD, OLD))
        os.utime(top, (OLD, OLD))
    os.utime(backing, (OLD, OLD))
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    directories = [Path(found) for found, _, _ in os.walk(mount.path)]
    missing = [directory / ".ignored" for directory in directories]
    assert len(missing) == 41

    def looked_for() -> int:
        counting_proxy.reset()
        assert not any(name.exists() for name in missing)
        return counting_proxy.read().waits

    looked_for()
    waits: list[int] = []
    # Each name is believed missing for two seconds at first, and asked for again afterwards.
    eventually(lambda: waits.append(looked_for()) or waits[-1], LEASE_LIMIT)
    assert waits[-1] <= 6, f"{waits[-1]} waits for {len(missing)} directories"
    (tops[-1] / "sub" / ".ignored").touch()
    eventually(lambda: any(name.exists() for name in missing), LEASE_LIMIT)


def test_what_is_listed_for_a_reader_in_name_order_is_used_by_its_listing(
    make_mount: MakeMount, backing: Path
) -> None:
    """As a walk that sorts: it lists each directory, and opens what is in it by name."""
    names = [f"d{number:02}" for number in range(30)]
    for name in names:
        (backing / name).mkdir()
        for number in range(6):
            old_file(backing / name / f"{number:04}", content(number))
    mount = make_mount(backing=backing)
    assert sorted(os.listdir(mount.path)) == names
    for name in names:
        read_in(mount.path / name, sorted(os.listdir(mount.path / name)))
    command = [sys.executable, "-m", "sftpfs", "stats", "--json", str(mount.path)]
    shown = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    (told,) = json.loads(shown)["mounts"]
    assert told["mount"]["listings_ahead_issued"] >= 20
    assert told["mount"]["listings_ahead_used"] == told["mount"]["listings_ahead_issued"]


def test_a_directory_whose_names_are_proven_again_and_again_is_listed_for_their_attributes(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """As git status every few seconds: it looks for .gitignore, and then at every file."""
    top = backing / "top"
    top.mkdir()
    for number in range(FILES):
        old_file(top / f"{number:04}", content(number))
    os.utime(top, (OLD, OLD))
    mount = make_mount(
        "dcache_timeout=3", "negative_timeout=1", "max_conns=1", port=counting_proxy.port, backing=backing
    )
    names = sorted(os.listdir(mount.path / "top"))
    counting_proxy.reset()

    def proven() -> int:
        assert not (mount.path / "top" / ".ignored").exists()
        return counting_proxy.read().requests.get("LSTAT", 0) // 2  # the name and its directory

    eventually(lambda: proven() >= 4, LEASE_LIMIT)  # a second each: the listing's own lease has ended
    counting_proxy.reset()
    for name in names:
        os.lstat(mount.path / "top" / name)
    assert counting_proxy.read().requests.get("LSTAT", 0) <= 10


def test_no_readahead_asks_for_nothing_that_is_not_read(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    for number in range(12):
        old_file(backing / f"{number:04}", content(number))
    mount = make_mount("no_readahead", "max_conns=1", port=counting_proxy.port, backing=backing)
    names = sorted(os.listdir(mount.path))
    counting_proxy.reset()
    os.close(os.open(mount.path / names[0], os.O_RDONLY))
    assert "READ" not in counting_proxy.read().requests
    read_in(mount.path, names[:6])
    assert counting_proxy.read().requests["READ"] == 6


def test_no_readahead_opens_exactly_what_is_opened_by_one_handle(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """Of some servers a file can be read once. Over a distance a large one has handles on several connections
    otherwise, and small ones are fetched before they are opened."""
    large = random.Random(1).randbytes(24 << 20)
    old_file(backing / "large", large)
    for number in range(12):
        old_file(backing / f"{number:04}", content(number))
    mount = make_mount("no_readahead", port=counting_proxy.port, backing=backing)
    names = sorted(os.listdir(mount.path))[:-1]
    counting_proxy.reset()
    assert (mount.path / "large").read_bytes() == large
    (mount.path / "written").write_bytes(large)
    read_in(mount.path, names)
    count = counting_proxy.read()
    assert count.requests["OPEN"] == 2 + len(names)
    told = len(large) + sum(len(content(number)) for number in range(12))
    assert told <= count.sent["DATA"] < told + (1 << 20)


def test_a_directory_whose_name_the_kernel_knows_is_listed_as_it_is_entered(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """As Python looks for a package's modules: some names that are missing, then one that is there."""
    (backing / "package").mkdir()
    old_file(backing / "package" / "module.py", content(1))
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    os.listdir(mount.path)  # READDIRPLUS: the kernel looks up none of these names any more
    counting_proxy.reset()
    for suffix in (".so", ".abi3.so", ".pyd"):
        assert not (mount.path / "package" / f"module{suffix}").exists()
    read = (mount.path / "package" / "module.py").read_bytes()
    assert read == content(1)
    count = counting_proxy.read()
    assert count.waits <= 2, f"{count.waits} waits: {count.trace}"
