"""An operation costs the same in a directory of ten thousand names and in one of a million, in steps."""

from __future__ import annotations

import gc
import itertools
import stat
from collections.abc import Callable, Iterator

import pytest

from sftpfs import clock
from sftpfs.config import CacheConfig
from sftpfs.types import Attributes, DirectoryEntry, Listing
from sftpfs.vfs.prefetch.negative_renewal import NegativeRenewal
from sftpfs.vfs.prefetch.small_files import SmallFilePrefetch
from sftpfs.vfs.prefetch.traversal_order import Order
from sftpfs.vfs.prefetch.tree_walk import TreeWalkPrefetch
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.tree import Tree
from tests.harness.server_time import known_clock
from tests.harness.steps import lines_of, memory_of

FEW, MANY = 10_000, 1_000_000
FEW_DIRECTORIES, MANY_DIRECTORIES = 1_000, 20_000
TIMES = 100
"""Operations counted together: what is made anew now and then is shared by them."""

DIRECTORY = Attributes(stat.S_IFDIR | 0o755, 4096, 0, 0, 1, 1, 2)
REGULAR = Attributes(stat.S_IFREG | 0o644, 5, 0, 0, 1, 1, 1)


class Large:
    """A directory of ``count`` names, listed; the kernel holds the first ``TIMES`` of them."""

    def __init__(self, count: int, attributes: Attributes = REGULAR) -> None:
        self.tree = Tree(b"/srv", DIRECTORY, CacheConfig(max_entries=2 * count), known_clock())
        self.root = self.tree.root
        entries = [DirectoryEntry(b"%09d" % number, attributes) for number in range(count)]
        self.tree.install_listing(self.root, Listing(DIRECTORY, entries), self.tree.clock.at_least(), set())
        assert self.root.directory is not None
        self.directory = self.root.directory
        self.children = list(itertools.islice(self.directory.children.values(), 4 * TIMES))
        self.next = itertools.count()

    def name(self) -> bytes:
        """One that was there, another each time."""
        return b"%09d" % next(self.next)


@pytest.fixture(scope="module")
def pair() -> Iterator[Callable[[], tuple[Large, Large]]]:
    """A small and a large one, made once; operations leave them much as they were."""
    made = [Large(FEW), Large(MANY)]
    yield lambda: (made[0], made[1])
    made.clear()
    gc.collect()


def look_up(large: Large) -> None:
    assert large.root.directory is not None
    large.tree.child(large.root.directory, large.root.number, b"%09d" % 500, clock.now())
    large.tree.child(large.root.directory, large.root.number, b"missing", clock.now())


def hold_and_forget(large: Large) -> None:
    large.tree.count_lookup(large.children[0])
    large.tree.forget(large.children[0].number, 1)


def make_and_remove(large: Large) -> None:
    name = b"made %d" % next(large.next)
    with large.tree.pending_change((large.root, name)):
        large.tree.created(large.root, name, REGULAR)
    large.tree.removed(large.root, name)


def rename_there_and_back(large: Large) -> None:
    large.tree.renamed(large.root, b"%09d" % 600, large.root, b"renamed")
    large.tree.renamed(large.root, b"renamed", large.root, b"%09d" % 600)


def look_and_miss(large: Large) -> None:
    large.tree.install_absence(large.root, b"no %d" % next(large.next))
    large.tree.install(large.root, b"%09d" % 700, REGULAR)


def renew(large: Large) -> None:
    large.tree.renew_absence(large.root, DIRECTORY)


@pytest.mark.parametrize(
    "operation", [look_up, hold_and_forget, make_and_remove, rename_there_and_back, look_and_miss, renew]
)
def test_a_change_or_a_look_costs_the_same_in_a_large_directory(
    pair: Callable[[], tuple[Large, Large]], operation: Callable[[Large], None]
) -> None:
    few, many = pair()

    def often(large: Large) -> None:
        for _ in range(TIMES):
            operation(large)

    often(few), often(many)  # what is made once was made
    assert lines_of(lambda: often(many)) <= lines_of(lambda: often(few)) * 1.1
    assert memory_of(lambda: often(many)) < 500_000


@pytest.mark.parametrize("beside", ["nothing", "removed", "made"])
def test_reading_in_order_costs_the_same_whatever_comes_and_goes_beside(
    pair: Callable[[], tuple[Large, Large]], beside: str
) -> None:
    few, many = pair()

    def read(large: Large) -> Callable[[], None]:
        policy = SmallFilePrefetch()
        names = iter(range(100 + 2 * TIMES))

        def often() -> None:
            for number in itertools.islice(names, TIMES):
                child = large.directory.children[b"%09d" % number]
                policy.on_open(child)
                for ahead in policy.plan(clock.now()):
                    ahead.prefetched_until = child.expires
                    policy.on_reply(ahead, True)
                if beside == "made":
                    large.tree.created(large.root, b"beside %d" % next(large.next), REGULAR)
                if beside == "removed":
                    large.tree.removed(large.root, child.name)
                    large.tree.created(large.root, child.name, REGULAR)

        often()  # the order is known, the reader recognised
        assert policy.window
        return often

    few_lines, many_lines = lines_of(read(few)), lines_of(read(many))
    assert many_lines <= few_lines * 1.5 + 1000
    assert memory_of(read(many)) < 200 << 20


@pytest.mark.parametrize("order", [Order.LISTING, Order.NAME])
def test_a_walk_that_removes_what_it_saw_costs_the_same_beside_many(order: Order) -> None:
    """``rm -r``: each directory is listed, then removed."""

    def walk(large: Large) -> Callable[[], None]:
        policy = TreeWalkPrefetch(order, FEW)
        names = iter(list(large.directory.children))
        policy.on_listing(large.root)

        def often() -> None:
            for name in itertools.islice(names, TIMES):
                child = large.directory.children[name]
                policy.on_listing(child)
                for ahead in policy.plan(clock.now()):
                    _list(large.tree, ahead)
                    policy.on_reply(ahead, True)
                large.tree.removed(large.root, name)

        often()
        return often

    few, many = Large(FEW_DIRECTORIES, DIRECTORY), Large(MANY_DIRECTORIES, DIRECTORY)
    assert lines_of(walk(many)) <= lines_of(walk(few)) * 1.5 + 1000
    assert memory_of(walk(many)) < 20 << 20


@pytest.mark.parametrize("order", [Order.LISTING, Order.NAME])
def test_a_walk_over_what_is_listed_costs_the_same_beside_many(order: Order) -> None:
    def walk(large: Large) -> Callable[[], None]:
        policy = TreeWalkPrefetch(order, FEW)
        for child in large.directory.children.values():
            _list(large.tree, child)
        inner = iter(list(large.directory.children.values()))
        policy.on_listing(large.root)

        def often() -> None:
            for child in itertools.islice(inner, TIMES):
                policy.on_listing(child)
                assert not policy.plan(clock.now())

        often()
        assert policy.window
        return often

    few, many = Large(FEW_DIRECTORIES, DIRECTORY), Large(MANY_DIRECTORIES, DIRECTORY)
    assert lines_of(walk(many)) <= lines_of(walk(few)) * 1.5 + 1000


def test_looking_for_a_name_in_one_directory_after_the_other_costs_the_same_beside_many() -> None:
    def look(large: Large) -> Callable[[], None]:
        policy = NegativeRenewal()
        inner = iter(large.children)

        def often() -> None:
            for child in itertools.islice(inner, TIMES):
                policy.on_absence_asked(child, clock.now())
                for ahead in policy.plan(clock.now()):
                    policy.on_reply(ahead, True)
                make_and_remove(large)

        often()
        return often

    few, many = Large(FEW_DIRECTORIES, DIRECTORY), Large(MANY_DIRECTORIES, DIRECTORY)
    assert lines_of(look(many)) <= lines_of(look(few)) * 1.5 + 1000


@pytest.mark.parametrize("bound", [1_000, 20_000])
def test_what_is_swept_for_a_name_does_not_grow_with_what_is_kept(bound: int) -> None:
    """Small directories, listed and not looked into: one after the other goes beyond the bound."""
    tree = Tree(b"/srv", DIRECTORY, CacheConfig(max_entries=bound), known_clock())
    crowded: list[None] = []
    tree.over_limit = lambda: crowded.append(None)
    numbers = itertools.count()

    def more(count: int) -> None:
        for number in itertools.islice(numbers, count):
            inner = tree.install(tree.root, b"%d" % number, DIRECTORY)
            tree.count_lookup(inner)
            listing = Listing(DIRECTORY, [DirectoryEntry(b"f", REGULAR)])
            tree.install_listing(inner, listing, tree.clock.at_least(), set())
            if crowded:
                crowded.clear()
                for _ in tree.sweep():
                    pass

    more(bound)
    assert lines_of(lambda: more(bound // 2)) < bound // 2 * 500


def _list(tree: Tree, directory: Inode) -> None:
    tree.install_listing(directory, Listing(DIRECTORY, []), tree.clock.at_least(), set())
