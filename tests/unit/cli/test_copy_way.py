"""What ``sftpfs cp`` hands to a mount, and what it makes of the answers."""

from __future__ import annotations

import errno
import itertools
import os
import stat

import pytest

from sftpfs.cli.copy.directories import Directory
from sftpfs.cli.copy.hand_over import check, goes_again
from sftpfs.cli.copy.offload import StoppedError
from sftpfs.cli.copy.target import CopyError, File
from sftpfs.cli.copy.tree_stream import Answer
from sftpfs.cli.copy.way import hands_over, hands_over_in
from sftpfs.control.tree_records import ALL_MADE, BARE, LARGEST_CONTENT, LEFT, OUTCOMES, REFUSED, REMOVED


def found(mode: int, size: int = 0) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, 0, 0, size, 0, 0, 0))


def test_only_from_elsewhere_into_a_mount_and_only_trees() -> None:
    for recursive, source, target, writable in itertools.product((False, True), repeat=4):
        handed = hands_over_in(
            recursive=recursive, from_a_mount=source, to_a_mount=target, may_write=writable
        )
        assert handed == (recursive and target and writable and not source)


@pytest.mark.parametrize(
    ("mode", "size", "handed"),
    [
        (stat.S_IFREG | 0o644, 0, True),
        (stat.S_IFREG | 0o400, LARGEST_CONTENT, True),
        (stat.S_IFREG | 0o644, LARGEST_CONTENT + 1, False),
        (stat.S_IFREG | 0o4755, 1, False),
        (stat.S_IFREG | 0o2755, 1, False),
        (stat.S_IFREG | 0o1644, 1, False),
        (stat.S_IFLNK | 0o777, 5, True),
        (stat.S_IFIFO | 0o644, 0, False),
        (stat.S_IFCHR | 0o644, 0, False),
        (stat.S_IFDIR | 0o755, 0, False),
    ],
)
def test_small_files_and_links(mode: int, size: int, handed: bool) -> None:
    assert hands_over(found(mode, size)) is handed


def a_file(mode: int = stat.S_IFREG | 0o644) -> File:
    return File(Directory(None, "from", "to"), "f", "f", False, found(mode))


def test_what_was_made() -> None:
    assert not check(a_file(), Answer(0, ALL_MADE))
    assert check(a_file(), Answer(0, BARE))


@pytest.mark.parametrize(
    ("answer", "mode", "saying"),
    [
        (Answer(errno.EACCES, REFUSED), stat.S_IFREG, "cannot create regular file 'to/f': Permission denied"),
        (
            Answer(errno.EROFS, REFUSED),
            stat.S_IFLNK,
            "cannot create symbolic link 'to/f': Read-only file system",
        ),
        (Answer(errno.ENOSPC, REMOVED), stat.S_IFREG, "error writing 'to/f': No space left on device"),
        (
            Answer(errno.ETIMEDOUT, LEFT),
            stat.S_IFREG,
            "error writing 'to/f': Connection timed out; what there is of 'to/f' could not be removed",
        ),
        (Answer(errno.ECANCELED, LEFT), stat.S_IFREG, "could not be removed"),
    ],
)
def test_what_was_not(answer: Answer, mode: int, saying: str) -> None:
    with pytest.raises(CopyError) as raised:
        check(a_file(mode | 0o644), answer)
    assert saying in str(raised.value.strerror)
    assert raised.value.errno == answer.errno


@pytest.mark.parametrize("outcome", [REFUSED, REMOVED])
def test_what_was_given_up_is_no_failure(outcome: str) -> None:
    with pytest.raises(StoppedError):
        check(a_file(), Answer(errno.ECANCELED, outcome))


def test_the_kernel_decides_about_a_name_that_is_taken() -> None:
    assert goes_again(None)
    assert goes_again(Answer(errno.EEXIST, REFUSED)) and goes_again(Answer(errno.ESTALE, REFUSED))
    for number in (0, errno.EACCES, errno.ENOSPC, errno.ETIMEDOUT, errno.ECANCELED):
        assert not any(goes_again(Answer(number, one)) for one in OUTCOMES)
    assert not goes_again(Answer(errno.ESTALE, REMOVED))
