"""What is made of what is seen after a reply was lost."""

from __future__ import annotations

import stat
from itertools import product

import pytest

from sftpfs.remote.api import Changed
from sftpfs.remote.outcome.lost_reply_rules import (
    TABLE,
    Observed,
    Operation,
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
        targets = list(Observed) if operation is Operation.RENAME else [None]
        reached = set()
        for subject, target in product(Observed, targets):
            for number, row in enumerate(rows):
                if row.subject in (None, subject) and row.target in (None, target):
                    reached.add(number)
                    break
        assert reached == set(range(len(rows))), operation
        assert all(row.why for row in rows)


@pytest.mark.parametrize("operation", list(Operation))
def test_nothing_is_called_done_on_the_sight_of_another_file(operation: Operation) -> None:
    if operation is not Operation.RENAME:
        assert verdict(operation, Observed.OTHER) is not Verdict.DONE
    else:
        assert verdict(operation, Observed.ABSENT, Observed.OTHER) is Verdict.UNCLEAR
        assert verdict(operation, Observed.OTHER, Observed.OTHER) is Verdict.UNCLEAR
        assert verdict(operation, Observed.OTHER, Observed.UNKNOWN) is Verdict.UNCLEAR


def test_a_removal_is_not_repeated_on_another_file() -> None:
    assert verdict(Operation.REMOVE, Observed.OTHER) is Verdict.UNCLEAR
    assert verdict(Operation.REMOVE, Observed.OURS) is Verdict.AGAIN
    assert verdict(Operation.REMOVE, Observed.ABSENT) is Verdict.DONE


def test_a_rotated_log_is_not_renamed_over_itself() -> None:
    """The old name was taken again at once, by a new and empty file."""
    known = FILE._replace(size=5000)
    fresh = FILE._replace(mtime=NOW + 3)
    assert verdict(Operation.RENAME, known_sight(fresh, known), known_sight(known, known)) is Verdict.DONE


@pytest.mark.parametrize(
    ("seen", "known", "sight"),
    [
        (None, FILE, Observed.ABSENT),
        (FILE, None, Observed.UNKNOWN),
        (FILE, FILE._replace(atime=0), Observed.OURS),
        (FILE, FILE._replace(size=1), Observed.OTHER),
        (FILE, FILE._replace(mtime=1), Observed.OTHER),
        (DIRECTORY, DIRECTORY._replace(size=1, mtime=1), Observed.OURS),
        (DIRECTORY, FILE, Observed.OTHER),
    ],
)
def test_sight_of_what_was_there(seen: Attributes | None, known: Attributes | None, sight: Observed) -> None:
    assert known_sight(seen, known) is sight


@pytest.mark.parametrize(
    ("seen", "known", "over", "sight"),
    [
        (OVER, FILE, OVER, Observed.UNTOUCHED),
        (OVER, None, OVER, Observed.UNTOUCHED),
        (OVER, OVER, OVER, Observed.UNKNOWN),  # it looks as what was renamed: nothing can be told
        (FILE, FILE, OVER, Observed.OURS),
        (FILE, None, OVER, Observed.UNKNOWN),
        (OVER, FILE, None, Observed.OTHER),
        (None, FILE, OVER, Observed.ABSENT),
        (DIRECTORY, None, DIRECTORY, Observed.UNKNOWN),  # size and time tell nothing of it
        (OVER, FILE, Changed.BY_US, Observed.UNKNOWN),
        (FILE, FILE, Changed.BY_US, Observed.OURS),
        (DIRECTORY, FILE, Changed.BY_US, Observed.OTHER),  # which no change of a file makes of it
        (None, FILE, Changed.BY_US, Observed.ABSENT),
    ],
)
def test_sight_of_a_new_name(
    seen: Attributes | None, known: Attributes | None, over: Attributes | Changed | None, sight: Observed
) -> None:
    assert target_sight(seen, known, over) is sight


@pytest.mark.parametrize(
    ("seen", "empty", "sight"),
    [
        (None, None, Observed.ABSENT),
        (DIRECTORY, True, Observed.OURS),
        (DIRECTORY, False, Observed.OTHER),
        (DIRECTORY, None, Observed.OTHER),
        (DIRECTORY._replace(mtime=OLD), True, Observed.OTHER),
        (FILE, None, Observed.OTHER),
    ],
)
def test_sight_of_a_directory_made(seen: Attributes | None, empty: bool | None, sight: Observed) -> None:
    assert directory_sight(seen, empty, NOW + 0.9) is sight


@pytest.mark.parametrize(
    ("seen", "sight"),
    [
        (None, Observed.ABSENT),
        (FILE, Observed.OURS),
        (FILE._replace(mode=stat.S_IFREG | 0o600), Observed.OURS),  # the umask took bits
        (FILE._replace(mode=stat.S_IFREG | 0o666), Observed.OTHER),  # more than was asked for
        (FILE._replace(size=1), Observed.OTHER),
        (FILE._replace(mtime=OLD), Observed.OTHER),
        (DIRECTORY, Observed.OTHER),
    ],
)
def test_sight_of_a_file_created(seen: Attributes | None, sight: Observed) -> None:
    assert file_sight(seen, 0o644, NOW + 0.9) is sight


def test_sight_of_links() -> None:
    assert symlink_sight(None, None, b"target") is Observed.ABSENT
    assert symlink_sight(LINK, b"target", b"target") is Observed.OURS
    assert symlink_sight(LINK, b"tarmac", b"target") is Observed.OTHER
    assert symlink_sight(FILE, None, b"target") is Observed.OTHER
    assert link_sight(None, FILE) is Observed.ABSENT
    assert link_sight(FILE._replace(atime=1, nlink=2), FILE) is Observed.OURS
    assert link_sight(FILE._replace(uid=1), FILE) is Observed.OTHER
    assert link_sight(FILE, None) is Observed.OTHER
