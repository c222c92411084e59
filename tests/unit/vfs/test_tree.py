"""The cached tree: identity, leases, and our own changes amended rather than dropped."""

from __future__ import annotations

import stat
import time
from types import SimpleNamespace
from typing import cast

import pytest

from sftpfs.aio import Slot
from sftpfs.config import CacheConfig
from sftpfs.data import FileContent, FileHandle
from sftpfs.types import Attributes, DirectoryEntry, Listing
from sftpfs.vfs.tree.inode import Inode, PendingLookup
from sftpfs.vfs.tree.inode_table import ROOT_NUMBER
from sftpfs.vfs.tree.pending_listing import PendingListing
from sftpfs.vfs.tree.server_answers import leads_to
from sftpfs.vfs.tree.tree import Tree
from tests.harness.invariants import check_invariants
from tests.harness.server_time import known_clock

DIRECTORY = Attributes(stat.S_IFDIR | 0o755, 4096, 0, 0, 1, 1)
REGULAR = Attributes(stat.S_IFREG | 0o644, 5, 0, 0, 1, 1)


def tree(root: bytes = b"/srv", **config: float) -> Tree:
    return Tree(root, DIRECTORY, CacheConfig(**config), known_clock())  # type: ignore[arg-type]


def swept(cached: Tree) -> None:
    for _ in cached.sweep():
        check_invariants(cached)
    check_invariants(cached)


def crowding(**config: float) -> tuple[Tree, list[int]]:
    """A tree, and how many unused names it had each time it asked to be swept."""
    cached = tree(**config)
    asked: list[int] = []
    cached.over_limit = lambda: asked.append(cached.unreferenced)
    return cached, asked


def files(count: int, first: int = 0) -> list[DirectoryEntry]:
    return [DirectoryEntry(b"%d" % number, REGULAR) for number in range(first, first + count)]


def ask(cached: Tree, parent: Inode, name: bytes) -> Inode | bool:
    assert parent.directory is not None
    return cached.child(parent.directory, parent.number, name, time.monotonic())


def test_the_root_is_number_one_and_has_its_path() -> None:
    cached = tree(b"/")
    assert cached.root.number == ROOT_NUMBER
    assert cached.path(cached.root) == b"/"
    inode = cached.install(cached.root, b"x", REGULAR)
    assert cached.path(inode) == b"/x"


def test_unknown_known_and_missing() -> None:
    cached = tree()
    assert ask(cached, cached.root, b"a") is True
    inode = cached.install(cached.root, b"a", REGULAR)
    assert ask(cached, cached.root, b"a") is inode
    cached.install_absence(cached.root, b"a")
    assert ask(cached, cached.root, b"a") is False
    assert not inode.linked
    assert cached.path(inode) is None


def test_a_complete_listing_answers_missing_names_and_drops_vanished_ones() -> None:
    cached = tree()
    gone = cached.install(cached.root, b"gone", REGULAR)
    cached.install_listing(cached.root, Listing(DIRECTORY, [DirectoryEntry(b"here", REGULAR)]), 100.0, set())
    assert ask(cached, cached.root, b"other") is False
    assert ask(cached, cached.root, b"gone") is False
    assert isinstance(ask(cached, cached.root, b"here"), Inode)
    assert not gone.linked
    check_invariants(cached)


def test_names_we_changed_during_a_listing_are_ours_to_tell() -> None:
    cached = tree()
    directory = cached.root.directory
    assert directory is not None
    cached.install(cached.root, b"removed", REGULAR)
    directory.listing = PendingListing()
    made = cached.created(cached.root, b"made", REGULAR)
    cached.removed(cached.root, b"removed")
    changed = directory.listing.changed
    cached.install_listing(
        cached.root, Listing(DIRECTORY, [DirectoryEntry(b"removed", REGULAR)]), 100.0, changed
    )
    assert ask(cached, cached.root, b"made") is made
    assert ask(cached, cached.root, b"removed") is False
    check_invariants(cached)


def test_what_the_server_said_of_a_name_during_a_listing_is_newer_than_the_listing() -> None:
    """Else a name made on the server and just found would be taken away again, open files and all."""
    cached = tree()
    directory = cached.root.directory
    assert directory is not None
    cached.install(cached.root, b"removed", REGULAR)
    directory.listing = pending = PendingListing()
    appeared = cached.install(cached.root, b"appeared", REGULAR)
    cached.install_absence(cached.root, b"removed")
    directory.listing = None
    listing = Listing(DIRECTORY, [DirectoryEntry(b"removed", REGULAR)])
    cached.install_listing(cached.root, listing, 100.0, pending.changed, pending.answered)
    assert ask(cached, cached.root, b"appeared") is appeared
    assert ask(cached, cached.root, b"removed") is False
    check_invariants(cached)


def test_a_name_nobody_knows_is_asked_for_though_the_listing_is_complete() -> None:
    cached = tree()
    directory = cached.root.directory
    assert directory is not None
    entries = [DirectoryEntry(b"a", REGULAR), DirectoryEntry(b"b", REGULAR)]
    cached.install_listing(cached.root, Listing(DIRECTORY, entries), 100.0, set())
    inode = ask(cached, cached.root, b"a")
    assert isinstance(inode, Inode)
    cached.count_lookup(inode)
    cached.name_unknown(cached.root, b"a")
    assert ask(cached, cached.root, b"a") is True
    assert cached.expired_child(cached.root, b"a") is None
    assert cached.missing_until(cached.root, b"a") == 0.0
    assert cached.path(inode) is None
    assert ask(cached, cached.root, b"c") is False, "of other names the listing still tells"
    assert not directory.complete(time.monotonic())
    cached.install(cached.root, b"a", REGULAR)
    assert directory.complete(time.monotonic())
    cached.name_unknown(cached.root, b"d")
    assert ask(cached, cached.root, b"d") is True
    cached.install_absence(cached.root, b"d")
    assert ask(cached, cached.root, b"d") is False
    assert directory.complete(time.monotonic())
    check_invariants(cached)


def test_a_name_found_missing_and_doubted_since_is_asked_for() -> None:
    cached = tree()
    cached.install_absence(cached.root, b"a")
    cached.name_unknown(cached.root, b"a")
    assert ask(cached, cached.root, b"a") is True


def test_a_listing_settles_the_names_nobody_knew_unless_we_changed_them_meanwhile() -> None:
    cached = tree()
    directory = cached.root.directory
    assert directory is not None
    cached.install_listing(cached.root, Listing(DIRECTORY, []), 100.0, set())
    cached.name_unknown(cached.root, b"a")
    cached.name_unknown(cached.root, b"b")
    cached.install_listing(
        cached.root, Listing(DIRECTORY, [DirectoryEntry(b"b", REGULAR)]), 100.0, changed={b"b"}
    )
    assert ask(cached, cached.root, b"a") is False
    assert ask(cached, cached.root, b"b") is True
    cached.install_listing(cached.root, Listing(DIRECTORY, [DirectoryEntry(b"b", REGULAR)]), 100.0, set())
    assert isinstance(ask(cached, cached.root, b"b"), Inode)
    check_invariants(cached)


def test_renaming_what_we_did_not_know_makes_a_name_that_is_not_missing() -> None:
    cached = tree()
    directory = cached.root.directory
    assert directory is not None
    cached.install_listing(cached.root, Listing(DIRECTORY, []), 100.0, set())
    cached.install_absence(cached.root, b"new")
    cached.renamed(cached.root, b"old", cached.root, b"new")
    assert ask(cached, cached.root, b"new") is True
    assert ask(cached, cached.root, b"old") is False
    directory.listing = PendingListing()
    cached.renamed(cached.root, b"older", cached.root, b"newer")
    changed, directory.listing = directory.listing.changed, None
    cached.install_listing(cached.root, Listing(DIRECTORY, []), 100.0, changed)
    assert ask(cached, cached.root, b"newer") is True


def test_a_lookup_under_way_is_told_when_we_change_its_name() -> None:
    cached = tree()
    directory = cached.root.directory
    assert directory is not None
    pending = directory.pending[b"a"] = PendingLookup()
    cached.created(cached.root, b"b", REGULAR)
    assert not pending.stale
    cached.created(cached.root, b"a", REGULAR)
    assert pending.stale


def test_a_directory_we_made_is_known_to_be_empty() -> None:
    cached = tree()
    made = cached.created(cached.root, b"d", DIRECTORY)
    assert ask(cached, made, b"anything") is False


def test_renaming_a_directory_moves_everything_below() -> None:
    cached = tree()
    old = cached.created(cached.root, b"old", DIRECTORY)
    child = cached.created(old, b"child", REGULAR)
    cached.renamed(cached.root, b"old", cached.root, b"new")
    assert cached.path(child) == b"/srv/new/child"
    assert ask(cached, cached.root, b"old") is False
    check_invariants(cached)


def test_renaming_over_a_name_unlinks_what_stood_there() -> None:
    cached = tree()
    source = cached.created(cached.root, b"a", REGULAR)
    target = cached.created(cached.root, b"b", REGULAR)
    cached.renamed(cached.root, b"a", cached.root, b"b")
    assert ask(cached, cached.root, b"b") is source
    assert not target.linked
    check_invariants(cached)


def test_hard_links_share_the_inode_until_the_last_name_goes() -> None:
    cached = tree()
    inode = cached.created(cached.root, b"a", REGULAR._replace(nlink=1))
    cached.linked(inode, cached.root, b"b")
    cached.linked(inode, cached.root, b"c")
    check_invariants(cached)
    cached.removed(cached.root, b"a")
    assert cached.path(inode) == b"/srv/b"
    cached.renamed(cached.root, b"c", cached.root, b"d")
    check_invariants(cached)
    cached.removed(cached.root, b"b")
    assert cached.path(inode) == b"/srv/d"
    cached.removed(cached.root, b"d")
    assert cached.path(inode) is None
    check_invariants(cached)


def test_a_name_that_changes_its_type_is_another_inode() -> None:
    cached = tree()
    first = cached.install(cached.root, b"a", REGULAR)
    second = cached.install(cached.root, b"a", DIRECTORY)
    assert second is not first and second.number != first.number
    assert not first.linked


def test_numbers_live_from_the_first_pin_to_the_last_forget() -> None:
    cached = tree()
    inode = cached.install(cached.root, b"a", REGULAR)
    cached.count_lookup(inode)
    cached.count_lookup(inode)
    cached.forget(inode.number, 1)
    assert cached.get(inode.number) is inode
    cached.forget(inode.number, 1)
    assert cached.find(inode.number) is None
    cached.forget(inode.number, 1)
    cached.forget(ROOT_NUMBER, 99)
    assert cached.get(ROOT_NUMBER) is cached.root


def test_a_forgotten_name_of_a_kept_listing_stays_known() -> None:
    cached = tree()
    cached.install_listing(cached.root, Listing(DIRECTORY, [DirectoryEntry(b"a", REGULAR)]), 100.0, set())
    inode = ask(cached, cached.root, b"a")
    assert isinstance(inode, Inode)
    cached.count_lookup(inode)
    cached.forget(inode.number, 1)
    assert ask(cached, cached.root, b"a") is inode
    assert ask(cached, cached.root, b"b") is False


def test_listings_beyond_the_bound_are_let_go_with_what_they_claimed() -> None:
    cached = tree(max_entries=1000)
    first = cached.install(cached.root, b"first", DIRECTORY)
    second = cached.install(cached.root, b"second", DIRECTORY)
    entries = [DirectoryEntry(b"%d" % number, REGULAR) for number in range(700)]
    cached.install_listing(first, Listing(DIRECTORY, entries), 100.0, set())
    pinned = ask(cached, first, b"5")
    assert isinstance(pinned, Inode)
    cached.count_lookup(pinned)
    cached.install_listing(second, Listing(DIRECTORY, entries), 100.0, set())
    assert first.directory is not None
    assert len(first.directory.children) == 700, "nothing goes within an operation"
    swept(cached)
    assert list(first.directory.children) == [b"5"]
    assert ask(cached, first, b"no such") is True
    assert ask(cached, second, b"no such") is False


def test_a_directory_too_large_to_keep_is_complete_while_the_kernel_holds_most_of_it() -> None:
    cached, asked = crowding(max_entries=1000)
    cached.install_listing(cached.root, Listing(DIRECTORY, files(1500)), 100.0, set())
    directory = cached.root.directory
    assert directory is not None and len(directory.children) == 1500
    pinned = list(directory.children.values())
    for inode in pinned:
        cached.count_lookup(inode)
    swept(cached)
    assert ask(cached, cached.root, b"no such") is False
    for inode in pinned[:1000]:
        cached.forget(inode.number, 1)
    swept(cached)
    assert ask(cached, cached.root, b"7") is pinned[7]
    before = len(asked)
    cached.forget(pinned[1000].number, 1)
    assert len(asked) == before + 1
    swept(cached)
    assert len(directory.children) == 499
    assert ask(cached, cached.root, b"no such") is True
    assert ask(cached, cached.root, b"7") is True
    for inode in pinned[1001:]:
        cached.forget(inode.number, 1)
    check_invariants(cached)


def test_a_listing_that_grew_at_the_bound_is_there_whole_for_its_reader() -> None:
    cached, asked = crowding(max_entries=1000)
    grown = cached.install(cached.root, b"grown", DIRECTORY)
    other = cached.install(cached.root, b"other", DIRECTORY)
    cached.install_listing(grown, Listing(DIRECTORY, files(600)), 100.0, set())
    cached.install_listing(other, Listing(DIRECTORY, files(398)), 100.0, set())
    assert not asked
    assert grown.directory is not None
    grown.directory.open_handles += 1
    cached.install_listing(grown, Listing(DIRECTORY, files(604)), 100.0, set())
    assert asked
    swept(cached)
    assert len(grown.directory.children) == 604 and ask(cached, grown, b"no such") is False
    assert other.directory is not None and not other.directory.children, "it is another that goes"


def test_what_is_being_read_listed_or_changed_is_not_swept() -> None:
    cached = tree(max_entries=1000)
    busy = [cached.install(cached.root, name, DIRECTORY) for name in (b"read", b"listed", b"changed")]
    read, listed, changed = [inode.directory for inode in busy]
    assert read is not None and listed is not None and changed is not None
    for inode in busy:
        cached.install_listing(inode, Listing(DIRECTORY, files(1200)), 100.0, set())
    read.open_handles += 1
    listed.listing = PendingListing()
    with cached.pending_change((busy[2], b"new")):
        swept(cached)
        assert [len(one.children) for one in (read, listed, changed)] == [1200] * 3
    swept(cached)
    assert [len(one.children) for one in (read, listed, changed)] == [1200, 1200, 0]
    listed.listing = None
    swept(cached)
    assert [len(one.children) for one in (read, listed, changed)] == [1200, 0, 0]
    asked: list[int] = []
    cached.over_limit = lambda: asked.append(cached.unreferenced)
    cached.directory_closed(busy[0])
    assert asked
    swept(cached)
    assert not read.children


def test_a_name_forgotten_while_its_directory_is_listed_is_in_the_listing() -> None:
    for made in (True, False):
        cached = tree(max_entries=1000)
        inode = cached.install(cached.root, b"d", DIRECTORY)
        cached.count_lookup(inode)
        directory = inode.directory
        assert directory is not None
        directory.listing = pending = PendingListing()
        new = cached.created(inode, b"new", REGULAR) if made else cached.install(inode, b"new", REGULAR)
        cached.count_lookup(new)
        cached.forget(new.number, 1)
        beside = cached.install(cached.root, b"beside", DIRECTORY)
        cached.install_listing(beside, Listing(DIRECTORY, files(1200)), 100.0, set())
        swept(cached)
        directory.listing = None
        listing = Listing(DIRECTORY, [DirectoryEntry(b"new", REGULAR), *files(1)])
        cached.install_listing(inode, listing, 100.0, pending.changed, pending.answered)
        assert set(directory.children) == {b"new", b"0"}
        check_invariants(cached)


def test_a_directory_made_at_the_bound_is_known_under_its_name() -> None:
    cached = tree(max_entries=1000)
    parent, other = (cached.install(cached.root, name, DIRECTORY) for name in (b"parent", b"other"))
    cached.install_listing(parent, Listing(DIRECTORY, files(400)), 100.0, set())
    cached.install_listing(other, Listing(DIRECTORY, files(600)), 100.0, set())
    with cached.pending_change((parent, b"made")):
        made = cached.created(parent, b"made", DIRECTORY)
    cached.count_lookup(made)
    swept(cached)
    cached.renamed(parent, b"made", other, b"moved")
    assert cached.path(made) == b"/srv/other/moved"
    check_invariants(cached)


def test_a_name_let_go_of_leads_nowhere_for_who_still_holds_the_inode() -> None:
    """Such as who shares another's question: it must not be told as a name."""
    cached = tree(max_entries=1000)
    inode = cached.install(cached.root, b"d", DIRECTORY)
    cached.install_listing(inode, Listing(DIRECTORY, files(1001)), 100.0, set())
    child = ask(cached, inode, b"7")
    assert isinstance(child, Inode)
    swept(cached)
    assert not child.linked and cached.path(child) is None
    assert inode.linked, "what has names below it stays until they went"


def test_what_may_not_be_let_go_is_not_looked_at_again_for_every_name() -> None:
    """Links made here keep their targets: sweeping over them each time would be quadratic."""
    cached, asked = crowding(max_entries=1000)
    link = Attributes(stat.S_IFLNK | 0o777, 5, 0, 0, 1, 1)
    for number in range(4000):
        cached.created(cached.root, b"%d" % number, link).created_target = b"x"
        if asked and asked[-1] == cached.unreferenced:
            swept(cached)
    assert cached.unreferenced == 4000
    assert len(asked) < 20


def test_removed_directories_leave_nothing_behind() -> None:
    cached = tree()
    for number in range(50):
        made = cached.created(cached.root, b"%d" % number, DIRECTORY)
        cached.count_lookup(made)
        inner = cached.created(made, b"inner", REGULAR)
        cached.count_lookup(inner)
        cached.removed(made, b"inner")
        cached.removed(cached.root, b"%d" % number)
        cached.forget(inner.number, 1)
        cached.forget(made.number, 1)
        check_invariants(cached)
    assert cached.unreferenced == 0 and cached.statistics() == {"inodes": 1, "listings": 0}


def test_our_own_change_renews_the_lease_and_moves_ctime() -> None:
    cached = tree()
    inode = cached.install(cached.root, b"a", REGULAR)
    inode.expires = 0.0
    mark = inode.change_mark
    cached.own_change(inode, REGULAR._replace(mode=stat.S_IFREG | 0o600), named=True)
    assert ask(cached, cached.root, b"a") is inode
    assert inode.change_mark != mark
    assert inode.ctime_ns > 0


def test_fractions_of_some_files_alone_turn_the_order_within_a_second() -> None:
    cached = tree()
    second = 10**9
    shown: list[tuple[int, int]] = []
    for number, set_ns in enumerate(5 * second + step * second // 4 for step in range(12)):
        for kept in (False, True):
            mtime = set_ns // second
            inode = cached.install(cached.root, b"%d %d" % (number, kept), REGULAR._replace(mtime=mtime))
            inode.changed_here = kept  # what was let go of is found again as any other file is
            cached.times_set(inode, (set_ns, set_ns), 0)
            shown.append((mtime, inode.shown_times_ns(mtime)[1]))
    assert {time_ns % second != 0 for _, time_ns in shown} == {False, True}
    for mtime, time_ns in shown:
        for other, other_ns in shown:
            assert mtime == other or (mtime > other) == (time_ns > other_ns)


def test_a_known_link_count_survives_an_answer_without_one() -> None:
    cached = tree()
    inode = cached.install(cached.root, b"a", REGULAR._replace(nlink=3))
    cached.refresh(inode, REGULAR)
    assert inode.attributes.nlink == 3
    cached.removed(cached.root, b"a")
    assert inode.attributes.nlink == 2


def expire_absence(cached: Tree) -> None:
    assert cached.root.directory is not None
    cached.root.directory.absent_until = 0.0


def test_an_unchanged_mtime_renews_what_a_listing_says_is_missing() -> None:
    cached = tree()
    cached.install_listing(cached.root, Listing(DIRECTORY, []), 100.0, set())
    expire_absence(cached)
    assert ask(cached, cached.root, b"a") is True
    assert cached.renew_absence(cached.root, DIRECTORY)
    assert ask(cached, cached.root, b"a") is False


def test_a_moved_or_too_young_mtime_or_a_change_of_ours_proves_nothing() -> None:
    cached = tree()
    cached.install_listing(cached.root, Listing(DIRECTORY, []), 100.0, set())
    assert not cached.renew_absence(cached.root, DIRECTORY._replace(mtime=2))
    cached.install_listing(cached.root, Listing(DIRECTORY, []), float(DIRECTORY.mtime + 1), set())
    assert not cached.renew_absence(cached.root, DIRECTORY)
    cached.install_listing(cached.root, Listing(DIRECTORY, []), 100.0, set())
    cached.created(cached.root, b"ours", REGULAR)
    assert not cached.renew_absence(cached.root, DIRECTORY)


def test_absence_is_believed_longer_while_nobody_else_makes_names() -> None:
    cached = tree()
    directory = cached.root.directory
    assert directory is not None
    leases = []
    for names in ([], [], [], [b"new"], [b"new"]):
        entries = [DirectoryEntry(name, REGULAR) for name in names]
        cached.install_listing(cached.root, Listing(DIRECTORY, entries), 100.0, set())
        leases.append(directory.absence_lease)
    assert leases == [2.0, 4.0, 8.0, 2.0, 4.0]


def aliased(cached: Tree) -> Inode:
    """``a`` and ``b`` are one file, which the kernel knows."""
    inode = cached.created(cached.root, b"a", REGULAR._replace(nlink=1))
    cached.own_change(inode, REGULAR._replace(nlink=2))
    cached.linked(inode, cached.root, b"b")
    cached.count_lookup(inode)
    return inode


def test_what_a_listing_says_of_what_was_changed_here_since_it_began_is_not_judged() -> None:
    """A write of ours would be taken for another client's, and the names of one file for two."""
    cached = tree()
    directory = cached.root.directory
    assert directory is not None
    inode = aliased(cached)
    pending = directory.listing = PendingListing(cached.changes)
    cached.own_change(inode, REGULAR._replace(size=13, mtime=5))
    directory.listing = None
    entries = [DirectoryEntry(name, attributes) for name, attributes in ((b"a", REGULAR), (b"b", REGULAR))]
    listing = Listing(DIRECTORY, entries)
    cached.install_listing(cached.root, listing, 100.0, pending.changed, pending.answered, pending.begun)
    assert ask(cached, cached.root, b"a") is inode
    assert ask(cached, cached.root, b"b") is inode
    assert inode.attributes.size == 13
    check_invariants(cached)


def test_a_listing_judges_what_others_changed() -> None:
    cached = tree()
    inode = aliased(cached)
    other = REGULAR._replace(size=99, mtime=50)
    entries = [DirectoryEntry(b"a", other), DirectoryEntry(b"b", REGULAR)]
    cached.install_listing(cached.root, Listing(DIRECTORY, entries), 100.0, set())
    one, two = ask(cached, cached.root, b"a"), ask(cached, cached.root, b"b")
    assert isinstance(one, Inode) and isinstance(two, Inode) and one is not two
    assert one.attributes.size == 99
    assert two.attributes.size == REGULAR.size
    assert inode not in (one, two), "the kernel may use it for either name"
    check_invariants(cached)


def test_each_name_of_a_file_has_a_lease_of_its_own() -> None:
    cached = tree()
    inode = aliased(cached)
    cached.expire_below(cached.root)
    cached.install(cached.root, b"a", REGULAR)
    assert ask(cached, cached.root, b"a") is inode
    assert ask(cached, cached.root, b"b") is True, "nobody has asked for it"
    cached.own_change(inode, REGULAR)
    assert ask(cached, cached.root, b"b") is True


def test_a_directory_taken_off_by_the_server_takes_the_names_below_along() -> None:
    cached = tree()
    above = cached.created(cached.root, b"above", DIRECTORY)
    directory = cached.created(above, b"d", DIRECTORY)
    inner = cached.created(directory, b"inner", REGULAR)
    inode = cached.created(directory, b"f", REGULAR)
    cached.linked(inode, cached.root, b"g")
    cached.install_absence(cached.root, b"above")
    assert cached.path(inode) == b"/srv/g"
    assert not inner.linked
    assert not directory.linked
    assert ask(cached, directory, b"inner") is True
    assert ask(cached, cached.root, b"g") is inode
    check_invariants(cached)


def test_a_change_of_ours_ends_what_was_fetched_ahead() -> None:
    cached = tree()
    inode = cached.install(cached.root, b"a", REGULAR)
    inode.prefetched_until = time.monotonic() + 1000.0
    cached.bump_ctime(inode)
    assert inode.prefetched_until == 0.0


@pytest.mark.parametrize(
    ("links", "opened", "dirty", "same"),
    [
        (1, False, False, True),
        (1, True, False, None),
        (2, False, False, False),
        (2, True, False, None),
        (1, False, True, True),
        (2, False, True, True),
        (1, True, True, None),
        (2, True, True, None),
    ],
)
def test_what_a_name_with_another_version_leads_to(
    links: int, opened: bool, dirty: bool, same: bool | None
) -> None:
    cached = tree()
    inode = cached.install(cached.root, b"a", REGULAR)
    if links > 1:
        cached.linked(inode, cached.root, b"b")
    inode.handles = [cast(FileHandle, object())] if opened else None
    inode.content = cast(FileContent, SimpleNamespace(dirty=dirty, epoch=0))
    assert leads_to(inode, REGULAR) is True
    assert leads_to(inode, REGULAR._replace(size=77)) is same
    assert leads_to(inode, DIRECTORY) is False


def test_an_open_handle_renews_no_lease_of_a_name() -> None:
    """Else a log that is written here would hide for ever that it was rotated on the server."""
    cached = tree()
    inode = cached.install(cached.root, b"log", REGULAR)
    ends = inode.expires
    cached.own_change(inode, REGULAR._replace(size=6, mtime=2))
    assert inode.expires == ends
    inode.expires, inode.lease = ends - 19.0, 1.0  # asked for at the same time, and changed often
    cached.own_change(inode, REGULAR._replace(size=7, mtime=3))
    assert abs(inode.expires - ends) < 1e-6
    cached.own_change(inode, REGULAR._replace(size=8, mtime=4), named=True)
    assert inode.expires > ends
    inode.expires = 0.0
    cached.own_change(inode, REGULAR)
    assert inode.expires == 0.0, "contradicted"


def test_the_kernel_is_waited_for_until_it_knows_of_every_name_that_leads_elsewhere() -> None:
    cached = tree()
    invalidations: list[Slot[None]] = []

    def notify_kernel(_names: list[tuple[int, bytes]], _inodes: list[Inode]) -> Slot[None]:
        invalidations.append(Slot())
        return invalidations[-1]

    cached.notify_kernel = notify_kernel
    inode = cached.install(cached.root, b"a", REGULAR)
    for name in (b"b", b"c"):
        cached.linked(inode, cached.root, name)
    cached.count_lookup(inode)
    inode.handles = [cast(FileHandle, SimpleNamespace())]
    for name in (b"b", b"c"):
        cached.name_unknown(cached.root, name)
    first, second = invalidations
    second.set(None)
    assert cached.notifying(inode) is first
    first.set(None)
    assert cached.notifying(inode) is None
