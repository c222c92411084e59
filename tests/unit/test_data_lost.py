"""Which bytes of a failed write are lost."""

from __future__ import annotations

import errno

from sftpfs.data.lost import Losses, LostBytes, merged, missing
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


class Heard:
    """What a mount's content is told."""

    def __init__(self) -> None:
        self.observer = self
        self.lost: list[LostBytes] = []
        self.good = 0

    def new_incident(self) -> int:
        return 1

    def content_lost(self, number: int, lost: LostBytes) -> None:
        self.lost.append(lost)

    def made_good(self, number: int) -> None:
        self.good += 1


def losses(*ranges: tuple[int, int]) -> tuple[Losses, Heard]:
    """A file that lost these."""
    heard = Heard()
    made = Losses(7, heard)  # type: ignore[arg-type]
    for start, end in ranges:
        made._report(start, bytes(end - start), PLAIN, False)
    return made, heard


def test_a_loss_that_was_written_again_is_none() -> None:
    made, heard = losses((10, 20), (30, 40))
    made.written(0, 15)
    made.written(33, 36)
    assert sorted(made.absent) == [(15, 20), (30, 33), (36, 40)]
    made.cut(35)
    assert sorted(made.absent) == [(15, 20), (30, 33)] and not heard.good
    made.written(15, 33)
    assert made.absent == [] and heard.good == 1
    made.written(0, 100)
    assert heard.good == 1, "told once"


def test_a_file_emptied_has_no_loss() -> None:
    made, heard = losses((0, 10))
    made.cut(0)
    assert heard.good == 1 and len(heard.lost) == 1
