"""What the kernel is told of names, and what is noted of it: only what a reply took."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest
import trio

from sftpfs import clock
from sftpfs.config import CacheConfig, OwnershipConfig
from sftpfs.fuse.directory_reply import OpenDirectory
from sftpfs.fuse.operations import Operations
from sftpfs.fuse.reply import Replies
from sftpfs.types import Attributes, Listing
from sftpfs.vfs.filesystem import Appearance, Filesystem
from sftpfs.vfs.mapping.id_map import IdMap
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.pending_listing import Snapshot
from sftpfs.vfs.tree.tree import Tree
from tests.harness.invariants import check_invariants
from tests.harness.server_time import known_clock
from tests.unit.vfs.test_tree import DIRECTORY, REGULAR, files

WHO: Any = SimpleNamespace(pid=1)
"""The context of a request."""


class Names:
    """A file system of names only; a lookup is answered by ``answers``, in turn."""

    def __init__(self) -> None:
        self.tree = Tree(b"/srv", DIRECTORY, CacheConfig(), known_clock())
        self.config = SimpleNamespace(data=SimpleNamespace(kernel_cache=False, direct_io=False))
        self.resolver = self
        self.cases = SimpleNamespace(folded=False)
        self.answers: list[Any] = []

    def appearance(self, inode: Inode) -> Appearance:
        a = inode.attributes
        return Appearance(a.mode, 1, a.uid, a.gid, a.size, 0, 0, 0)

    async def lookup(self, parent: Inode, name: bytes) -> Inode | None:
        answer: Inode | None = self.answers.pop(0)()
        return answer

    def leads_to(self, parent: Inode, name: bytes, inode: Inode) -> bool:
        assert parent.directory is not None
        return parent.directory.children.get(name) is inode

    def missing_until(self, parent: Inode, name: bytes) -> float:
        return self.tree.missing_until(parent, name)


class Reply:
    """A reply to readdir with room for so many entries."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.names: list[bytes] = []
        self.numbers: list[int] = []

        def add(token: object, name: bytes, entry: pyfuse3.EntryAttributes, offset: int) -> bool:
            if len(self.names) == room:
                return False
            self.names.append(name)
            self.numbers.append(entry.st_ino)
            return True

        monkeypatch.setattr(pyfuse3, "readdir_reply", add)


def operations() -> tuple[Names, Operations]:
    names = Names()
    return names, Operations(names, Replies(names, CacheConfig()))  # type: ignore[arg-type]


def opened(names: Names, count: int) -> OpenDirectory:
    """The root, open and its snapshot taken."""
    names.tree.install_listing(names.tree.root, Listing(DIRECTORY, files(count)), 100.0, set())
    directory = OpenDirectory(names.tree.root)
    assert names.tree.root.directory is not None
    directory.snapshot = Snapshot(list(names.tree.root.directory.children))
    return directory


def add_names(served: Operations, directory: OpenDirectory, start: int) -> None:
    trio.run(served._listings.add_names, directory, start, object())


def child(names: Names, name: bytes) -> Inode:
    assert names.tree.root.directory is not None
    return names.tree.root.directory.children[name]


def test_what_did_not_fit_was_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    names, served = operations()
    directory = opened(names, 6)
    reply = Reply(monkeypatch, 4)
    add_names(served, directory, 0)
    assert reply.names == [b"0", b"1", b"2", b"3"]
    assert [child(names, name).kernel_attributes for name in reply.names] == [REGULAR] * 4
    assert child(names, b"4").kernel_attributes is None and child(names, b"4").lookups == 0
    check_invariants(names.tree)


def test_the_directory_itself_is_not_told_by_its_dots(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes neither attributes nor a reference from them."""
    names, served = operations()
    inner = names.tree.install(names.tree.root, b"d", DIRECTORY)
    reply = Reply(monkeypatch, 10)
    assert served._listings.add_dots(inner, 0, object())  # type: ignore[arg-type]
    assert reply.names == [b".", b".."]
    assert inner.kernel_attributes is None and names.tree.root.kernel_attributes is None


def test_a_name_leads_where_it_does_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    names, served = operations()
    directory = opened(names, 4)
    tree = names.tree
    tree.created(tree.root, b"new", REGULAR)
    tree.renamed(tree.root, b"new", tree.root, b"1")
    tree.removed(tree.root, b"2")
    reply = Reply(monkeypatch, 10)
    add_names(served, directory, 0)
    assert reply.names == [b"0", b"1", b"3"]
    assert reply.numbers[1] == child(names, b"1").number
    check_invariants(tree)


def test_a_reply_after_a_seek_begins_small_and_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    names, served = operations()
    directory = opened(names, 2000)

    def told(start: int) -> int:
        reply = Reply(monkeypatch, 200)
        add_names(served, directory, start)
        assert reply.names == [b"%d" % number for number in range(start, start + len(reply.names))]
        return len(reply.names)

    assert [told(0), told(200), told(400)] == [200] * 3
    assert [told(1000), told(1016), told(1080), told(1280)] == [16, 64, 200, 200]
    assert [told(7), told(7), told(1995), told(2000)] == [16, 16, 5, 0]
    check_invariants(names.tree)


def test_a_reply_after_a_seek_ends_only_where_the_directory_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty reply would be the end."""
    names, served = operations()
    directory = opened(names, 100)
    for number in range(10, 90):
        names.tree.removed(names.tree.root, b"%d" % number)
    reply = Reply(monkeypatch, 200)
    add_names(served, directory, 10)
    assert reply.names == [b"90"]
    add_names(served, directory, 91)
    assert reply.names == [b"%d" % number for number in range(90, 100)]
    check_invariants(names.tree)


def test_what_one_name_shows_is_not_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """All names of a reply are encoded in one object."""
    names, served = operations()
    names.appearance = Filesystem.appearance.__get__(names)  # type: ignore[method-assign]
    names.owners = IdMap(OwnershipConfig(), (1, 2))  # type: ignore[attr-defined]
    tree = names.tree
    plain = Attributes(0o100644, 5, 10, 20, 30, 40, 1)
    for number, each in enumerate([plain, plain._replace(size=513), plain._replace(mode=0o100600), plain]):
        tree.install(tree.root, b"%d" % number, each)
    tree.install(tree.root, b"twice", plain._replace(nlink=2, mtime=41))
    tree.linked(child(names, b"twice"), tree.root, b"again")
    tree.install(tree.root, b"inner", DIRECTORY)
    tree.install(tree.root, b"old", plain._replace(atime=31, uid=11))
    child(names, b"old").expires -= 5.0
    tree.install(tree.root, b"last", plain)
    directory = OpenDirectory(tree.root)
    assert tree.root.directory is not None
    directory.snapshot = Snapshot(list(tree.root.directory.children))
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    shown: list[Any] = []
    monkeypatch.setattr(
        pyfuse3, "readdir_reply", lambda token, name, entry, offset: not shown.append(entry.__getstate__())
    )
    add_names(served, directory, 0)
    alone = [served._replies.entry(child(names, name)).__getstate__() for name in directory.snapshot.names]
    assert shown == alone
    assert shown[4]["entry_timeout"] == 0.0 < shown[4]["attr_timeout"]


def test_a_name_nobody_knows_is_asked_for_before_the_reader_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    names, served = operations()
    directory = opened(names, 4)
    tree = names.tree
    tree.name_unknown(tree.root, b"1")
    tree.name_unknown(tree.root, b"2")
    reply = Reply(monkeypatch, 10)
    add_names(served, directory, 0)
    assert reply.names == [b"0"]
    names.answers = [
        lambda: tree.install(tree.root, b"1", REGULAR),
        lambda: tree.install_absence(tree.root, b"2"),
    ]
    add_names(served, directory, 1)
    assert reply.names == [b"0", b"1"]
    add_names(served, directory, 2)
    assert reply.names == [b"0", b"1", b"3"]
    check_invariants(tree)


def test_an_answer_that_was_let_go_before_it_was_told_is_asked_for_again() -> None:
    names, served = operations()
    tree = names.tree
    other = tree.install(tree.root, b"d", DIRECTORY)
    tree.install_listing(other, Listing(DIRECTORY, files(20_000)), 100.0, set())
    assert other.directory is not None
    lost = other.directory.children[b"7"]
    for _ in tree.sweep():
        pass
    tree.count_lookup(other)
    names.answers = [lambda: lost, lambda: tree.install(other, b"7", REGULAR)]
    entry = trio.run(served.lookup, other.number, b"7", WHO)
    assert entry.st_ino == other.directory.children[b"7"].number != lost.number
    check_invariants(tree)


def test_a_file_made_here_and_replaced_meanwhile_is_looked_up_again_by_the_kernel() -> None:
    """What is open is what was made, whatever has the name by now."""
    names, served = operations()
    tree = names.tree
    made = tree.created(tree.root, b"a", REGULAR)
    tree.name_unknown(tree.root, b"a")
    other = tree.install(tree.root, b"a", Attributes(*REGULAR[:1], 7, *REGULAR[2:]))
    entry = served._entry(tree.root, b"a", made, WHO)
    assert entry.st_ino == made.number and entry.entry_timeout == 0.0
    assert served._entry(tree.root, b"a", other, WHO).entry_timeout > 0.0
    check_invariants(tree)
