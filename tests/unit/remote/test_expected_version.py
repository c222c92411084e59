"""When a file found at the path is the one that was open, as all its handles know it together."""

from __future__ import annotations

import math
import random
import stat

import pytest

from sftpfs.remote.handles.expected_version import Change, ExpectedVersion, Question
from sftpfs.types import AttributeChange, Attributes

OPENED = Attributes(stat.S_IFREG | 0o644, 100, 0, 0, 50, 1000)

NOW = 1005.0
"""The server's clock as changes are sent."""

ONE, OTHER = object(), object()
"""Connections."""


def known(attributes: Attributes = OPENED) -> ExpectedVersion:
    return ExpectedVersion(attributes)


def written(version: ExpectedVersion, end: int, now: float = NOW) -> Change:
    change = version.write_sent(ONE, end, now)
    version.ended(change, True)
    return change


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
    first = version.write_sent(ONE, 150, NOW)
    version.write_sent(ONE, 200, NOW)
    version.ended(first, True)
    assert version.accepts(OPENED._replace(size=size, mtime=mtime)) is accepted


def test_a_write_takes_back_a_time_of_the_future() -> None:
    version = known(OPENED._replace(mtime=2000))
    version.write_sent(ONE, 50, NOW)
    for mtime, accepted in ((2000, True), (1005, True), (1006, True), (1004, False)):
        assert version.accepts(OPENED._replace(mtime=mtime)) is accepted
    assert not known(OPENED._replace(mtime=2000)).accepts(OPENED._replace(mtime=1005))


def test_a_file_told_after_writing_is_exact_again() -> None:
    version = known()
    written(version, 150)
    version.reported(OPENED._replace(size=150, mtime=1005), version.asked(ONE))
    assert version.accepts(OPENED._replace(size=150, mtime=1005))
    assert not version.accepts(OPENED._replace(size=150, mtime=1006))


def test_appends_count_from_the_end() -> None:
    version = known()
    first = version.append_sent(ONE, 10, NOW)
    version.append_sent(ONE, 10, NOW)
    version.ended(first, True)
    assert [
        size for size in range(100, 130) if version.accepts(OPENED._replace(size=size, mtime=1005))
    ] == list(range(110, 121))


def test_what_is_told_between_appends_counts_those_sent_before() -> None:
    """Another client's bytes in between are known from then on."""
    version = known()
    first = version.append_sent(ONE, 10, NOW)
    question = version.asked(ONE)
    second = version.append_sent(ONE, 10, NOW)
    version.ended(first, True)
    version.reported(OPENED._replace(size=133, mtime=1005), question)
    assert (version.least, version.most, version.exact) == (133, 143, False)
    version.ended(second, True)
    assert (version.least, version.most) == (143, 143)


@pytest.mark.parametrize("when", ["before it elsewhere", "behind it, answered", "a size behind it"])
def test_an_answer_that_may_be_from_either_side_of_a_change_tells_nothing(when: str) -> None:
    version = known()
    if when == "before it elsewhere":
        version.write_sent(OTHER, 500, NOW)
    question = version.asked(ONE)
    if when == "behind it, answered":
        written(version, 500)
    elif when == "a size behind it":
        version.setattr_sent(OTHER, AttributeChange(size=5), NOW)
    version.reported(OPENED._replace(size=300, mtime=1005), question)
    assert not version.exact and version.most in (500, 100)


def test_a_size_and_a_time_being_set_may_be_either() -> None:
    version = known()
    change = version.setattr_sent(ONE, AttributeChange(size=10, mtime=5), NOW)
    for size, mtime in ((100, 1000), (10, 5)):
        assert version.accepts(OPENED._replace(size=size, mtime=mtime))
    assert not version.accepts(OPENED._replace(size=9, mtime=5))
    version.ended(change, True)
    assert (version.least, version.most) == (10, 10)


def test_a_change_that_failed_may_have_been_made() -> None:
    version = known()
    version.ended(version.write_sent(ONE, 300, NOW), False)
    assert version.accepts(OPENED) and version.accepts(OPENED._replace(size=300, mtime=1005))


@pytest.mark.parametrize(
    ("mtime", "surely", "doubts"),
    [(1005, True, False), (1004, True, True), (1004, False, False), (1000, False, True)],
)
def test_a_server_that_lost_its_power_is_noticed(mtime: int, surely: bool, doubts: bool) -> None:
    version = known()
    written(version, 50)
    version.write_sent(ONE, 60, NOW + 3)
    version.came_back(OPENED._replace(mtime=mtime), version.asked(OTHER), surely)
    assert bool(version.doubts) is doubts


def test_what_was_synced_or_told_since_is_not_doubted() -> None:
    for how in ("synced", "told", "a time was set"):
        version = known()
        written(version, 50)
        if how == "synced":
            version.synced(version.sent)
        elif how == "told":
            version.reported(OPENED._replace(mtime=1005), version.asked(ONE))
        else:
            version.setattr_sent(ONE, AttributeChange(atime=5, mtime=5), NOW)
        version.came_back(OPENED._replace(mtime=1000), version.asked(OTHER), True)
        assert not version.doubts, how


def test_a_change_of_neither_size_nor_time_can_leave_any_time() -> None:
    assert Change(1, ONE).mtime == math.inf


def test_what_was_cut_off_is_not_taken_for_acknowledged_while_more_is_under_way() -> None:
    """A write, an emptying open and a write again, on their way together."""
    version = known()
    changes = [
        version.write_sent(ONE, 200, NOW),
        version.setattr_sent(ONE, AttributeChange(size=0), NOW),
        version.write_sent(ONE, 10, NOW),
    ]
    for change in changes:
        version.ended(change, True)
    assert version.accepts(OPENED._replace(size=10, mtime=int(NOW)))


@pytest.mark.parametrize("appends", [True, False])
def test_whatever_is_under_way_the_file_is_known_at_any_moment(appends: bool) -> None:
    """Random changes and questions over one session, or two that the server serves in any order."""
    for seed in range(300):
        chance = random.Random(seed)
        sessions = [ONE] if appends or chance.random() < 0.5 else [ONE, OTHER]
        version, size, now = known(), OPENED.size, 1001
        waiting: dict[object, list[tuple[str, int, Change | Question]]] = {one: [] for one in sessions}
        answers: dict[object, list[tuple[Change | Question, int]]] = {one: [] for one in sessions}
        for _ in range(60):
            session = chance.choice(sessions)
            sent, done = waiting[session], answers[session]
            now += chance.randint(0, 1)
            match chance.choice(["write", "add", "cut", "ask", "do", "do", "do", "end", "end", "end"]):
                case "write" | "add" as what if appends is (what == "add"):
                    end = chance.randint(1, 300)
                    change = version.append_sent if appends else version.write_sent
                    sent.append((what, end, change(session, end, now)))
                case "cut":
                    end = chance.randint(0, 200)
                    sent.append(("cut", end, version.setattr_sent(session, AttributeChange(size=end), now)))
                case "ask":
                    sent.append(("ask", 0, version.asked(session)))
                case "do" if sent:
                    what, end, about = sent.pop(0)
                    size = {"write": max(size, end), "add": size + end, "cut": end, "ask": size}[what]
                    done.append((about, size))
                case "end" if done:
                    about, then = done.pop(0)
                    if isinstance(about, Change):
                        version.ended(about, True)
                    else:
                        version.reported(OPENED._replace(size=then), about)
            assert version.least <= size <= version.most, seed
