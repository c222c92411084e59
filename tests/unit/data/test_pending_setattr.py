"""Merging deferred changes of mode and times: pure."""

from __future__ import annotations

import stat

from sftpfs.data.buffers.pending_setattr import PendingSetattr, changed
from sftpfs.types import AttributeChange, Attributes

FILE = Attributes(stat.S_IFREG | 0o600, 7, 1, 2, 10, 20)


def test_nothing_deferred_changes_nothing() -> None:
    deferred = PendingSetattr()
    assert deferred.pending is None and not deferred.times
    assert deferred.apply_to(FILE) is FILE


def test_later_replaces_earlier_and_leaves_the_rest() -> None:
    deferred = PendingSetattr()
    deferred.add(AttributeChange(mode=0o644), demanded=True)
    deferred.add(AttributeChange(atime=1, mtime=2), demanded=True)
    deferred.add(AttributeChange(mode=0o640), demanded=True)
    assert deferred.times
    assert deferred.take() == AttributeChange(mode=0o640, atime=1, mtime=2)
    assert deferred.pending is None and not deferred.times


def test_what_was_sent_is_shown_until_the_file_is_clean() -> None:
    deferred = PendingSetattr()
    deferred.add(AttributeChange(atime=1, mtime=2), demanded=True)
    deferred.take()
    deferred.add(AttributeChange(mode=0o640), demanded=True)
    assert deferred.apply_to(FILE) == Attributes(stat.S_IFREG | 0o640, 7, 1, 2, 1, 2)
    assert deferred.take() == AttributeChange(mode=0o640)
    deferred.clear()
    assert deferred.apply_to(FILE) == FILE


def test_what_nobody_asked_for_may_fail_unheard() -> None:
    deferred = PendingSetattr()
    deferred.add(AttributeChange(mode=0o644), demanded=False)
    assert not deferred.demanded
    deferred.add(AttributeChange(mode=0o644), demanded=True)
    assert deferred.demanded
    deferred.add(AttributeChange(mode=0o600), demanded=False)
    assert deferred.demanded
    deferred.take()
    assert not deferred.demanded


def test_the_type_of_the_file_stays() -> None:
    assert changed(FILE, AttributeChange(mode=0o755)).mode == stat.S_IFREG | 0o755
