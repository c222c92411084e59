"""What a name costs in memory, counted in the objects made of a server's reply; what is forgotten for it."""

from __future__ import annotations

import gc
import sys
import tracemalloc

import pytest

from sftpfs.config import CacheConfig
from sftpfs.sftp.replies import decode_listing
from sftpfs.types import DirectoryEntry, Listing
from sftpfs.vfs import eviction
from sftpfs.vfs.inodes import Inode
from sftpfs.vfs.inventory import BYTES_OF_A_DIRECTORY, BYTES_OF_A_FILE
from sftpfs.vfs.tree import Tree
from tests.harness.invariants import check_invariants
from tests.harness.server_time import known_clock
from tests.harness.wide_server import replies
from tests.unit.test_vfs_tree import DIRECTORY, files

NAMES = 5000


def entries(directories: bool) -> list[DirectoryEntry]:
    """As they are decoded of 50 replies."""
    decoded = [decode_listing(memoryview(reply))[0] for reply in replies(directories, NAMES, NAMES)]
    return [entry for reply in decoded for entry in reply or ()]


def told(tree: Tree, parent: Inode) -> list[Inode]:
    """All names of ``parent``, as readdir tells the kernel of them."""
    assert parent.directory is not None
    children = list(parent.directory.children.values())
    for child in children:
        tree.pin(child)
    return children


@pytest.mark.parametrize(("directories", "most"), [(False, BYTES_OF_A_FILE), (True, BYTES_OF_A_DIRECTORY)])
def test_a_name_the_kernel_holds_takes_no_more_than_it_is_counted_as(directories: bool, most: int) -> None:
    entries(directories)  # what is made once
    gc.collect()
    tracemalloc.start()
    try:
        tree = Tree(b"/srv", DIRECTORY, CacheConfig(), known_clock())
        tree.install_listing(tree.root, Listing(DIRECTORY, entries(directories)), 100.0, set())
        told(tree, tree.root)
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
    tree.crowded = lambda: asked.append(tree.held)
    directories = [tree.install(tree.root, name, DIRECTORY) for name in (b"a", b"b")]
    for directory in directories:
        tree.pin(directory)
        tree.install_listing(directory, Listing(DIRECTORY, files(100)), 100.0, set())
    return tree, directories, asked


def test_beyond_its_memory_what_the_kernel_was_told_first_is_to_be_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree, (a, b), asked = wide(monkeypatch, 150 * BYTES_OF_A_FILE)
    first = told(tree, a)
    assert not asked and tree.forgettable() == []
    told(tree, b)
    assert 0 < len(asked) < 20, "asked at the bound and now and then beyond it, not for every name"
    chosen = tree.forgettable()
    assert chosen == first[: len(chosen)]
    left = tree.held - sum(BYTES_OF_A_FILE for _ in chosen)
    assert 0.9 * 150 * BYTES_OF_A_FILE < left < 150 * BYTES_OF_A_FILE
    check_invariants(tree)
    for inode in chosen:
        tree.forget(inode.number, 1)
    assert tree.forgettable() == []
    check_invariants(tree)


def test_what_the_kernel_would_not_forget_is_asked_for_last(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, (a, b), _ = wide(monkeypatch, 150 * BYTES_OF_A_FILE)
    told(tree, a)
    told(tree, b)
    chosen = tree.forgettable()
    again = tree.forgettable()
    assert not set(chosen) & set(again)
    check_invariants(tree)


def test_directories_are_forgotten_once_nothing_in_them_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, (a, b), _ = wide(monkeypatch, 2)
    inside = told(tree, a)
    assert a not in tree.forgettable()
    for inode in inside:
        tree.forget(inode.number, 1)
    assert a in tree.forgettable()
    assert b.directory is not None
    b.directory.open_handles += 1
    assert b not in tree.forgettable(), "somebody reads it"
    assert tree.root not in tree.forgettable()


def test_files_are_forgotten_before_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, (a, b), _ = wide(monkeypatch, 50 * BYTES_OF_A_FILE)
    told(tree, a)
    assert b not in tree.forgettable()


def test_a_directory_whose_names_went_takes_no_more_than_a_new_one() -> None:
    tree = Tree(b"/srv", DIRECTORY, CacheConfig(max_entries=1000), known_clock())
    inode = tree.install(tree.root, b"d", DIRECTORY)
    tree.install_listing(inode, Listing(DIRECTORY, files(2000)), 100.0, set())
    assert inode.directory is not None
    children = inode.directory.children
    tree.pin(children[b"5"])
    for _ in tree.sweep():
        pass
    assert list(children) == [b"5"] and inode.directory.children is children
    assert sys.getsizeof(children) == sys.getsizeof({b"5": inode})
