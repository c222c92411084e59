"""Which bytes of a failed write are lost."""

from __future__ import annotations

import errno

from sftpfs.byte_ranges import merged, without
from sftpfs.data.writing.lost_writes import LossReporter, LostBytes, missing
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
        self.incidents = 0
        self.remaining: list[tuple[int, list[tuple[int, int]]]] = []

    def new_incident(self) -> int:
        self.incidents += 1
        return self.incidents

    def content_lost(self, number: int, lost: LostBytes) -> None:
        self.lost.append(lost)

    def content_remains(self, incident: int, ranges: list[tuple[int, int]]) -> None:
        self.remaining.append((incident, ranges))

    def content_left(self, incidents: list[int], attributes: object) -> None:
        self.left = (incidents, attributes)

    def made_good(self, number: int) -> None:
        self.good += 1


def losses(*ranges: tuple[int, int]) -> tuple[LossReporter, Heard]:
    """A file that lost these."""
    heard = Heard()
    made = LossReporter(7, heard)  # type: ignore[arg-type]
    for start, end in ranges:
        made._report(start, bytes(end - start), PLAIN, False)
    return made, heard


def test_a_loss_that_was_written_again_is_none() -> None:
    made, heard = losses((10, 20), (30, 40))
    made.written(0, 15, synced=False)
    made.written(33, 36, synced=False)
    assert sorted(made.absent) == [(15, 20), (30, 33), (36, 40)]
    made.cut(35)
    assert sorted(made.absent) == [(15, 20), (30, 33)] and not heard.good
    made.written(15, 33, synced=False)
    assert made.absent == [] and heard.good == 1
    made.written(0, 100, synced=False)
    assert heard.good == 1, "told once"


def test_a_file_emptied_has_no_loss() -> None:
    made, heard = losses((0, 10))
    made.cut(0)
    assert heard.good == 1 and len(heard.lost) == 1


def test_what_remains_of_each_loss_is_told() -> None:
    made, heard = losses((0, 10))
    made.settled(None)
    made._report(5, bytes(15), PLAIN, False)
    made.written(0, 7, synced=False)
    assert heard.remaining == [(2, [(7, 20)]), (1, [(7, 10)])]
    made.cut(10)
    assert heard.remaining[2:] == [(2, [(7, 10)])]
    made.cut(0)
    assert heard.remaining[3:] == [(2, []), (1, [])] and heard.good == 1


def test_where_appended_bytes_would_be_nobody_knows_until_the_file_is_emptied() -> None:
    heard = Heard()
    made = LossReporter(7, heard)  # type: ignore[arg-type]
    made._report(0, bytes(10), PLAIN, True)
    made.written(0, 10, synced=False)
    made.cut(8)
    assert heard.remaining == [] and not heard.good
    made.cut(0)
    assert heard.remaining == [(1, [])] and heard.good == 1


def test_what_was_appended_is_kept_apart() -> None:
    """From what has an offset, and from another that was taken to have its place: none is over another."""
    heard = Heard()
    made = LossReporter(7, heard)  # type: ignore[arg-type]
    for offset, appended in ((0, True), (10, True), (5, False), (10, True), (20, True), (5, False)):
        made._report(offset, bytes(10), PLAIN, appended)
    assert [one.incident for one in heard.lost] == [1, 1, 2, 3, 3, 2]
    assert [(one.number, one.appended) for one in made.incidents] == [(3, True), (2, False), (1, True)]


def test_what_is_written_back_leaves_later_losses_of_the_same_bytes() -> None:
    made, heard = losses((0, 10))
    made.written(0, 10, synced=True)
    assert heard.remaining == [] and heard.good == 1


def test_what_is_in_none_of_the_others() -> None:
    assert without([(0, 10), (20, 30)], [(2, 4), (8, 22), (29, 40)]) == [(0, 2), (4, 8), (22, 29)]
