"""Walk-ahead: a walk is recognised, kept ahead of, and left alone once it ends."""

from __future__ import annotations

import stat
import time

from sftpfs.config import CacheConfig
from sftpfs.types import Attributes, DirectoryEntry, Listing
from sftpfs.vfs.prefetch.traversal_order import Order
from sftpfs.vfs.prefetch.tree_walk import (
    FIRST_WINDOW,
    LARGEST_WINDOW,
    MOST_IN_FLIGHT,
    TRIAL,
    TreeWalkPrefetch,
    most_in_flight,
)
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.tree import Tree
from tests.harness.server_time import known_clock

DIRECTORY = Attributes(stat.S_IFDIR | 0o755, 4096, 0, 0, 1, 1)


class Walk:
    """A tree of ``width`` directories in every directory, ``depth`` levels, listed as asked for."""

    def __init__(self, width: int, depth: int) -> None:
        self.tree = Tree(b"/srv", DIRECTORY, CacheConfig(), known_clock())
        self.policy = TreeWalkPrefetch(Order.LISTING, 5000)
        self.width, self.depth = width, depth
        self.asked: list[Inode] = []

    def level(self, node: Inode) -> int:
        return 0 if node.parent is None else 1 + self.level(node.parent)

    def install(self, node: Inode) -> None:
        names = range(self.width) if self.level(node) < self.depth else range(0)
        entries = [DirectoryEntry(b"%02d" % number, DIRECTORY) for number in names]
        self.tree.install_listing(node, Listing(DIRECTORY, entries), 100.0, set())

    def children(self, node: Inode) -> list[Inode]:
        assert node.directory is not None
        return list(node.directory.children.values())

    def demand(self, node: Inode) -> bool:
        """A program lists ``node``; True where it was there already. What is planned arrives at once."""
        assert node.directory is not None
        known = node.directory.complete_until > time.monotonic()
        self.policy.on_listing(node)
        if not known:
            self.install(node)
        while planned := self.policy.plan(time.monotonic()):
            self.asked += planned
            for directory in planned:
                self.install(directory)
                self.policy.on_reply(directory, True)
        return known

    def preorder(self, node: Inode) -> list[bool]:
        found = [self.demand(node)]
        for child in self.children(node):
            found += self.preorder(child)
        return found


def test_one_listing_is_no_walk() -> None:
    walk = Walk(5, 3)
    walk.demand(walk.tree.root)
    assert not walk.asked


def test_a_walk_soon_finds_every_listing_made() -> None:
    walk = Walk(4, 3)
    found = walk.preorder(walk.tree.root)
    assert len(found) == 1 + 4 + 16 + 64
    assert found.count(False) == 2
    assert walk.policy.tally.used == len(found) - 2
    assert walk.policy.tally.wasted == 0


def test_the_window_bounds_what_is_ahead_and_in_flight() -> None:
    walk = Walk(200, 1)
    walk.demand(walk.tree.root)
    walk.policy.on_listing(walk.children(walk.tree.root)[0])
    assert len(walk.policy.plan(0.0)) == FIRST_WINDOW
    assert walk.policy.plan(0.0) == []
    walk.policy.window = LARGEST_WINDOW
    assert len(walk.policy.plan(0.0)) == MOST_IN_FLIGHT - FIRST_WINDOW
    assert walk.policy.in_flight == MOST_IN_FLIGHT


def test_the_next_in_preorder_comes_first() -> None:
    walk = Walk(3, 2)
    walk.demand(walk.tree.root)
    first = walk.children(walk.tree.root)[0]
    walk.install(first)
    walk.policy.on_listing(first)
    planned = walk.policy.plan(time.monotonic())
    assert planned[:3] == walk.children(first)
    assert planned[3] is walk.children(walk.tree.root)[1]


def test_listing_elsewhere_ends_it() -> None:
    walk = Walk(3, 3)
    walk.demand(walk.tree.root)
    child = walk.children(walk.tree.root)[0]
    walk.demand(child)
    assert walk.policy.window
    stranger = Inode(999, None, b"", DIRECTORY)
    walk.policy.on_listing(stranger)
    assert walk.policy.window == 0
    assert walk.policy.plan(time.monotonic()) == []


def test_a_policy_that_wastes_more_than_it_saves_turns_itself_off() -> None:
    walk = Walk(300, 1)
    walk.demand(walk.tree.root)
    walk.policy.on_listing(walk.children(walk.tree.root)[0])
    walk.policy.window = LARGEST_WINDOW
    failures = 0
    while planned := walk.policy.plan(time.monotonic()):
        for directory in planned:
            walk.policy.on_reply(directory, False)
            walk.tree.remove_name(walk.tree.root, directory.name)
            failures += 1
    assert TRIAL <= failures <= TRIAL + MOST_IN_FLIGHT
    assert walk.policy.in_flight == 0


def test_a_walk_by_name_leaves_alone_what_it_passed_by() -> None:
    walk = Walk(6, 1)
    walk.policy = TreeWalkPrefetch(Order.NAME, 5000)
    walk.install(walk.tree.root)
    children = walk.children(walk.tree.root)
    for child in children[2:4]:
        walk.install(child)
        walk.policy.on_listing(child)
    assert walk.policy.plan(time.monotonic()) == children[4:]


def test_a_walk_in_its_own_order_comes_to_what_lies_behind_last() -> None:
    walk = Walk(6, 1)
    walk.demand(walk.tree.root)
    children = walk.children(walk.tree.root)
    for child in children[2:4]:
        walk.install(child)
        walk.policy.on_listing(child)
    assert walk.policy.plan(time.monotonic()) == children[4:] + children[:2]


def test_a_walk_does_not_leave_the_directory_it_began_in() -> None:
    walk = Walk(3, 3)
    walk.install(walk.tree.root)
    inside, *outside = walk.children(walk.tree.root)
    walk.preorder(inside)
    assert not set(walk.asked) & set(outside)


def test_a_walk_that_does_not_go_down_is_not_expected_to() -> None:
    walk = Walk(10, 3)
    walk.demand(walk.tree.root)
    children = walk.children(walk.tree.root)
    for child in children:
        walk.demand(child)
    below = [directory for directory in walk.asked if directory not in children]
    assert 0 < len(below) < 2 * FIRST_WINDOW, "all before it was seen not to go down"
    assert not any(directory.parent in children[1:] for directory in below)


def test_a_walk_that_goes_deeper_after_all_is_followed_there() -> None:
    walk = Walk(6, 3)
    walk.demand(walk.tree.root)
    children = walk.children(walk.tree.root)
    for child in children[:3]:
        walk.demand(child)
    walk.asked.clear()
    found = walk.preorder(children[3])
    assert found.count(False) <= 1


def test_what_a_reader_of_files_comes_to_is_listed_once_and_counted() -> None:
    walk = Walk(60, 1)
    walk.demand(walk.tree.root)
    reached = walk.children(walk.tree.root)
    now = time.monotonic()
    first = walk.policy.expect(reached[:3], now, 0.0)
    assert first == reached[:3]
    assert walk.policy.expect(reached[:5], now, 0.0) == reached[3:5]
    assert len(walk.policy.expect(reached, now, 0.0)) == MOST_IN_FLIGHT - 5
    for directory in first:
        walk.install(directory)
        walk.policy.on_reply(directory, True)
        walk.policy.on_listing(directory)
    assert walk.policy.tally.used == 3


def test_more_is_under_way_over_a_longer_round_trip() -> None:
    assert [most_in_flight(32, seconds) for seconds in (0.0, 0.02, 0.1, 5.0)] == [32, 32, 160, 256]
