"""A removal's own steps: what follows a round, how much is kept, and what the kernel is notified of."""

from __future__ import annotations

import errno
from typing import Any, cast

import pytest
import trio
import trio.testing

from sftpfs.config import CacheConfig
from sftpfs.errors import SessionLostError, error
from sftpfs.types import DirectoryEntry, PartialListing
from sftpfs.vfs.namespace import Removed
from sftpfs.vfs.tree.tree import Tree
from sftpfs.vfs.tree_remove import news as news_module
from sftpfs.vfs.tree_remove.branch import Branch
from sftpfs.vfs.tree_remove.news import News
from sftpfs.vfs.tree_remove.removal import MOST_BARREN, MOST_FAILED, Order, Removal
from sftpfs.vfs.tree_remove.vanished import Gone, Vanished
from tests.harness.server_time import known_clock
from tests.unit.vfs.test_tree import DIRECTORY, REGULAR

DENIED = error(errno.EACCES)


def removal(news: News, **order: bool) -> Removal:
    nobody = cast(Any, None)
    return Removal(nobody, nobody, nobody, nobody, Order(**order), news, nobody)


def chain(depth: int) -> list[Branch]:
    """Branches, each in the one before, and each listed with nothing else in it."""
    found = [Branch(None, b"", 0)]
    for number in range(depth):
        branch = Branch(found[-1], b"d%d" % number, 0)
        branch.exhausted = True
        found.append(branch)
    return found


def test_what_stays_keeps_what_it_is_in_however_deep() -> None:
    news = News(verbose=False)
    branches = chain(3000)
    one = removal(news)
    one._failed(branches[-1], b"f", DENIED)
    assert [len(branch.failed) for branch in branches] == [1] * 3001
    assert not one._jobs
    failed, _ = news.take()
    assert [(each.path.count(b"/"), each.problem) for each in failed] == [(2999, DENIED)]


def test_what_is_missing_is_no_failure_with_f() -> None:
    news = News(verbose=False)
    branches = chain(2)
    one = removal(news, ignore_missing=True)
    one._failed(branches[-1], b"f", error(errno.ENOENT))
    assert news.failures == 0
    assert [job.branch for job in one._jobs] == [branches[-1]]


def test_a_directory_is_listed_again_until_nothing_of_it_goes() -> None:
    news = News(verbose=False)
    _, branch = chain(1)
    branch.exhausted = False
    branch.gone = 1
    one = removal(news)
    one._failed(branch, b"f", DENIED)
    assert one._branches == [branch]
    one._branches.clear()
    branch.gone = 0
    one._failed(branch, b"g", DENIED)
    assert not one._branches
    failed, _ = news.take()
    assert "2 names in it cannot be removed" in str(failed[-1].problem)


def test_a_directory_is_listed_again_after_others_removed_what_was_listed() -> None:
    """With -f, unless the server goes on naming what it cannot find."""
    news = News(verbose=False)
    tree = Tree(b"/r", DIRECTORY, CacheConfig(), known_clock())
    branch = Branch(Branch(None, b"", 0, tree.root), b"d", 0)
    one = removal(news, ignore_missing=True)
    one._vanished = Vanished(cast(Any, None))
    again = []
    for _ in range(MOST_BARREN + 1):
        branch.waiting = 1
        one._take(branch, tree.root, PartialListing(DIRECTORY, [DirectoryEntry(b"f", None)], False))
        one._settled(branch)
        one._failed(branch, b"f", error(errno.ENOENT))
        again.append(one._branches == [branch])
        one._branches.clear()
    assert again == [True] * MOST_BARREN + [False]
    assert news.failures == 1


def test_a_directory_with_too_many_failures_is_given_up() -> None:
    news = News(verbose=False)
    _, branch = chain(1)
    branch.exhausted = False
    branch.gone = 1
    branch.failed = {b"%d" % number for number in range(MOST_FAILED)}
    one = removal(news)
    one._failed(branch, b"f", DENIED)
    assert not one._branches
    assert news.failures == 2


def test_a_lost_server_ends_it() -> None:
    news = News(verbose=False)
    branches = chain(2)
    one = removal(news)
    lost = SessionLostError("gone", errno.ETIMEDOUT)
    one._failed(branches[-1], b"f", lost)
    assert news.stopped is lost
    assert not one._jobs
    assert not branches[-2].failed, "nobody knows whether it could have been removed"


def test_news_wait_for_whoever_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news_module, "MOST_UNTAKEN", 2)

    async def test() -> None:
        news = News(verbose=True)
        news.went(0, b"a", directory=False)
        await news.room()
        news.failed(0, b"b", DENIED)
        with trio.move_on_after(1) as scope:
            await news.room()
        assert scope.cancelled_caught
        failed, went = news.take()
        assert (len(failed), len(went), news.count, news.failures) == (1, 1, 1, 1)
        await news.room()

    trio.run(test, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_kernel_is_notified_of_what_it_does_not_know() -> None:
    tree = Tree(b"/r", DIRECTORY, CacheConfig(), known_clock())
    directory = tree.install(tree.root, b"d", DIRECTORY)
    unknown = tree.install(tree.root, b"e", DIRECTORY)
    files = [tree.install(directory, name, REGULAR) for name in (b"held", b"not", b"anew")]
    for inode in (directory, files[0], files[2]):
        tree.count_lookup(inode)
    sent: list[list[Gone]] = []
    failing = True

    async def notify(gone: list[Gone]) -> None:
        if failing:
            raise KeyboardInterrupt
        sent.append(gone)

    async def test() -> None:
        nonlocal failing
        vanished = Vanished(notify)
        vanished.add(unknown, Removed(b"x", None))
        for inode in files:
            tree.removed(directory, inode.name)
            vanished.add(directory, Removed(inode.name, inode))
        tree.count_lookup(tree.install(directory, b"anew", REGULAR))
        with pytest.raises(KeyboardInterrupt):
            await vanished.finish()
        failing = False
        await vanished.finish()
        expected = [(directory.number, b"held", files[0].number), (directory.number, b"not", 0)]
        assert sent == [expected]
        assert vanished.take() == []

    trio.run(test)
