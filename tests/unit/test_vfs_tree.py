"""The cached tree: identity, leases, and our own changes amended rather than dropped."""

from __future__ import annotations

import stat
import time

from sftpfs.config import CacheConfig
from sftpfs.types import Attributes, DirectoryEntry, Listing
from sftpfs.vfs.inodes import Inode, PendingListing, PendingLookup
from sftpfs.vfs.inventory import ROOT_NUMBER
from sftpfs.vfs.tree import Tree

DIRECTORY = Attributes(stat.S_IFDIR | 0o755, 4096, 0, 0, 1, 1)
REGULAR = Attributes(stat.S_IFREG | 0o644, 5, 0, 0, 1, 1)


def tree(root: bytes = b"/srv", **config: float) -> Tree:
    return Tree(root, DIRECTORY, CacheConfig(**config))  # type: ignore[arg-type]


def ask(cached: Tree, parent: Inode, name: bytes) -> Inode | bool:
    assert parent.directory is not None
    return cached.child(parent.directory, parent.number, name, time.monotonic())


def check(cached: Tree, node: Inode) -> None:
    """The invariants of Directory and Inode, over everything below ``node``."""
    assert node.directory is not None
    for name, child in node.directory.children.items():
        assert (node, name) in child.names()
        assert child.linked
        assert child.lookups == 0 or cached.get(child.number) is child
        if child.directory is not None:
            check(cached, child)


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
    cached.missing(cached.root, b"a")
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
    check(cached, cached.root)


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
    check(cached, cached.root)


def test_what_the_server_said_of_a_name_during_a_listing_is_newer_than_the_listing() -> None:
    """Else a name made on the server and just found would be taken away again, open files and all."""
    cached = tree()
    directory = cached.root.directory
    assert directory is not None
    cached.install(cached.root, b"removed", REGULAR)
    directory.listing = pending = PendingListing()
    appeared = cached.install(cached.root, b"appeared", REGULAR)
    cached.missing(cached.root, b"removed")
    directory.listing = None
    listing = Listing(DIRECTORY, [DirectoryEntry(b"removed", REGULAR)])
    cached.install_listing(cached.root, listing, 100.0, pending.changed, pending.told)
    assert ask(cached, cached.root, b"appeared") is appeared
    assert ask(cached, cached.root, b"removed") is False
    check(cached, cached.root)


def test_a_name_nobody_knows_is_asked_for_though_the_listing_is_complete() -> None:
    cached = tree()
    directory = cached.root.directory
    assert directory is not None
    entries = [DirectoryEntry(b"a", REGULAR), DirectoryEntry(b"b", REGULAR)]
    cached.install_listing(cached.root, Listing(DIRECTORY, entries), 100.0, set())
    inode = ask(cached, cached.root, b"a")
    assert isinstance(inode, Inode)
    cached.pin(inode)
    cached.unknown(cached.root, b"a")
    assert ask(cached, cached.root, b"a") is True
    assert cached.expired_child(cached.root, b"a") is None
    assert cached.missing_until(cached.root, b"a") == 0.0
    assert cached.path(inode) is None
    assert ask(cached, cached.root, b"c") is False, "of other names the listing still tells"
    assert not directory.complete(time.monotonic())
    cached.install(cached.root, b"a", REGULAR)
    assert directory.complete(time.monotonic())
    cached.unknown(cached.root, b"d")
    assert ask(cached, cached.root, b"d") is True
    cached.missing(cached.root, b"d")
    assert ask(cached, cached.root, b"d") is False
    assert directory.complete(time.monotonic())
    check(cached, cached.root)


def test_a_name_found_missing_and_doubted_since_is_asked_for() -> None:
    cached = tree()
    cached.missing(cached.root, b"a")
    cached.unknown(cached.root, b"a")
    assert ask(cached, cached.root, b"a") is True


def test_a_listing_settles_the_names_nobody_knew_unless_we_changed_them_meanwhile() -> None:
    cached = tree()
    directory = cached.root.directory
    assert directory is not None
    cached.install_listing(cached.root, Listing(DIRECTORY, []), 100.0, set())
    cached.unknown(cached.root, b"a")
    cached.unknown(cached.root, b"b")
    cached.install_listing(
        cached.root, Listing(DIRECTORY, [DirectoryEntry(b"b", REGULAR)]), 100.0, changed={b"b"}
    )
    assert ask(cached, cached.root, b"a") is False
    assert ask(cached, cached.root, b"b") is True
    cached.install_listing(cached.root, Listing(DIRECTORY, [DirectoryEntry(b"b", REGULAR)]), 100.0, set())
    assert isinstance(ask(cached, cached.root, b"b"), Inode)
    check(cached, cached.root)


def test_renaming_what_we_did_not_know_makes_a_name_that_is_not_missing() -> None:
    cached = tree()
    directory = cached.root.directory
    assert directory is not None
    cached.install_listing(cached.root, Listing(DIRECTORY, []), 100.0, set())
    cached.missing(cached.root, b"new")
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
    epoch = cached.rename_epoch
    cached.renamed(cached.root, b"old", cached.root, b"new")
    assert cached.path(child) == b"/srv/new/child"
    assert ask(cached, cached.root, b"old") is False
    assert cached.rename_epoch > epoch
    check(cached, cached.root)


def test_renaming_over_a_name_unlinks_what_stood_there() -> None:
    cached = tree()
    source = cached.created(cached.root, b"a", REGULAR)
    target = cached.created(cached.root, b"b", REGULAR)
    cached.renamed(cached.root, b"a", cached.root, b"b")
    assert ask(cached, cached.root, b"b") is source
    assert not target.linked
    check(cached, cached.root)


def test_hard_links_share_the_inode_until_the_last_name_goes() -> None:
    cached = tree()
    inode = cached.created(cached.root, b"a", REGULAR._replace(nlink=1))
    cached.linked(inode, cached.root, b"b")
    cached.linked(inode, cached.root, b"c")
    check(cached, cached.root)
    cached.removed(cached.root, b"a")
    assert cached.path(inode) == b"/srv/b"
    cached.renamed(cached.root, b"c", cached.root, b"d")
    check(cached, cached.root)
    cached.removed(cached.root, b"b")
    assert cached.path(inode) == b"/srv/d"
    cached.removed(cached.root, b"d")
    assert cached.path(inode) is None
    check(cached, cached.root)


def test_a_name_that_changes_its_type_is_another_inode() -> None:
    cached = tree()
    first = cached.install(cached.root, b"a", REGULAR)
    second = cached.install(cached.root, b"a", DIRECTORY)
    assert second is not first and second.number != first.number
    assert not first.linked


def test_numbers_live_from_the_first_pin_to_the_last_forget() -> None:
    cached = tree()
    inode = cached.install(cached.root, b"a", REGULAR)
    cached.pin(inode)
    cached.pin(inode)
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
    cached.pin(inode)
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
    cached.pin(pinned)
    cached.install_listing(second, Listing(DIRECTORY, entries), 100.0, set())
    assert first.directory is not None
    assert list(first.directory.children) == [b"5"]
    assert ask(cached, first, b"no such") is True
    assert ask(cached, second, b"no such") is False


def test_a_directory_too_large_to_keep_is_complete_while_the_kernel_holds_all_of_it() -> None:
    cached = tree(max_entries=1000)
    entries = [DirectoryEntry(b"%d" % number, REGULAR) for number in range(1500)]
    cached.install_listing(cached.root, Listing(DIRECTORY, entries), 100.0, set())
    directory = cached.root.directory
    assert directory is not None and len(directory.children) == 1500
    pinned = list(directory.children.values())
    for inode in pinned:
        cached.pin(inode)
    cached.listing_unused(cached.root)
    assert ask(cached, cached.root, b"no such") is False
    cached.forget(pinned[7].number, 1)
    assert ask(cached, cached.root, b"no such") is True
    assert ask(cached, cached.root, b"7") is True
    for inode in pinned:
        cached.forget(inode.number, 1)
    assert not directory.children


def test_our_own_change_renews_the_lease_and_moves_ctime() -> None:
    cached = tree()
    inode = cached.install(cached.root, b"a", REGULAR)
    inode.expires = 0.0
    mark = inode.change_mark
    cached.own_change(inode, REGULAR._replace(mode=stat.S_IFREG | 0o600))
    assert ask(cached, cached.root, b"a") is inode
    assert inode.change_mark != mark
    assert inode.ctime_ns > 0


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
