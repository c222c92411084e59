"""Small-file prefetch: a reader is recognised, kept ahead of, and left alone once it goes elsewhere."""

from __future__ import annotations

import stat
import time

import pytest

from sftpfs.config import CacheConfig
from sftpfs.types import Attributes, DirectoryEntry, Listing
from sftpfs.vfs.prefetch.small_files import (
    FIRST_WINDOW,
    LARGEST_WINDOW,
    MOST_BYTES,
    MOST_IN_FLIGHT,
    SMALL_FILE,
    TRIAL,
    SmallFilePrefetch,
)
from sftpfs.vfs.prefetch.suffix_filter import KIND_MEMORY, MOST_TRIED, SuffixFilter
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.tree import Tree
from tests.harness.server_time import known_clock

DIRECTORY = Attributes(stat.S_IFDIR | 0o755, 4096, 0, 0, 1, 1)
SIZE = 1000


def regular(size: int = SIZE) -> Attributes:
    return Attributes(stat.S_IFREG | 0o644, size, 0, 0, 1, 1)


class Reader:
    """A listed tree and a policy; what is planned arrives at once unless told otherwise."""

    def __init__(self) -> None:
        self.tree = Tree(b"/srv", DIRECTORY, CacheConfig(), known_clock())
        self.policy = SmallFilePrefetch()
        self.fetched: list[Inode] = []

    def directory(self, parent: Inode, names: list[tuple[bytes, Attributes]]) -> dict[bytes, Inode]:
        entries = [DirectoryEntry(name, attributes) for name, attributes in names]
        self.tree.install_listing(parent, Listing(DIRECTORY, entries), 100.0, set())
        assert parent.directory is not None
        return parent.directory.children

    def open(self, inode: Inode) -> bool:
        """True where it was fetched before it was opened."""
        ready = inode in self.fetched
        self.policy.on_open(inode)
        now = time.monotonic()
        for ahead in self.policy.plan(now):
            ahead.prefetched_until = now + 100
            self.fetched.append(ahead)
            self.policy.on_reply(ahead, True)
        return ready


def files(count: int, size: int = SIZE) -> list[tuple[bytes, Attributes]]:
    """Names whose listing order is not their name order."""
    numbers = sorted(range(count), key=lambda number: (number * 7919) % count)
    return [(b"f%04d" % number, regular(size)) for number in numbers]


@pytest.mark.parametrize("order", ["listing", "name"])
def test_a_reader_in_order_is_recognised_and_overtaken(order: str) -> None:
    reader = Reader()
    children = reader.directory(reader.tree.root, files(101))
    names = list(children) if order == "listing" else sorted(children)
    ready = [reader.open(children[name]) for name in names]
    assert ready.count(False) == 3
    assert all(ready[3:])
    assert reader.policy.tally.wasted == 0
    assert reader.policy.tally.used == 98 * SIZE


def test_every_tenth_file_is_a_choice_and_fetches_nothing() -> None:
    reader = Reader()
    children = list(reader.directory(reader.tree.root, files(300)).values())
    assert not any(reader.open(inode) for inode in children[::10])
    assert not reader.fetched


def test_every_second_file_fetches_nothing() -> None:
    reader = Reader()
    children = list(reader.directory(reader.tree.root, files(300)).values())
    assert not any(reader.open(inode) for inode in children[::2])
    assert not reader.fetched


def test_a_kind_that_is_left_out_is_not_fetched_and_stops_nobody() -> None:
    reader = Reader()
    kinds = (b"c", b"h", b"o")
    names = [(b"f%03d.%s" % (number, kind), regular()) for number in range(50) for kind in kinds]
    children = reader.directory(reader.tree.root, names)
    ready = [reader.open(inode) for name, inode in children.items() if not name.endswith(b"o")]
    assert ready.count(False) <= 12
    assert sum(inode.name.endswith(b"o") for inode in reader.fetched) <= MOST_TRIED


def test_of_a_kind_never_opened_few_are_fetched() -> None:
    reader = Reader()
    names = [(b"a%03d.c" % number, regular()) for number in range(20)]
    names += [(b"b%03d.o" % number, regular()) for number in range(100)]
    children = reader.directory(reader.tree.root, names)
    for name, inode in children.items():
        if name.endswith(b"c"):
            reader.open(inode)
    assert sum(inode.name.endswith(b"o") for inode in reader.fetched) == MOST_TRIED
    inode = children[b"b000.o"]
    reader.open(inode)
    reader.open(children[b"b001.o"])
    assert sum(inode.name.endswith(b"o") for inode in reader.fetched) > MOST_TRIED


def test_a_kind_once_left_out_is_wanted_again_where_it_is_read() -> None:
    kinds = SuffixFilter()
    inode = Inode(7, None, b"name.c", regular())
    for _ in range(KIND_MEMORY * 10):
        kinds.passed(inode)
    assert kinds.unwanted(inode)
    for _ in range(KIND_MEMORY):
        kinds.opened(inode)
    assert not kinds.unwanted(inode)


def test_two_opens_fetch_nothing() -> None:
    reader = Reader()
    children = list(reader.directory(reader.tree.root, files(10)).values())
    reader.open(children[0])
    reader.open(children[1])
    reader.open(children[1])
    assert not reader.fetched


def test_the_reader_is_followed_into_listed_directories_in_preorder() -> None:
    reader = Reader()
    root = reader.directory(
        reader.tree.root, [*files(5), (b"sub", DIRECTORY), (b"unlisted", DIRECTORY), (b"last", regular())]
    )
    inside = reader.directory(root[b"sub"], [(b"in1", regular()), (b"in2", regular())])
    for name in list(root)[:3]:
        reader.open(root[name])
    expected = [*list(root.values())[3:5], *inside.values()]
    assert reader.fetched == expected


def test_links_large_open_and_ready_files_are_left_out() -> None:
    reader = Reader()
    children = reader.directory(
        reader.tree.root,
        [
            *[(b"%d" % number, regular()) for number in range(3)],
            (b"link", Attributes(stat.S_IFLNK | 0o777, 5, 0, 0, 1, 1)),
            (b"large", regular(SMALL_FILE + 1)),
            (b"ready", regular()),
            (b"wanted", regular()),
        ],
    )
    children[b"ready"].prefetched_until = time.monotonic() + 100
    for name in (b"0", b"1", b"2"):
        reader.open(children[name])
    assert reader.fetched == [children[b"wanted"]]


def test_window_flight_and_bytes_are_bounded() -> None:
    reader = Reader()
    children = list(reader.directory(reader.tree.root, files(1000)).values())
    for inode in children[:3]:
        reader.policy.on_open(inode)
    assert len(reader.policy.plan(time.monotonic())) == FIRST_WINDOW
    reader.policy.window = LARGEST_WINDOW
    reader.policy.on_open(children[3])
    assert len(reader.policy.plan(time.monotonic())) == MOST_IN_FLIGHT - FIRST_WINDOW
    assert reader.policy.plan(time.monotonic()) == []

    big = Reader()
    children = list(big.directory(big.tree.root, files(200, SMALL_FILE)).values())
    for inode in children[:3]:
        big.policy.on_open(inode)
    big.policy.window = LARGEST_WINDOW
    assert len(big.policy.plan(time.monotonic())) == MOST_BYTES // SMALL_FILE


def test_going_elsewhere_ends_it() -> None:
    reader = Reader()
    children = list(reader.directory(reader.tree.root, files(300)).values())
    for inode in children[:4]:
        reader.open(inode)
    assert reader.policy.window
    reader.open(children[250])
    assert reader.policy.window == 0


def test_a_policy_that_wastes_more_than_it_saves_turns_itself_off() -> None:
    reader = Reader()
    size = TRIAL // 8
    children = list(reader.directory(reader.tree.root, files(300, size)).values())
    for inode in children[:200]:
        reader.policy.on_open(inode)
        for ahead in reader.policy.plan(time.monotonic()):
            reader.policy.on_reply(ahead, False)
            ahead.expires = 0.0
    assert TRIAL <= reader.policy.tally.wasted <= TRIAL + LARGEST_WINDOW * size
    assert reader.policy.plan(time.monotonic()) == []


def test_what_nobody_opens_in_time_is_wasted() -> None:
    reader = Reader()
    children = list(reader.directory(reader.tree.root, files(300)).values())
    for inode in children[:3]:
        reader.policy.on_open(inode)
    planned = reader.policy.plan(time.monotonic())
    for inode in planned:
        inode.prefetched_until = time.monotonic() - 1
        reader.policy.on_reply(inode, True)
    reader.policy.on_open(children[100])
    reader.policy.on_open(children[101])
    reader.policy.on_open(children[102])
    reader.policy.plan(time.monotonic())
    assert reader.policy.tally.wasted == len(planned) * SIZE


def test_a_file_opened_on_its_way_is_not_fetched_once_more() -> None:
    """Several programs read one directory: the next plan may come before the file does."""
    tree, policy = Tree(b"/srv", DIRECTORY, CacheConfig(), known_clock()), SmallFilePrefetch()
    tree.install_listing(
        tree.root, Listing(DIRECTORY, [DirectoryEntry(n, a) for n, a in files(60)]), 100.0, set()
    )
    assert tree.root.directory is not None
    children = list(tree.root.directory.children.values())
    flying: set[int] = set()
    order = [*children[:3], children[4], children[3], *children[5:9], children[3], *children[9:30]]
    for inode in order:
        policy.on_open(inode)
        for ahead in policy.plan(time.monotonic()):
            assert ahead.number not in flying
            flying.add(ahead.number)
    assert flying


def test_the_directories_a_reader_comes_to_are_told_where_they_are_not_listed() -> None:
    reader = Reader()
    nine = [(b"a%d" % number, regular()) for number in range(9)]
    root = reader.tree.root
    tops = reader.directory(root, [(b"p", DIRECTORY), (b"q", DIRECTORY)])
    children = reader.directory(tops[b"p"], [*nine, *((name, DIRECTORY) for name in (b"b", b"c", b"d"))])
    reached: list[Inode] = []

    def read(directory: dict[bytes, Inode]) -> None:
        for number in range(9):
            reader.open(directory[b"a%d" % number])
            reached.extend(reader.policy.unlisted)
            for told in reader.policy.unlisted:  # as asked for at once
                reader.directory(told, nine if told.name == b"b" else [])

    read(children)
    assert reached[0] is children[b"b"], "what is below it comes next"
    assert children[b"b"].directory is not None
    read(children[b"b"].directory.children)
    assert {inode.name for inode in reached} == {b"b", b"c", b"d"}, "and nothing beside where it began"
    assert tops[b"q"] not in reached


def test_a_reader_that_was_given_up_is_recognised_anew() -> None:
    reader = Reader()
    children = list(reader.directory(reader.tree.root, files(400)).values())
    for inode in children[:150]:
        reader.open(inode)
    assert reader.policy.window == LARGEST_WINDOW
    reader.open(children[390])
    assert reader.policy.window == 0
    ready = [reader.open(inode) for inode in children[160:180]]
    assert sum(ready) >= 14


def test_more_files_are_under_way_over_a_longer_round_trip() -> None:
    """As many as the reader has come past by then, for it may stop."""
    reader = Reader()
    children = list(reader.directory(reader.tree.root, files(1000)).values())
    for read, inode in enumerate(children[:400], start=1):
        reader.policy.on_open(inode)
        now = time.monotonic()
        planned = reader.policy.plan(now, 0.1)
        assert len(planned) <= 5 * MOST_IN_FLIGHT
        for ahead in planned:
            reader.fetched.append(ahead)
            ahead.prefetched_until = now + 60.0
            reader.policy.on_reply(ahead, True)
        assert len(reader.fetched) <= read + max(LARGEST_WINDOW, read)
    assert reader.policy.window > 2 * LARGEST_WINDOW
    assert len(reader.fetched) > 400 + 2 * LARGEST_WINDOW
