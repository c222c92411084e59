"""Listings that something overtakes."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
import trio
import trio.testing

from sftpfs.config import CacheConfig, SymlinkPolicy
from sftpfs.errors import error
from sftpfs.types import DirectoryEntry, Listing
from sftpfs.vfs.readdir import DirectoryReader
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.tree import Tree
from tests.harness.server_time import known_clock
from tests.unit.vfs.test_tree import DIRECTORY, REGULAR

WHOLE = Listing(DIRECTORY, [DirectoryEntry(b"inner", REGULAR)])
NOTHING = Listing(DIRECTORY, [])


class Server:
    """Answers listings; ``meanwhile`` happens while it looks."""

    def __init__(self, meanwhile: Callable[[int], None], answers: list[Listing | None]) -> None:
        self.paths: list[bytes] = []
        self._meanwhile = meanwhile
        self._answers = answers

    async def list_directory(self, path: bytes, *, in_parts: bool = False) -> Listing:
        """The next answer; None is ENOENT."""
        self._meanwhile(len(self.paths))
        answer = self._answers[min(len(self.paths), len(self._answers) - 1)]
        self.paths.append(path)
        if answer is None:
            raise error(errno.ENOENT)
        return answer


def listed(tree: Tree, directory: Inode, server: Server) -> list[bytes]:
    """The names of ``directory``."""

    async def ask() -> list[bytes]:
        listings = DirectoryReader(tree, server, SymlinkPolicy.CONTAIN)  # type: ignore[arg-type]
        return (await listings.listing(directory)).names

    return trio.run(ask)


def rename(tree: Tree, inode: Inode, name: bytes) -> None:
    """As vfs.namespace does it, the request being answered at once."""
    with tree.pending_change((tree.root, inode.name), (tree.root, name)):
        tree.renamed(tree.root, inode.name, tree.root, name)


@pytest.mark.parametrize("answer", [NOTHING, None])
def test_a_listing_is_made_again_after_a_rename_of_the_directory(answer: Listing | None) -> None:
    tree = Tree(b"/r", DIRECTORY, CacheConfig(), known_clock())
    inode = tree.install(tree.root, b"old", DIRECTORY)
    server = Server(lambda count: None if count else rename(tree, inode, b"new"), [answer, WHOLE])
    assert listed(tree, inode, server) == [b"inner"]
    assert server.paths == [b"/r/old", b"/r/new"]


def test_a_listing_that_a_rename_is_under_way_at_the_end_of_is_not_believed() -> None:
    tree = Tree(b"/r", DIRECTORY, CacheConfig(), known_clock())
    above = tree.install(tree.root, b"above", DIRECTORY)
    inode = tree.install(above, b"d", DIRECTORY)
    renaming = tree.pending_change((tree.root, b"above"), (tree.root, b"beside"))

    def begin(count: int) -> None:
        if count == 0:
            renaming.__enter__()

    server = Server(begin, [NOTHING, WHOLE])

    async def ask() -> list[bytes]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            listings = DirectoryReader(tree, server, SymlinkPolicy.CONTAIN)  # type: ignore[arg-type]
            return (await listings.listing(inode)).names

    async def end() -> None:
        await trio.testing.wait_all_tasks_blocked()  # the listing waits for the rename before it asks again
        assert server.paths == [b"/r/above/d"]
        tree.renamed(tree.root, b"above", tree.root, b"beside")
        renaming.__exit__(None, None, None)

    assert trio.run(ask) == [b"inner"]
    assert server.paths == [b"/r/above/d", b"/r/beside/d"]


def test_a_loop_of_renames_lets_a_listing_end() -> None:
    """The second attempt is one that renames wait for."""
    tree = Tree(b"/r", DIRECTORY, CacheConfig(), known_clock())
    inode = tree.install(tree.root, b"0", DIRECTORY)
    renamed = 0

    class Slow(Server):
        async def list_directory(self, path: bytes, *, in_parts: bool = False) -> Listing:
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            return await super().list_directory(path, in_parts=in_parts)

    server = Slow(lambda _count: None, [WHOLE])

    async def keep_renaming() -> None:
        nonlocal renamed

        async def move(_old: bytes, _new: bytes) -> None:
            await trio.lowlevel.checkpoint()
            tree.renamed(tree.root, inode.name, tree.root, b"%d" % (renamed + 1))

        while True:
            names = [(tree.root, inode.name), (tree.root, b"%d" % (renamed + 1))]
            await path_requests.mutate(tree, move, *names, moved=inode)
            renamed += 1

    async def ask() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_renaming)
            listings = DirectoryReader(tree, server, SymlinkPolicy.CONTAIN)  # type: ignore[arg-type]
            assert (await listings.listing(inode)).names == [b"inner"]
            nursery.cancel_scope.cancel()

    trio.run(ask)
    assert renamed > 1
    assert len(server.paths) <= 2


def test_a_directory_the_server_has_no_more_is_no_empty_listing() -> None:
    tree = Tree(b"/r", DIRECTORY, CacheConfig(), known_clock())
    inode = tree.install(tree.root, b"d", DIRECTORY)
    with pytest.raises(OSError) as failure:
        listed(tree, inode, Server(lambda _count: None, [None]))
    assert failure.value.errno == errno.ESTALE


def test_a_reader_lists_again_while_a_name_is_unknown() -> None:
    """A change of ours had no answer: the listing may be from before or after it."""
    tree = Tree(b"/r", DIRECTORY, CacheConfig(), known_clock())
    inode = tree.install(tree.root, b"d", DIRECTORY)

    def lose_a_reply(count: int) -> None:
        if count == 0:
            with tree.pending_change((inode, b"inner")):
                tree.name_unknown(inode, b"inner")

    server = Server(lose_a_reply, [NOTHING, WHOLE])
    assert listed(tree, inode, server) == [b"inner"]
    assert len(server.paths) == 2


def test_two_readers_that_waited_for_one_change_both_list() -> None:
    """What one of them is being told is all there is for the other, too."""
    tree = Tree(b"/r", DIRECTORY, CacheConfig(), known_clock())
    inode = tree.install(tree.root, b"d", DIRECTORY)
    directory = inode.directory
    assert directory is not None
    directory.unknown = frozenset({b"made"})
    asked = trio.Event()

    class Slow(Server):
        async def list_directory(self, path: bytes, *, in_parts: bool = False) -> Listing:
            await asked.wait()
            return await super().list_directory(path, in_parts=in_parts)

    server = Slow(lambda count: None, [WHOLE])
    found: list[list[bytes]] = []

    async def read(listings: DirectoryReader) -> None:
        found.append((await listings.listing(inode)).names)

    async def test() -> None:
        listings = DirectoryReader(tree, server, SymlinkPolicy.CONTAIN)  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            with tree.pending_change((inode, b"made")):
                nursery.start_soon(read, listings)
                nursery.start_soon(read, listings)
                await trio.testing.wait_all_tasks_blocked()
                tree.remove_name(inode, b"made")
            await trio.testing.wait_all_tasks_blocked()
            asked.set()

    trio.run(test)
    assert found == [[b"inner"], [b"inner"]]
    assert len(server.paths) == 1
