"""A mount that is killed while it saves what is lost, or a command that removes it: what is found then."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sftpfs.data.observer import LostBytes
from sftpfs.mount import failpoints, salvage_store
from sftpfs.mount.salvage import Salvage

FULL = OSError(errno.ENOSPC, "No space left on device")


def save(store: Path, *pieces: tuple[int, bytes]) -> None:
    """One incident of one file, in as many pieces, each saved before the next is there."""
    kept = Salvage(str(store), "user@host:dir", "/mnt", 1 << 20)
    for offset, data in pieces:
        kept.record_loss(b"/f", LostBytes(1, offset, data, FULL, False))
        kept.wait_saved()
    kept.close()


def killed_at(moment: str, work: Callable[[], None], after: int = 1) -> None:
    """``work`` in a process that is killed as it reaches ``moment`` for the ``after``th time; it must."""
    pid = os.fork()
    if not pid:
        times = [after]

        def die() -> None:
            times[0] -= 1
            if not times[0]:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            failpoints.at(moment, die)
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, "the moment was not reached"


@pytest.mark.parametrize("moment", [failpoints.SALVAGE_AFTER_DATA, failpoints.RECORD_AFTER_WRITE])
def test_what_was_recorded_before_is_whole_and_the_store_takes_more(tmp_path: Path, moment: str) -> None:
    killed_at(moment, lambda: save(tmp_path, (0, b"first"), (100, b"second")), after=2)
    (found,) = salvage_store.all_saved(str(tmp_path))
    assert found.ranges == [(0, 5)]
    assert Path(found.base).read_bytes()[:5] == b"first"
    save(tmp_path, (0, b"of another mount"))
    assert [one.size for one in salvage_store.all_saved(str(tmp_path))] == [5, 16]


@pytest.mark.parametrize("moment", [failpoints.SALVAGE_AFTER_DATA, failpoints.RECORD_AFTER_WRITE])
def test_a_loss_that_was_never_recorded_does_not_hide_others(tmp_path: Path, moment: str) -> None:
    killed_at(moment, lambda: save(tmp_path, (0, b"first")))
    assert salvage_store.all_saved(str(tmp_path)) == []
    save(tmp_path, (0, b"next"))
    assert [one.size for one in salvage_store.all_saved(str(tmp_path))] == [4]


def test_a_loss_that_was_being_removed_is_not_offered_again(tmp_path: Path) -> None:
    """It was written back, or given up: its bytes are gone."""
    save(tmp_path, (0, b"written back"))
    (found,) = salvage_store.all_saved(str(tmp_path))
    killed_at(failpoints.REMOVE_AFTER_DATA, lambda: salvage_store.remove(found) and None)
    assert salvage_store.all_saved(str(tmp_path)) == []
    assert salvage_store.remove(found) is None
