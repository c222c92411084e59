"""When a file found at the path is the one that was open."""

from __future__ import annotations

import stat

import pytest

from sftpfs.remote.version import KnownVersion
from sftpfs.types import AttributeChange, Attributes

OPENED = Attributes(stat.S_IFREG | 0o644, 100, 0, 0, 50, 1000)


def known() -> KnownVersion:
    return KnownVersion(OPENED)


@pytest.mark.parametrize(
    ("seen", "accepted"),
    [
        (OPENED, True),
        (OPENED._replace(atime=99, mode=stat.S_IFREG | 0o600, uid=7), True),
        (OPENED._replace(size=101), False),
        (OPENED._replace(mtime=1001), False),
        (OPENED._replace(mtime=999), False),
        (OPENED._replace(mode=stat.S_IFLNK | 0o777), False),
    ],
)
def test_a_file_not_written_is_as_it_was_told(seen: Attributes, accepted: bool) -> None:
    assert known().accepts(seen) is accepted


@pytest.mark.parametrize(
    ("size", "mtime", "accepted"),
    [
        (150, 1000, True),  # what was acknowledged
        (170, 1005, True),
        (200, 1005, True),  # all that was sent
        (149, 1005, False),  # acknowledged bytes are missing
        (201, 1005, False),  # bytes nobody here wrote
        (200, 999, False),  # older than the file we opened
    ],
)
def test_a_file_being_written_is_between_acknowledged_and_sent(size: int, mtime: int, accepted: bool) -> None:
    version = known()
    version.writing(150)
    version.writing(200)
    version.wrote(150)
    assert version.accepts(OPENED._replace(size=size, mtime=mtime)) is accepted


def test_a_file_told_after_writing_is_exact_again() -> None:
    version = known()
    version.writing(150)
    version.wrote(150)
    version.told(OPENED._replace(size=150, mtime=1005))
    assert version.accepts(OPENED._replace(size=150, mtime=1005))
    assert not version.accepts(OPENED._replace(size=150, mtime=1006))


def test_appends_count_from_the_end() -> None:
    version = known()
    version.appending(10)
    version.appending(10)
    version.appended(10)
    assert [size for size in range(100, 130) if version.accepts(OPENED._replace(size=size))] == list(
        range(110, 121)
    )


def test_a_size_and_a_time_being_set_may_be_either() -> None:
    version = known()
    version.setting(AttributeChange(size=10, mtime=5))
    for size, mtime in ((100, 1000), (10, 5)):
        assert version.accepts(OPENED._replace(size=size, mtime=mtime))
    assert not version.accepts(OPENED._replace(size=9, mtime=5))


def test_another_handle_of_the_file_may_know_better() -> None:
    version, other = known(), known()
    other.writing(300)
    other.wrote(300)
    other.told(OPENED._replace(size=300, mtime=1010))
    other.known_at = version.known_at + 1
    assert not version.accepts(OPENED._replace(size=300, mtime=1010))
    version.adopt(other)
    assert version.accepts(OPENED._replace(size=300, mtime=1010))
    assert version.changes, "an FSTAT on its way is from before"


def test_what_an_older_handle_knew_does_not_count() -> None:
    version, other = known(), known()
    other.writing(300)
    other.known_at = version.known_at - 1
    version.adopt(other)
    assert version.accepts(OPENED) and not version.changes
