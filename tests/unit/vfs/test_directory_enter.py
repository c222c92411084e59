"""Enter-ahead: small directories over a distance, once each, and not where nobody enters."""

from __future__ import annotations

import stat

from sftpfs.types import Attributes
from sftpfs.vfs.prefetch.directory_enter import DISTANT, LARGEST, MOST_UNUSED, TRIAL, DirectoryEnterPrefetch
from sftpfs.vfs.tree.inode import Inode

FAR = 0.02


def directory(number: int, size: int = LARGEST) -> Inode:
    return Inode(number, None, b"name", Attributes(stat.S_IFDIR | 0o755, size, 0, 0, 1, 1))


def listed(inode: Inode, until: float) -> None:
    assert inode.directory is not None
    inode.directory.complete_until = until


def test_small_directories_over_a_distance_are_listed_once() -> None:
    policy, small = DirectoryEnterPrefetch(), directory(2)
    assert not policy.on_lookup(small, DISTANT / 2, 0.0)
    assert not policy.on_lookup(directory(3, LARGEST + 1), FAR, 0.0)
    assert policy.on_lookup(small, FAR, 0.0)
    assert not policy.on_lookup(small, FAR, 0.0)
    policy.on_reply(small, True)
    assert policy.on_entered(small)
    assert not policy.on_entered(small)
    assert (policy.tally.issued, policy.tally.used, policy.tally.wasted) == (1, 1, 0)


def test_many_that_nobody_enters_are_enough() -> None:
    policy = DirectoryEnterPrefetch()
    assert (
        sum(policy.on_lookup(directory(number), FAR, 0.0) for number in range(MOST_UNUSED + 5)) == MOST_UNUSED
    )


def test_a_policy_that_wastes_more_than_it_saves_turns_itself_off() -> None:
    policy = DirectoryEnterPrefetch()
    issued = 0
    for number in range(2 * TRIAL):
        one = directory(number)
        issued += policy.on_lookup(one, FAR, float(number))
        listed(one, number + 0.5)
        policy.on_reply(one, True)
    assert TRIAL <= issued <= TRIAL + 1
    assert policy.tally.wasted >= TRIAL


def test_one_that_failed_is_wasted() -> None:
    policy, one = DirectoryEnterPrefetch(), directory(2)
    assert policy.on_lookup(one, FAR, 0.0)
    policy.on_reply(one, False)
    assert not policy.on_entered(one)
    assert policy.tally.wasted == 1
