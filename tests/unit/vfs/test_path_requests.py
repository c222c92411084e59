"""Requests by path beside our own renames: in order, fair, and never for where something was."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from sftpfs.config import CacheConfig
from sftpfs.errors import SessionLostError, UnsentError, error
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.tree import Tree
from tests.harness.server_time import known_clock
from tests.unit.vfs.test_tree import DIRECTORY, REGULAR, ask


class Room:
    """``/r/above/d/f``, and a server whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.tree = Tree(b"/r", DIRECTORY, CacheConfig(), known_clock())
        self.above = self.tree.install(self.tree.root, b"above", DIRECTORY)
        self.directory = self.tree.install(self.above, b"d", DIRECTORY)
        self.file = self.tree.install(self.directory, b"f", REGULAR)
        self.asked: list[bytes] = []
        self.held: dict[bytes, trio.Event] = {}
        self.missing: set[bytes] = set()

    def hold(self, path: bytes) -> trio.Event:
        """What is asked of ``path`` is answered once the event is set."""
        self.held[path] = trio.Event()
        return self.held[path]

    async def request(self, *paths: bytes) -> bytes:
        self.asked.append(b" ".join(paths))
        if paths[0] in self.held:
            await self.held[paths[0]].wait()
        else:
            await trio.sleep(0.01)
        if paths[0] in self.missing:
            raise error(errno.ENOENT)
        return paths[0]

    async def rename(self, parent: Inode, old: bytes, new: bytes) -> None:
        inode = parent.directory.children[old]  # type: ignore[union-attr]

        async def move(*paths: bytes) -> None:
            await self.request(*paths)
            self.tree.renamed(parent, old, parent, new)

        await path_requests.mutate(self.tree, move, (parent, old), (parent, new), moved=inode)


def run(test: Callable[[Room, trio.Nursery], Awaitable[None]]) -> None:
    async def inside() -> None:
        room = Room()
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                await test(room, nursery)
                nursery.cancel_scope.cancel()
        assert not room.tree.path_holds

    trio.run(inside, clock=trio.testing.MockClock(autojump_threshold=0))


blocked = trio.testing.wait_all_tasks_blocked


@pytest.mark.parametrize("send", [path_requests.query, path_requests.mutate])
def test_a_request_waits_for_the_rename_above_it(send: Callable[..., Awaitable[bytes]]) -> None:
    async def test(room: Room, nursery: trio.Nursery) -> None:
        renaming = room.hold(b"/r/above")
        nursery.start_soon(room.rename, room.tree.root, b"above", b"beside")
        await blocked()
        nursery.start_soon(send, room.tree, room.request, (room.directory, b"g"))
        await blocked()
        assert room.asked == [b"/r/above /r/beside"]
        renaming.set()
        await blocked()
        assert room.asked[1:] == [b"/r/beside/d/g"]

    run(test)


def test_what_a_rename_came_between_is_asked_again_and_its_answer_dropped() -> None:
    async def test(room: Room, nursery: trio.Nursery) -> None:
        answered, dropped, answers = room.hold(b"/r/above/d"), [], []

        async def look() -> None:
            answers.append(
                await path_requests.query(room.tree, room.request, room.directory, drop=dropped.append)
            )

        nursery.start_soon(look)
        await blocked()
        await room.rename(room.tree.root, b"above", b"beside")
        answered.set()
        await trio.sleep(1)
        assert dropped == [b"/r/above/d"]
        assert answers == [b"/r/beside/d"]

    run(test)


def test_nothing_there_counts_only_where_the_place_was_the_same() -> None:
    async def test(room: Room, nursery: trio.Nursery) -> None:
        answered, answers = room.hold(b"/r/above/d/f"), []
        room.missing = {b"/r/above/d/f"}

        async def look() -> None:
            answers.append(await path_requests.query(room.tree, room.request, (room.directory, b"f")))

        nursery.start_soon(look)
        await blocked()
        await room.rename(room.above, b"d", b"e")
        answered.set()
        await trio.sleep(1)
        assert answers == [b"/r/above/e/f"]
        room.missing.add(b"/r/above/e/f")
        with pytest.raises(FileNotFoundError):
            await path_requests.query(room.tree, room.request, (room.directory, b"f"))

    run(test)


def test_a_rename_waits_for_changes_below_it_and_not_for_looks() -> None:
    async def test(room: Room, nursery: trio.Nursery) -> None:
        changed, looked = room.hold(b"/r/above/d/g"), room.hold(b"/r/above/d/f")
        nursery.start_soon(path_requests.query, room.tree, room.request, room.file)
        await blocked()
        nursery.start_soon(path_requests.mutate, room.tree, room.request, (room.directory, b"g"))
        await blocked()
        nursery.start_soon(room.rename, room.tree.root, b"above", b"beside")
        await blocked()
        assert len(room.asked) == 2
        changed.set()
        await blocked()
        assert room.asked[2] == b"/r/above /r/beside"
        looked.set()

    run(test)


def test_a_change_waits_for_the_rename_that_waits_already() -> None:
    """Else the rename, sent beside it, moves the names by which a failure of the change is explained."""

    async def test(room: Room, nursery: trio.Nursery) -> None:
        first, second = room.hold(b"/r/above/d/g"), room.hold(b"/r/beside/d/h")
        nursery.start_soon(path_requests.mutate, room.tree, room.request, (room.directory, b"g"))
        await blocked()
        nursery.start_soon(room.rename, room.tree.root, b"above", b"beside")
        await blocked()
        nursery.start_soon(path_requests.mutate, room.tree, room.request, (room.directory, b"h"))
        await blocked()
        assert room.asked == [b"/r/above/d/g"]
        first.set()
        await trio.sleep(1)
        assert room.asked[1:] == [b"/r/above /r/beside", b"/r/beside/d/h"]
        nursery.start_soon(room.rename, room.tree.root, b"beside", b"above")
        await trio.sleep(1)
        assert len(room.asked) == 3
        second.set()
        await trio.sleep(1)
        assert room.asked[3:] == [b"/r/beside /r/above"] and not room.tree.path_holds

    run(test)


def test_changes_of_one_inode_follow_one_another() -> None:
    """What a truncation made of it looks like another file to a chmod whose answer comes first."""

    async def test(room: Room, nursery: trio.Nursery) -> None:
        first = room.hold(b"/r/above/d/f")
        nursery.start_soon(path_requests.mutate, room.tree, room.request, room.file)
        await blocked()
        nursery.start_soon(path_requests.mutate, room.tree, room.request, room.file)
        await blocked()
        assert len(room.asked) == 1 and path_requests.mutation_under_way(room.tree, room.file) is not None
        await path_requests.query(room.tree, room.request, (room.directory, b"g"))
        await path_requests.mutate(room.tree, room.request, (room.directory, b"g"))
        first.set()
        await trio.sleep(1)
        assert room.asked.count(b"/r/above/d/f") == 2

    run(test)


def test_a_rename_waits_for_nothing_beside_it() -> None:
    async def test(room: Room, nursery: trio.Nursery) -> None:
        other = room.tree.install(room.tree.root, b"other", DIRECTORY)
        room.hold(b"/r/other/g")
        nursery.start_soon(path_requests.mutate, room.tree, room.request, (other, b"g"))
        await blocked()
        await room.rename(room.tree.root, b"above", b"beside")

    run(test)


def test_a_loop_of_renames_lets_every_request_end() -> None:
    """However long the request takes: the rename that comes after it was disturbed waits for it."""

    async def test(room: Room, nursery: trio.Nursery) -> None:
        async def slow(path: bytes) -> bytes:
            room.asked.append(path)
            await trio.sleep(1.0)
            return path

        async def renames() -> None:
            while True:
                await room.rename(room.tree.root, b"above", b"beside")
                await room.rename(room.tree.root, b"beside", b"above")

        nursery.start_soon(renames)
        for target in (room.file, (room.directory, b"g")):
            room.asked.clear()
            with trio.fail_after(3):
                await path_requests.query(room.tree, slow, target)
            assert sum(b"/d/" in path for path in room.asked) <= 2

    run(test)


def test_what_has_no_name_any_more_is_not_asked_for() -> None:
    async def test(room: Room, _nursery: trio.Nursery) -> None:
        room.tree.remove_name(room.tree.root, b"above")
        with pytest.raises(OSError) as stale:
            await path_requests.query(room.tree, room.request, room.file)
        assert stale.value.errno == errno.ESTALE
        with pytest.raises(FileNotFoundError):
            await path_requests.mutate(room.tree, room.request, (room.directory, b"g"))
        assert not room.asked

    run(test)


@pytest.mark.parametrize(
    ("failure", "unknown"),
    [
        (SessionLostError("lost", errno.ETIMEDOUT), True),
        (error(errno.EIO), True),
        (UnsentError("none", errno.ETIMEDOUT), False),
        (error(errno.EACCES), False),
        (error(errno.EEXIST), False),
    ],
)
def test_names_are_unknown_after_a_change_with_an_unknown_outcome(failure: OSError, unknown: bool) -> None:
    async def test(room: Room, _nursery: trio.Nursery) -> None:
        tree, directory = room.tree, room.directory
        made = tree.created(directory, b"sub", DIRECTORY)
        assert ask(tree, made, b"new") is False

        async def fail(*_paths: bytes) -> None:
            raise failure

        with pytest.raises(OSError):
            await path_requests.mutate(tree, fail, (made, b"new"))
        assert ask(tree, made, b"new") is unknown
        with pytest.raises(OSError):
            await path_requests.mutate(tree, fail, (directory, b"sub"), (made, b"other"), moved=made)
        assert (ask(tree, directory, b"sub") is True) == unknown
        assert (made.directory.complete(0.0) is False) == unknown  # type: ignore[union-attr]
        with pytest.raises(OSError):
            await path_requests.mutate(tree, fail, room.file)
        assert (room.file.expires == 0.0) == unknown
        assert room.file.linked

    run(test)


def test_changes_of_one_name_follow_one_another() -> None:
    """The kernel sees to that for its own; a removal that begins in the mount comes beside them."""

    async def test(room: Room, nursery: trio.Nursery) -> None:
        removing = room.hold(b"/r/above/d/f")

        async def change() -> None:
            await path_requests.mutate(room.tree, room.request, (room.directory, b"f"))

        nursery.start_soon(change)
        await blocked()
        nursery.start_soon(change)
        nursery.start_soon(room.rename, room.directory, b"f", b"g")
        await blocked()
        assert room.asked == [b"/r/above/d/f"]
        assert list(room.directory.directory.changing) == [b"f"]  # type: ignore[union-attr]
        removing.set()
        await trio.sleep(1)
        assert sorted(room.asked[1:]) == [b"/r/above/d/f", b"/r/above/d/f /r/above/d/g"]
        assert not room.directory.directory.changing  # type: ignore[union-attr]

    run(test)


def test_a_removal_beside_the_kernel_and_changes_of_the_file_follow_one_another() -> None:
    async def test(room: Room, nursery: trio.Nursery) -> None:
        changing = room.hold(b"/r/above/d/f")

        async def change() -> None:
            await path_requests.mutate(room.tree, room.request, room.file)

        async def remove() -> None:
            await path_requests.mutate(room.tree, room.request, (room.directory, b"f"), removed=room.file)

        nursery.start_soon(change)
        await blocked()
        nursery.start_soon(remove)
        await blocked()
        nursery.start_soon(change)
        await blocked()
        assert len(room.asked) == 1
        changing.set()
        del room.held[b"/r/above/d/f"]
        await trio.sleep(1)
        assert len(room.asked) == 3

    run(test)


def test_a_directory_that_is_removed_beside_the_kernel_waits_for_what_is_made_in_it() -> None:
    """What is asked later waits, and then finds that it is gone."""

    async def test(room: Room, nursery: trio.Nursery) -> None:
        making = room.hold(b"/r/above/d/new")
        failures: list[int | None] = []

        async def make(name: bytes) -> None:
            try:
                await path_requests.mutate(room.tree, room.request, (room.directory, name))
            except OSError as problem:
                failures.append(problem.errno)

        async def remove() -> None:
            async def sent(path: bytes) -> None:
                await room.request(path)
                room.tree.removed(room.above, b"d")

            await path_requests.mutate(room.tree, sent, (room.above, b"d"), moved=room.directory)

        nursery.start_soon(make, b"new")
        await blocked()
        nursery.start_soon(remove)
        await blocked()
        nursery.start_soon(make, b"later")
        await blocked()
        assert room.asked == [b"/r/above/d/new"]
        making.set()
        await trio.sleep(1)
        assert room.asked == [b"/r/above/d/new", b"/r/above/d"]
        assert failures == [errno.ENOENT]

    run(test)


def test_two_changes_of_one_name_follow_each_other() -> None:
    """The kernel sends only one at a time; what the mount makes by itself comes beside them. Another name
    does not wait."""

    async def test(room: Room, nursery: trio.Nursery) -> None:
        first = room.hold(b"/r/above/d/g")
        nursery.start_soon(path_requests.mutate, room.tree, room.request, (room.directory, b"g"))
        await blocked()
        nursery.start_soon(path_requests.mutate, room.tree, room.request, (room.directory, b"g"))
        nursery.start_soon(path_requests.mutate, room.tree, room.request, (room.directory, b"h"))
        await blocked()
        assert room.asked == [b"/r/above/d/g", b"/r/above/d/h"]
        first.set()
        await trio.sleep(1)
        assert room.asked[2:] == [b"/r/above/d/g"]
        assert room.directory.directory is not None and not room.directory.directory.changing

    run(test)
