"""Which bytes of a failed write are lost."""

from __future__ import annotations

import errno

from sftpfs.data.lost import merged, missing
from sftpfs.errors import IncompleteWriteError

PLAIN = OSError(errno.EIO, "failed")


def test_all_where_the_failure_does_not_say() -> None:
    assert list(missing(10, 20, PLAIN)) == [(10, 20)]


def test_what_was_acknowledged_is_not_lost() -> None:
    failure = IncompleteWriteError(OSError(errno.ENOSPC, "full"), [(0, 12), (15, 17), (19, 40), (50, 60)])
    assert list(missing(10, 20, failure)) == [(10, 12), (15, 17), (19, 20)]
    assert (failure.errno, failure.strerror) == (errno.ENOSPC, "full")


def test_ranges_that_touch_are_one() -> None:
    assert merged([(5, 6), (0, 2), (2, 4), (1, 3), (8, 9)]) == [(0, 4), (5, 6), (8, 9)]
    assert merged([]) == []
