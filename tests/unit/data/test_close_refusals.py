"""What is kept until the server has said that it took a file: which bytes, and how many of all files."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sftpfs.data.buffers.dirty_extents import Batch, Extent
from sftpfs.data.writing.close_refusals import Undecided

FAILURE = OSError(5, "refused")


class Lost:
    """``LossReporter``, as far as it is told here."""

    def __init__(self) -> None:
        self.reported: list[tuple[int, bytes, bool]] = []

    def refused(self, offset: int, data: bytes, failure: OSError, appended: bool) -> None:
        assert failure is FAILURE
        self.reported.append((offset, bytes(data), appended))


def undecided(bound: int = 100) -> tuple[Any, Any]:
    """What is kept, and the mount that counts the bytes."""
    mount: Any = SimpleNamespace(undecided_bytes=0, config=SimpleNamespace(dirty_bytes=bound))
    return Undecided(mount), mount


def written(handle: Any, offset: int, data: bytes) -> Extent[Any]:
    return Extent(offset, data, handle, Batch(0))


def test_what_is_refused_is_lost_and_what_is_decided_is_kept_no_longer() -> None:
    kept, mount = undecided()
    one, other = SimpleNamespace(append=False), SimpleNamespace(append=True)
    kept.acknowledged(written(one, 0, b"first"))
    kept.acknowledged(written(other, 5, b"appended"))
    kept.acknowledged(written(one, 3, b"over"))
    assert mount.undecided_bytes == 17
    lost = Lost()
    kept.refused(one, lost, FAILURE)
    assert lost.reported == [(0, b"first", False), (3, b"over", False)] and mount.undecided_bytes == 8
    kept.decided(other)
    kept.refused(other, lost, FAILURE)
    assert len(lost.reported) == 2 and mount.undecided_bytes == 0


def test_more_than_the_bound_of_all_files_is_not_kept() -> None:
    kept, mount = undecided(bound=6)
    handle = SimpleNamespace(append=False)
    kept.acknowledged(written(handle, 0, b"1234"))
    kept.acknowledged(written(handle, 4, b"567"))
    kept.acknowledged(written(handle, 7, b"89"))
    lost = Lost()
    kept.refused(handle, lost, FAILURE)
    assert lost.reported == [(0, b"1234", False), (7, b"89", False)] and mount.undecided_bytes == 0


def test_what_was_cut_off_is_missed_by_nobody() -> None:
    kept, mount = undecided()
    handle, appender = SimpleNamespace(append=False), SimpleNamespace(append=True)
    kept.acknowledged(written(handle, 0, b"12345"))
    kept.acknowledged(written(handle, 5, b"678"))
    kept.acknowledged(written(appender, 8, b"90"))
    kept.cut(3)
    assert mount.undecided_bytes == 5
    lost = Lost()
    kept.refused(handle, lost, FAILURE)
    assert lost.reported == [(0, b"123", False)] and mount.undecided_bytes == 2
    kept.cut(0)
    assert mount.undecided_bytes == 0
