"""What is made of what is seen after a reply was lost."""

from __future__ import annotations

import stat
from itertools import product

import pytest

from sftpfs.remote.api import Changed
from sftpfs.remote.resolution import (
    TABLE,
    Operation,
    Sight,
    Verdict,
    directory_sight,
    file_sight,
    known_sight,
    link_sight,
    symlink_sight,
    target_sight,
    verdict,
)
from sftpfs.types import MTIME_GRAIN, Attributes

NOW = 1_700_000_000
FILE = Attributes(stat.S_IFREG | 0o644, 0, 0, 0, NOW, NOW)
OVER = FILE._replace(size=7)
DIRECTORY = FILE._replace(mode=stat.S_IFDIR | 0o755, size=4096)
LINK = FILE._replace(mode=stat.S_IFLNK | 0o777, size=6)
OLD = NOW - int(MTIME_GRAIN) - 1


def test_every_row_gives_its_reason_and_can_be_reached() -> None:
    for operation, rows in TABLE.items():
        targets = list(Sight) if operation is Operation.RENAME else [None]
        reached = set()
        for subject, target in product(Sight, targets):
            for number, row in enumerate(rows):
                if row.subject in (None, subject) and row.target in (None, target):
                    reached.add(number)
                    break
        assert reached == set(range(len(rows))), operation
        assert all(row.why for row in rows)


@pytest.mark.parametrize("operation", list(Operation))
def test_nothing_is_called_done_on_the_sight_of_another_file(operation: Operation) -> None:
    if operation is not Operation.RENAME:
        assert verdict(operation, Sight.OTHER) is not Verdict.DONE
    else:
        assert verdict(operation, Sight.ABSENT, Sight.OTHER) is Verdict.UNCLEAR
        assert verdict(operation, Sight.OTHER, Sight.OTHER) is Verdict.UNCLEAR
        assert verdict(operation, Sight.OTHER, Sight.UNKNOWN) is Verdict.UNCLEAR


def test_a_removal_is_not_repeated_on_another_file() -> None:
    assert verdict(Operation.REMOVE, Sight.OTHER) is Verdict.UNCLEAR
    assert verdict(Operation.REMOVE, Sight.OURS) is Verdict.AGAIN
    assert verdict(Operation.REMOVE, Sight.ABSENT) is Verdict.DONE


def test_a_rotated_log_is_not_renamed_over_itself() -> None:
    """The old name was taken again at once, by a new and empty file."""
    known = FILE._replace(size=5000)
    fresh = FILE._replace(mtime=NOW + 3)
    assert verdict(Operation.RENAME, known_sight(fresh, known), known_sight(known, known)) is Verdict.DONE


@pytest.mark.parametrize(
    ("seen", "known", "sight"),
    [
        (None, FILE, Sight.ABSENT),
        (FILE, None, Sight.UNKNOWN),
        (FILE, FILE._replace(atime=0), Sight.OURS),
        (FILE, FILE._replace(size=1), Sight.OTHER),
        (FILE, FILE._replace(mtime=1), Sight.OTHER),
        (DIRECTORY, DIRECTORY._replace(size=1, mtime=1), Sight.OURS),
        (DIRECTORY, FILE, Sight.OTHER),
    ],
)
def test_sight_of_what_was_there(seen: Attributes | None, known: Attributes | None, sight: Sight) -> None:
    assert known_sight(seen, known) is sight


@pytest.mark.parametrize(
    ("seen", "known", "over", "sight"),
    [
        (OVER, FILE, OVER, Sight.UNTOUCHED),
        (OVER, None, OVER, Sight.UNTOUCHED),
        (OVER, OVER, OVER, Sight.UNKNOWN),  # it looks as what was renamed: nothing can be told
        (FILE, FILE, OVER, Sight.OURS),
        (FILE, None, OVER, Sight.UNKNOWN),
        (OVER, FILE, None, Sight.OTHER),
        (None, FILE, OVER, Sight.ABSENT),
        (DIRECTORY, None, DIRECTORY, Sight.UNKNOWN),  # size and time tell nothing of it
        (OVER, FILE, Changed.BY_US, Sight.UNKNOWN),
        (FILE, FILE, Changed.BY_US, Sight.OURS),
        (DIRECTORY, FILE, Changed.BY_US, Sight.OTHER),  # which no change of a file makes of it
        (None, FILE, Changed.BY_US, Sight.ABSENT),
    ],
)
def test_sight_of_a_new_name(
    seen: Attributes | None, known: Attributes | None, over: Attributes | Changed | None, sight: Sight
) -> None:
    assert target_sight(seen, known, over) is sight


@pytest.mark.parametrize(
    ("seen", "empty", "sight"),
    [
        (None, None, Sight.ABSENT),
        (DIRECTORY, True, Sight.OURS),
        (DIRECTORY, False, Sight.OTHER),
        (DIRECTORY, None, Sight.OTHER),
        (DIRECTORY._replace(mtime=OLD), True, Sight.OTHER),
        (FILE, None, Sight.OTHER),
    ],
)
def test_sight_of_a_directory_made(seen: Attributes | None, empty: bool | None, sight: Sight) -> None:
    assert directory_sight(seen, empty, NOW + 0.9) is sight


@pytest.mark.parametrize(
    ("seen", "sight"),
    [
        (None, Sight.ABSENT),
        (FILE, Sight.OURS),
        (FILE._replace(mode=stat.S_IFREG | 0o600), Sight.OURS),  # the umask took bits
        (FILE._replace(mode=stat.S_IFREG | 0o666), Sight.OTHER),  # more than was asked for
        (FILE._replace(size=1), Sight.OTHER),
        (FILE._replace(mtime=OLD), Sight.OTHER),
        (DIRECTORY, Sight.OTHER),
    ],
)
def test_sight_of_a_file_created(seen: Attributes | None, sight: Sight) -> None:
    assert file_sight(seen, 0o644, NOW + 0.9) is sight


def test_sight_of_links() -> None:
    assert symlink_sight(None, None, b"target") is Sight.ABSENT
    assert symlink_sight(LINK, b"target", b"target") is Sight.OURS
    assert symlink_sight(LINK, b"tarmac", b"target") is Sight.OTHER
    assert symlink_sight(FILE, None, b"target") is Sight.OTHER
    assert link_sight(None, FILE) is Sight.ABSENT
    assert link_sight(FILE._replace(atime=1, nlink=2), FILE) is Sight.OURS
    assert link_sight(FILE._replace(uid=1), FILE) is Sight.OTHER
    assert link_sight(FILE, None) is Sight.OTHER
