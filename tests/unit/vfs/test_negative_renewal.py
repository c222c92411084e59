"""Renew-ahead: who looks for missing names in one directory after the other is recognised."""

from __future__ import annotations

import stat

from sftpfs.config import CacheConfig
from sftpfs.types import Attributes, DirectoryEntry, Listing
from sftpfs.vfs.prefetch.negative_renewal import FIRST_WINDOW, LARGEST_WINDOW, TRIAL, NegativeRenewal
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.tree import Tree
from tests.harness.server_time import known_clock

DIRECTORY = Attributes(stat.S_IFDIR | 0o755, 4096, 0, 0, 1, 1)
NOW = 1000.0


class Search:
    """``width`` directories, each with ``width`` more, listed; no name is known to be missing any more."""

    def __init__(self, width: int) -> None:
        self.tree = Tree(b"/srv", DIRECTORY, CacheConfig(), known_clock())
        self.policy = NegativeRenewal()
        self.install(self.tree.root, width)
        for child in self.children(self.tree.root):
            self.install(child, width)
            for one in self.children(child):
                self.install(one, 0)
        self.asked: list[Inode] = []
        self.waits = 0

    def install(self, node: Inode, width: int) -> None:
        entries = [DirectoryEntry(b"%02d" % number, DIRECTORY) for number in range(width)]
        self.tree.install_listing(node, Listing(DIRECTORY, entries), 100.0, set())
        state = node.directory
        assert state is not None
        state.complete_until, state.absent_until = NOW + 100, NOW - 1

    def children(self, node: Inode) -> list[Inode]:
        assert node.directory is not None
        return list(node.directory.children.values())

    def preorder(self) -> list[Inode]:
        found = [self.tree.root]
        for child in self.children(self.tree.root):
            found += [child, *self.children(child)]
        return found

    def miss(self, node: Inode, now: float = NOW, lease: float = 2.0) -> None:
        """A name is looked for in vain; what is planned arrives at once."""
        state = node.directory
        assert state is not None
        if state.absent_until > now:
            self.policy.on_absence_used(node)
        else:
            self.waits += 1
            state.absent_until = now + lease
            self.policy.on_absence_asked(node, now)
        for ahead in self.policy.plan(now):
            assert ahead.directory is not None
            ahead.directory.absent_until = now + lease
            self.asked.append(ahead)
            self.policy.on_reply(ahead, True)


def test_one_directory_asks_no_other() -> None:
    search = Search(4)
    for step in range(5):
        search.miss(search.tree.root, NOW + 3 * step)
    assert search.waits == 5
    assert not search.asked


def test_a_search_of_a_tree_waits_twice() -> None:
    search = Search(8)
    for node in search.preorder():
        search.miss(node)
    assert search.waits == 2
    assert search.policy.tally.issued == search.policy.tally.used == 1 + 8 + 64 - 2


def test_the_window_begins_small_and_is_bounded() -> None:
    search = Search(20)
    nodes = search.preorder()
    search.miss(nodes[0])
    search.miss(nodes[1])
    assert len(search.asked) == FIRST_WINDOW
    for node in nodes[2:200]:
        search.miss(node)
    assert search.policy.window == LARGEST_WINDOW
    assert len(search.asked) <= 200 + LARGEST_WINDOW


def test_what_cannot_be_renewed_is_not_asked() -> None:
    search = Search(5)
    nodes = search.preorder()
    for node in nodes[2:]:
        assert node.directory is not None
        match node.number % 3:
            case 0:
                node.directory.names_changed = True
            case 1:
                node.directory.complete_until = NOW - 1
            case _:
                node.directory.absent_until = NOW + 1
    search.miss(nodes[0])
    search.miss(nodes[1])
    assert not search.asked


def test_going_elsewhere_closes_it() -> None:
    search = Search(20)
    nodes = search.preorder()
    for node in nodes[:4]:
        search.miss(node)
    asked = len(search.asked)
    search.miss(nodes[300])
    assert search.policy.window == 0
    assert len(search.asked) == asked


def test_a_policy_that_wastes_more_than_it_saves_turns_itself_off() -> None:
    search = Search(20)
    nodes = search.preorder()
    for step in range(10 * TRIAL):
        search.miss(nodes[step * 37 % len(nodes)], NOW + 0.01 * step, lease=0.005)
    assert TRIAL <= search.policy.tally.wasted <= TRIAL + LARGEST_WINDOW
    assert len(search.asked) == search.policy.tally.issued


def test_one_that_has_changed_is_wasted() -> None:
    search = Search(3)
    nodes = search.preorder()
    search.policy.on_absence_asked(nodes[0], NOW)
    search.policy.on_absence_asked(nodes[1], NOW)
    planned = search.policy.plan(NOW)
    for node in planned:
        search.policy.on_reply(node, False)
    assert search.policy.tally.wasted == len(planned) == FIRST_WINDOW
