"""Leases: how long an answer is believed, and how the server's clock is learned."""

from __future__ import annotations

import stat

from sftpfs.config import CacheConfig
from sftpfs.types import Attributes
from sftpfs.vfs.tree.leases import (
    SHORTEST_LEASE,
    LeasePolicy,
    NegativeLeases,
    proves_unchanged,
    version_changed,
)


def attributes(size: int = 10, mtime: int = 1000) -> Attributes:
    return Attributes(stat.S_IFREG | 0o644, size, 0, 0, 1000, mtime)


def test_the_first_lease_is_the_configured_one() -> None:
    assert LeasePolicy(CacheConfig(stat_timeout=20)).next_lease(0.0, False) == 20


def test_a_change_by_somebody_else_shortens_and_quiet_doubles_up_to_the_configured_time() -> None:
    policy = LeasePolicy(CacheConfig(stat_timeout=5))
    leases = [policy.next_lease(5.0, True)]
    for _ in range(4):
        leases.append(policy.next_lease(leases[-1], False))
    assert leases == [SHORTEST_LEASE, 2.0, 4.0, 5.0, 5.0]


def test_no_cache_means_no_lease() -> None:
    policy = LeasePolicy(CacheConfig(enabled=False))
    assert (policy.attribute, policy.directory, policy.link, policy.negative) == (0, 0, 0, 0)
    assert policy.next_lease(0.0, True) == 0


def test_a_file_changed_within_its_lease_is_hot() -> None:
    policy = LeasePolicy(CacheConfig(stat_timeout=20))
    assert policy.is_hot(attributes(mtime=1000), 1010.0)
    assert not policy.is_hot(attributes(mtime=1000), 1021.0)


def test_size_and_mtime_make_the_version() -> None:
    assert not version_changed(attributes(), attributes()._replace(atime=5, mode=stat.S_IFREG))
    assert version_changed(attributes(size=1), attributes(size=2))
    assert version_changed(attributes(mtime=1), attributes(mtime=2))


def test_a_listing_is_proven_only_by_an_mtime_of_a_second_that_was_over() -> None:
    listed = attributes(mtime=1000)
    assert proves_unchanged(listed, 1003.0, listed)
    assert not proves_unchanged(listed, 1001.0, listed)
    assert not proves_unchanged(listed, 1003.0, attributes(mtime=1001))
    assert not proves_unchanged(attributes(mtime=90000), 1003.0, attributes(mtime=90000))  # a time to come


def test_negative_leases_are_kept_per_name_and_bounded() -> None:
    leases = NegativeLeases(limit=0)
    for number in range(3000):
        leases.add(1, b"%d" % number, 5.0)
    kept = sum(1 for number in range(3000) if leases.expires(1, b"%d" % number))
    assert 0 < kept < 3000
    leases.add(1, b"name", 7.0)
    assert leases.expires(1, b"name") == 7.0
    assert leases.expires(2, b"name") == 0.0
    leases.discard(1, b"name")
    assert leases.expires(1, b"name") == 0.0
