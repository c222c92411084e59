"""What a name costs in memory, counted in the objects made of a server's reply; what is forgotten for it."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from sftpfs.config import CacheConfig
from sftpfs.sftp.replies import decode_listing
from sftpfs.types import DirectoryEntry, Listing
from sftpfs.vfs.memory_bound import MemoryBound
from sftpfs.vfs.tree import eviction
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.inode_table import BYTES_OF_A_DIRECTORY, BYTES_OF_A_FILE
from sftpfs.vfs.tree.tree import Tree
from tests.harness.invariants import check_invariants
from tests.harness.server_time import known_clock
from tests.harness.wide_server import replies
from tests.unit.vfs.test_tree import DIRECTORY, files

NAMES = 5000


def entries(directories: bool) -> list[DirectoryEntry]:
    """As they are decoded of 50 replies."""
    decoded = [decode_listing(memoryview(reply))[0] for reply in replies(directories, NAMES, NAMES)]
    return [entry for reply in decoded for entry in reply or ()]


def send_all(tree: Tree, parent: Inode) -> list[Inode]:
    """All names of ``parent``, as readdir tells the kernel of them."""
    assert parent.directory is not None
    children = list(parent.directory.children.values())
    for child in children:
        tree.count_lookup(child)
    return children


@pytest.mark.parametrize(("directories", "most"), [(False, BYTES_OF_A_FILE), (True, BYTES_OF_A_DIRECTORY)])
def test_a_name_the_kernel_holds_takes_no_more_than_it_is_counted_as(directories: bool, most: int) -> None:
    entries(directories)  # what is made once
    gc.collect()
    tracemalloc.start()
    try:
        tree = Tree(b"/srv", DIRECTORY, CacheConfig(), known_clock())
        tree.install_listing(tree.root, Listing(DIRECTORY, entries(directories)), 100.0, set())
        send_all(tree, tree.root)
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / NAMES < most


def wide(monkeypatch: pytest.MonkeyPatch, most: int) -> tuple[Tree, list[Inode], list[int]]:
    """A tree that may hold ``most`` bytes, of two directories; how much it held as it asked for room."""
    monkeypatch.setattr(eviction, "MOST_HELD", most)
    tree = Tree(b"/srv", DIRECTORY, CacheConfig(), known_clock())
    asked: list[int] = []
    tree.over_limit = lambda: asked.append(tree.held_bytes)
    directories = [tree.install(tree.root, name, DIRECTORY) for name in (b"a", b"b")]
    for directory in directories:
        tree.count_lookup(directory)
        tree.install_listing(directory, Listing(DIRECTORY, files(100)), 100.0, set())
    return tree, directories, asked


def test_beyond_its_memory_what_the_kernel_was_told_first_is_to_be_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree, (a, b), asked = wide(monkeypatch, 150 * BYTES_OF_A_FILE)
    first = send_all(tree, a)
    assert not asked and tree.prunable() == []
    send_all(tree, b)
    assert 0 < len(asked) < 20, "asked at the bound and now and then beyond it, not for every name"
    chosen = tree.prunable()
    assert chosen == first[: len(chosen)]
    left = tree.held_bytes - sum(BYTES_OF_A_FILE for _ in chosen)
    assert 0.9 * 150 * BYTES_OF_A_FILE < left < 150 * BYTES_OF_A_FILE
    check_invariants(tree)
    for inode in chosen:
        tree.forget(inode.number, 1)
    assert tree.prunable() == []
    check_invariants(tree)


def test_what_the_kernel_would_not_forget_is_asked_for_last(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, (a, b), _ = wide(monkeypatch, 150 * BYTES_OF_A_FILE)
    send_all(tree, a)
    send_all(tree, b)
    chosen = tree.prunable()
    again = tree.prunable()
    assert not set(chosen) & set(again)
    check_invariants(tree)


def test_a_kernel_that_asks_for_more_meanwhile_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reports what it forgot behind its requests. A walk may have ended by then, and nobody asks later."""
    tree, (a, b), _ = wide(monkeypatch, 150 * BYTES_OF_A_FILE)
    send_all(tree, a)
    send_all(tree, b)
    more = tree.install(tree.root, b"c", DIRECTORY)
    tree.install_listing(more, Listing(DIRECTORY, files(100)), 100.0, set())
    asked: list[Inode] = []

    async def forget(inodes: Sequence[Inode]) -> None:
        if not asked:
            send_all(tree, more)
        else:
            for inode in asked:
                tree.forget(inode.number, 1)
            asked.clear()
        asked.extend(inodes)

    bound = MemoryBound(tree)
    bound.forget = forget
    trio.run(bound.make_room, clock=trio.testing.MockClock(autojump_threshold=0))
    for inode in asked:
        tree.forget(inode.number, 1)
    assert tree.held_bytes <= 150 * BYTES_OF_A_FILE
    check_invariants(tree)


def test_directories_are_forgotten_once_nothing_in_them_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, (a, b), _ = wide(monkeypatch, 2)
    inside = send_all(tree, a)
    assert a not in tree.prunable()
    for inode in inside:
        tree.forget(inode.number, 1)
    assert a in tree.prunable()
    assert b.directory is not None
    b.directory.open_handles += 1
    assert b not in tree.prunable(), "somebody reads it"
    assert tree.root not in tree.prunable()


def test_files_are_forgotten_before_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, (a, b), _ = wide(monkeypatch, 50 * BYTES_OF_A_FILE)
    send_all(tree, a)
    assert b not in tree.prunable()


def test_a_directory_whose_names_went_takes_no_more_than_a_new_one() -> None:
    tree = Tree(b"/srv", DIRECTORY, CacheConfig(max_entries=1000), known_clock())
    inode = tree.install(tree.root, b"d", DIRECTORY)
    tree.install_listing(inode, Listing(DIRECTORY, files(2000)), 100.0, set())
    assert inode.directory is not None
    children = inode.directory.children
    tree.count_lookup(children[b"5"])
    for _ in tree.sweep():
        pass
    assert list(children) == [b"5"] and inode.directory.children is children
    assert sys.getsizeof(children) == sys.getsizeof({b"5": inode})


def test_a_kernel_that_is_late_with_its_report_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine: nothing is heard for longer than usual, and nobody asks for a name meanwhile."""
    tree, (a, b), _ = wide(monkeypatch, 150 * BYTES_OF_A_FILE)
    send_all(tree, a)
    send_all(tree, b)
    waiting: list[list[Inode]] = []

    async def forget(inodes: Sequence[Inode]) -> None:
        waiting.append(list(inodes))
        if len(waiting) > 3:
            for inode in (inode for batch in waiting for inode in batch if inode.lookups):
                tree.forget(inode.number, 1)

    bound = MemoryBound(tree)
    bound.forget = forget
    trio.run(bound.make_room, clock=trio.testing.MockClock(autojump_threshold=0))
    assert tree.held_bytes <= 150 * BYTES_OF_A_FILE
    check_invariants(tree)


def test_a_kernel_that_uses_everything_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, (a, b), _ = wide(monkeypatch, 150 * BYTES_OF_A_FILE)
    send_all(tree, a)
    send_all(tree, b)
    asked: list[int] = []

    async def forget(inodes: Sequence[Inode]) -> None:
        asked.append(len(inodes))

    bound = MemoryBound(tree)
    bound.forget = forget
    trio.run(bound.make_room, clock=trio.testing.MockClock(autojump_threshold=0))
    assert 1 < len(asked) < 10
