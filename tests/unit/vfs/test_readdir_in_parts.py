"""Listings that are shown while they come."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from sftpfs import clock
from sftpfs.config import CacheConfig, SymlinkPolicy
from sftpfs.errors import DisturbedListingError, SessionLostError, error
from sftpfs.types import Attributes, DirectoryEntry, Listing, ListingPart
from sftpfs.vfs.readdir import DirectoryReader
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.pending_listing import Snapshot
from sftpfs.vfs.tree.tree import Tree
from tests.harness.invariants import check_invariants
from tests.harness.server_time import known_clock
from tests.unit.vfs.test_tree import DIRECTORY, REGULAR

LINK = Attributes(0o120777, 7, 0, 0, 1, 1)


def entries(names: str, attributes: Attributes | None = REGULAR) -> list[DirectoryEntry]:
    """One for each letter."""
    return [DirectoryEntry(name.encode(), attributes) for name in names]


class Rest:
    """What follows the first part: each part, or error, as ``let_go`` lets it come."""

    def __init__(self, *parts: list[DirectoryEntry] | OSError, steady: bool = True) -> None:
        self.steady = steady
        self.closed = False
        self._parts = list(parts)
        self._send, self._receive = trio.open_memory_channel[None](99)

    def let_go(self, count: int = 1) -> None:
        for _ in range(count):
            self._send.send_nowait(None)

    async def more(self) -> ListingPart | None:
        assert not self.closed
        await self._receive.receive()
        if not self._parts:
            return None
        part = self._parts.pop(0)
        if isinstance(part, OSError):
            raise part
        return ListingPart(part, clock.now())

    def close(self) -> None:
        self.closed = True


class Place:
    """A directory of the tree, listed by readers whose rest is read in the background."""

    def __init__(self, *listings: Listing | OSError, config: CacheConfig | None = None) -> None:
        self.tree = Tree(b"/r", DIRECTORY, config or CacheConfig(), known_clock())
        self.inode = self.tree.install(self.tree.root, b"d", DIRECTORY)
        self.listings = list(listings)
        self.asked: list[tuple[bytes, bool]] = []
        self.looked_up: list[bytes] = []
        self.nursery: trio.Nursery | None = None
        self.reader = DirectoryReader(self.tree, self, SymlinkPolicy.CONTAIN, self.spawn)  # type: ignore[arg-type]

    def spawn(self, work: Callable[[], Awaitable[None]]) -> bool:
        async def contained() -> None:
            try:
                await work()
            except OSError:
                pass

        assert self.nursery is not None
        self.nursery.start_soon(contained)
        return True

    async def list_directory(self, path: bytes, *, in_parts: bool = False) -> Listing:
        self.asked.append((path, in_parts))
        listing = self.listings.pop(0)
        if isinstance(listing, OSError):
            raise listing
        return listing

    async def lstat_many(self, paths: list[bytes]) -> list[Attributes | OSError]:
        self.looked_up += paths
        return [LINK for _ in paths]

    async def read(self, snapshot: Snapshot, taken: str = "") -> str:
        """The names behind those ``taken``, as a program is shown them."""
        index, shown = len(taken), ""
        directory = self.inode.directory
        assert directory is not None
        while await snapshot.more_than(index):
            if snapshot.names[index] in directory.children:
                shown += snapshot.names[index].decode()
            index += 1
        return shown

    def run(self, test: Callable[[], Awaitable[None]]) -> None:
        async def body() -> None:
            async with trio.open_nursery() as self.nursery:
                with trio.fail_after(30):
                    await test()
                    await trio.testing.wait_all_tasks_blocked()
                self.nursery.cancel_scope.cancel()

        self.tree.directory_opened(self.inode)
        trio.run(body)
        check_invariants(self.tree)

    @property
    def complete(self) -> bool:
        assert self.inode.directory is not None
        return self.inode.directory.complete(clock.now())


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


def change(place: Place, name: bytes, work: Callable[[Inode, bytes], Any]) -> None:
    """As vfs.namespace does it."""
    with place.tree.pending_change((place.inode, name)):
        work(place.inode, name)


def create(place: Place, name: bytes) -> None:
    change(place, name, lambda inode, name: place.tree.created(inode, name, REGULAR))


def remove(place: Place, name: bytes) -> None:
    change(place, name, place.tree.removed)


def test_what_came_is_shown_before_the_rest() -> None:
    rest = Rest(entries("cd"), entries("e"))
    place = Place(Listing(DIRECTORY, entries("ab"), rest))

    async def test() -> None:
        snapshot = await place.reader.listing(place.inode)
        assert snapshot.names == [b"a", b"b"] and snapshot.growing
        assert not place.complete
        assert place.tree.child(place.inode.directory, place.inode.number, b"z", clock.now()) is True  # type: ignore[arg-type]
        rest.let_go(3)
        assert await place.read(snapshot) == "abcde"
        assert place.complete and rest.closed
        assert (await place.reader.listing(place.inode)).names == snapshot.names
        assert len(place.asked) == 1

    place.run(test)


def test_readers_share_one_listing() -> None:
    rest = Rest(entries("cd"))
    place = Place(Listing(DIRECTORY, entries("ab"), rest))

    async def test() -> None:
        first = await place.reader.listing(place.inode)
        second = await place.reader.listing(place.inode)
        rest.let_go(2)
        assert await place.read(first) == await place.read(second) == "abcd"
        assert len(place.asked) == 1

    place.run(test)


def test_a_reader_who_wants_no_old_answer_lists_for_itself() -> None:
    """cache=no: what was asked before it came is no answer."""
    rest, again = Rest(), Rest()
    config = CacheConfig(enabled=False)
    place = Place(
        Listing(DIRECTORY, entries("ab"), rest), Listing(DIRECTORY, entries("b"), again), config=config
    )

    async def test() -> None:
        first = await place.reader.listing(place.inode)
        found: list[Snapshot] = []

        async def other() -> None:
            found.append(await place.reader.listing(place.inode))

        assert place.nursery is not None
        place.nursery.start_soon(other)
        await settled()
        assert not found
        rest.let_go()
        again.let_go()
        await place.read(first)
        await settled()
        assert await place.read(found[0]) == "b"

    place.run(test)


def test_our_changes_meanwhile_show() -> None:
    """Removed names are left out, made ones are among the last, and none of them twice."""
    rest = Rest(entries("cdx"), entries("ef"))
    place = Place(Listing(DIRECTORY, entries("ab"), rest))

    async def test() -> None:
        snapshot = await place.reader.listing(place.inode)
        remove(place, b"b")
        remove(place, b"c")  # which its part brings all the same
        create(place, b"x")  # as does the part
        create(place, b"y")
        rest.let_go()
        await settled()
        remove(place, b"d")
        rest.let_go(2)
        assert await place.read(snapshot) == "axefy"
        assert place.complete

    place.run(test)


def test_what_a_listing_is_the_first_to_say_may_be_gone_again() -> None:
    """A change without an answer, of a name that was shown: nobody knows it, and a reader is to ask."""
    rest = Rest(entries("c"))
    place = Place(Listing(DIRECTORY, entries("ab"), rest))

    async def test() -> None:
        await place.reader.listing(place.inode)
        place.tree.name_unknown(place.inode, b"a")
        rest.let_go(2)
        await settled()
        assert place.inode.directory is not None
        assert place.inode.directory.unknown == {b"a"}
        assert not place.complete

    place.run(test)


def test_names_that_went_are_removed_at_the_end_only() -> None:
    rest = Rest(entries("c"))
    place = Place(Listing(DIRECTORY, entries("ab"), rest))
    for name in (b"a", b"gone"):
        place.tree.install(place.inode, name, REGULAR)
    assert place.inode.directory is not None
    children = place.inode.directory.children

    async def test() -> None:
        snapshot = await place.reader.listing(place.inode)
        assert b"gone" in children
        rest.let_go(2)
        assert await place.read(snapshot) == "abc"
        assert b"gone" not in children

    place.run(test)


@pytest.mark.parametrize("lost", [SessionLostError("gone"), DisturbedListingError("mode")])
def test_a_listing_that_may_lack_names_is_made_again(lost: OSError) -> None:
    rest = Rest(entries("c"), lost)
    place = Place(Listing(DIRECTORY, entries("ab"), rest), Listing(DIRECTORY, entries("dcbe")))

    async def test() -> None:
        snapshot = await place.reader.listing(place.inode)
        rest.let_go(2)
        assert await place.read(snapshot, "ab") == "cde"
        assert snapshot.names == [b"a", b"b", b"c", b"d", b"e"]
        assert await place.read(snapshot) == "bcde", "a went meanwhile"
        assert [in_parts for _, in_parts in place.asked] == [True, False]
        assert place.complete and rest.closed

    place.run(test)


def test_a_listing_goes_on_where_the_directory_was_renamed_to() -> None:
    rest = Rest(entries("c"), entries(""))
    place = Place(Listing(DIRECTORY, entries("ab"), rest), Listing(DIRECTORY, entries("abcd")))

    async def test() -> None:
        snapshot = await place.reader.listing(place.inode)
        with place.tree.pending_change((place.tree.root, b"d"), (place.tree.root, b"e")):
            place.tree.renamed(place.tree.root, b"d", place.tree.root, b"e")
        rest.let_go(2)
        assert await place.read(snapshot) == "abcd"
        assert [path for path, _ in place.asked] == [b"/r/d", b"/r/e"]

    place.run(test)


@pytest.mark.parametrize("steady", [True, False])
def test_a_server_that_may_skip_names_is_asked_again_after_changes(steady: bool) -> None:
    rest = Rest(entries("d"), steady=steady)
    place = Place(Listing(DIRECTORY, entries("ab"), rest), Listing(DIRECTORY, entries("bcd")))

    async def test() -> None:
        snapshot = await place.reader.listing(place.inode)
        remove(place, b"a")
        rest.let_go(2)
        assert await place.read(snapshot) == ("bd" if steady else "bdc")

    place.run(test)


@pytest.mark.parametrize(
    ("problem", "shown"),
    [(error(errno.EIO), errno.EIO), (error(errno.EACCES), errno.EACCES), (error(errno.ENOENT), errno.ESTALE)],
)
@pytest.mark.parametrize("again", [False, True])
def test_an_error_comes_behind_what_was_shown(problem: OSError, shown: int, again: bool) -> None:
    """Also to a reader that comes later, and each time it asks."""
    rest = Rest(entries("c"), SessionLostError("gone") if again else problem)
    place = Place(Listing(DIRECTORY, entries("ab"), rest), problem if again else Listing(DIRECTORY, []))

    async def test() -> None:
        snapshot = await place.reader.listing(place.inode)
        rest.let_go(2)
        await settled()
        assert snapshot.names == [b"a", b"b", b"c"] and not snapshot.growing
        for _ in range(2):
            with pytest.raises(OSError) as failure:
                await place.read(snapshot)
            assert failure.value.errno == shown
        assert not place.complete
        place.listings = [Listing(DIRECTORY, entries("f"))]
        assert (await place.reader.listing(place.inode)).names == [b"f"]

    place.run(test)


@pytest.mark.parametrize("problem", [SessionLostError("gone"), error(errno.ENOENT), None])
def test_a_directory_that_was_removed_here_ends(problem: OSError | None) -> None:
    """It was empty: what was not shown yet is gone."""
    rest = Rest(*([] if problem is None else [problem]))
    place = Place(Listing(DIRECTORY, entries("ab"), rest))

    async def test() -> None:
        snapshot = await place.reader.listing(place.inode)
        remove(place, b"a")
        remove(place, b"b")
        with place.tree.pending_change((place.tree.root, b"d")):
            place.tree.removed(place.tree.root, b"d")
        rest.let_go()
        assert await place.read(snapshot) == ""

    place.run(test)


def test_who_wants_all_of_it_gets_the_error() -> None:
    rest = Rest(entries("c"), error(errno.EIO))
    place = Place(Listing(DIRECTORY, entries("ab"), rest))

    async def test() -> None:
        rest.let_go(2)
        with pytest.raises(OSError) as failure:
            await place.reader.refresh(place.inode)
        assert failure.value.errno == errno.EIO

    place.run(test)


def test_a_listing_that_nobody_reads_any_more_ends() -> None:
    """Beyond as many names as are kept; a smaller one is useful later."""
    many = [DirectoryEntry(b"%d" % number, REGULAR) for number in range(1001)]
    rest = Rest(entries("c"), entries("d"))
    place = Place(Listing(DIRECTORY, many, rest), config=CacheConfig(max_entries=1000))

    async def test() -> None:
        snapshot = await place.reader.listing(place.inode)
        place.tree.directory_closed(place.inode)
        rest.let_go()
        await settled()
        assert rest.closed and not snapshot.growing and not place.complete
        place.tree.directory_opened(place.inode)

    place.run(test)


def test_a_listing_that_was_interrupted_is_no_short_one() -> None:
    """The mount ends."""
    rest = Rest(entries("c"))
    place = Place(Listing(DIRECTORY, entries("ab"), rest))
    found: list[Snapshot] = []

    async def test() -> None:
        found.append(await place.reader.listing(place.inode))

    place.run(test)
    assert rest.closed

    async def read() -> None:
        with pytest.raises(OSError) as failure:
            await place.read(found[0])
        assert failure.value.errno == errno.EIO

    trio.run(read)


def test_links_are_looked_at_once_in_each_part() -> None:
    """follow_symlinks: one that leads nowhere is shown as the link that it is."""
    rest = Rest(entries("c", LINK))
    place = Place(Listing(DIRECTORY, entries("ab", LINK), rest))
    place.reader = DirectoryReader(place.tree, place, SymlinkPolicy.FOLLOW, place.spawn)  # type: ignore[arg-type]

    async def test() -> None:
        snapshot = await place.reader.listing(place.inode)
        rest.let_go(2)
        assert await place.read(snapshot) == "abc"
        assert place.looked_up == [b"/r/d/a", b"/r/d/b", b"/r/d/c"]

    place.run(test)


def test_the_lease_of_a_name_counts_from_when_its_part_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = Rest(entries("b"))
    place = Place(Listing(DIRECTORY, entries("a"), rest))
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)

    async def test() -> None:
        nonlocal now
        snapshot = await place.reader.listing(place.inode)
        now += 15.0
        rest.let_go(2)
        await place.read(snapshot)
        directory = place.inode.directory
        assert directory is not None
        children, lease = directory.children, place.tree.policy.attribute
        assert children[b"a"].expires == pytest.approx(now - 15.0 + lease, abs=1.0)
        assert children[b"b"].expires == pytest.approx(now + lease, abs=1.0)
        assert directory.complete_until == pytest.approx(now - 15.0 + place.tree.policy.directory)

    place.run(test)
