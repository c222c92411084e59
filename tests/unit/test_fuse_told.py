"""What the kernel is told of names, and what is noted of it: only what a reply took."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest
import trio

from sftpfs.config import CacheConfig
from sftpfs.fuse.operations import OpenDirectory, Operations
from sftpfs.fuse.reply import Replies
from sftpfs.types import Attributes, Listing
from sftpfs.vfs.filesystem import Appearance
from sftpfs.vfs.inodes import Inode
from sftpfs.vfs.tree import Tree
from tests.harness.invariants import check_invariants
from tests.harness.server_time import known_clock
from tests.unit.test_vfs_tree import DIRECTORY, REGULAR, files

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

    def leads(self, parent: Inode, name: bytes, inode: Inode) -> bool:
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
    directory.snapshot = list(names.tree.root.directory.children)
    return directory


def add_names(served: Operations, directory: OpenDirectory, start: int) -> None:
    trio.run(served._add_names, directory, start, object())


def child(names: Names, name: bytes) -> Inode:
    assert names.tree.root.directory is not None
    return names.tree.root.directory.children[name]


def test_what_did_not_fit_was_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    names, served = operations()
    directory = opened(names, 6)
    reply = Reply(monkeypatch, 4)
    add_names(served, directory, 0)
    assert reply.names == [b"0", b"1", b"2", b"3"]
    assert [child(names, name).told for name in reply.names] == [REGULAR] * 4
    assert child(names, b"4").told is None and child(names, b"4").lookups == 0
    check_invariants(names.tree)


def test_the_directory_itself_is_not_told_by_its_dots(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes neither attributes nor a reference from them."""
    names, served = operations()
    inner = names.tree.install(names.tree.root, b"d", DIRECTORY)
    reply = Reply(monkeypatch, 10)
    assert served._add_dots(inner, 0, object())  # type: ignore[arg-type]
    assert reply.names == [b".", b".."]
    assert inner.told is None and names.tree.root.told is None


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


def test_a_name_nobody_knows_is_asked_for_before_the_reader_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    names, served = operations()
    directory = opened(names, 4)
    tree = names.tree
    tree.unknown(tree.root, b"1")
    tree.unknown(tree.root, b"2")
    reply = Reply(monkeypatch, 10)
    add_names(served, directory, 0)
    assert reply.names == [b"0"]
    names.answers = [
        lambda: tree.install(tree.root, b"1", REGULAR),
        lambda: tree.missing(tree.root, b"2"),
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
    tree.pin(other)
    names.answers = [lambda: lost, lambda: tree.install(other, b"7", REGULAR)]
    entry = trio.run(served.lookup, other.number, b"7", WHO)
    assert entry.st_ino == other.directory.children[b"7"].number != lost.number
    check_invariants(tree)


def test_a_file_made_here_and_replaced_meanwhile_is_looked_up_again_by_the_kernel() -> None:
    """What is open is what was made, whatever has the name by now."""
    names, served = operations()
    tree = names.tree
    made = tree.created(tree.root, b"a", REGULAR)
    tree.unknown(tree.root, b"a")
    other = tree.install(tree.root, b"a", Attributes(*REGULAR[:1], 7, *REGULAR[2:]))
    entry = served._entry(tree.root, b"a", made, WHO)
    assert entry.st_ino == made.number and entry.entry_timeout == 0.0
    assert served._entry(tree.root, b"a", other, WHO).entry_timeout > 0.0
    check_invariants(tree)
