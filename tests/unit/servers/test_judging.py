"""What the zoo counts as right, refused and a lie."""

from __future__ import annotations

import pytest

from tests.servers.judging import Outcome, Verdict, errors_in, judge
from tests.servers.place import Account, Entry
from tests.servers.traits import ANY, TRAITS, excused
from tests.servers.trial import NAMES
from tests.servers.zoo import SERVERS

SAW: Entry = ("saw", "content", "b'all'")
DONE: Entry = ("tried", "link", "done")


def test_the_same_is_right() -> None:
    assert judge(Account([SAW, DONE]), Account([SAW, DONE])) == Outcome(Verdict.OK)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (SAW, ("saw", "content", "empty")),
        (("tried", "create", "EEXIST"), ("tried", "create", "done")),
        (DONE, ("tried", "link", "ENOENT")),
        (SAW, DONE),
    ],
)
def test_what_nobody_was_told_of_is_a_lie(expected: Entry, found: Entry) -> None:
    assert judge(Account([expected]), Account([found])).verdict is Verdict.LIE


def test_what_was_not_seen_is_a_lie() -> None:
    assert judge(Account([SAW, DONE]), Account([SAW])).verdict is Verdict.LIE


@pytest.mark.parametrize(
    ("expected", "found"),
    [(DONE, ("tried", "link", "EPERM")), (("tried", "rmdir", "ENOTEMPTY"), ("tried", "rmdir", "EIO"))],
)
def test_an_error_is_a_refusal_and_what_follows_it_is_not_judged(expected: Entry, found: Entry) -> None:
    local, mount = Account([expected, SAW]), Account([found, ("saw", "content", "empty")])
    assert judge(local, mount).verdict is Verdict.REFUSED


def test_damage_is_a_lie_also_behind_a_refusal() -> None:
    mount = Account([("tried", "link", "EPERM")], "EIO", ["file is empty"])
    assert judge(Account([DONE]), mount) == Outcome(Verdict.LIE, "file is empty; EIO")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("cp ended with 1: cp: preserving times for 'x': Operation not supported", Verdict.REFUSED),
        ("EIO /mnt/file in line 5", Verdict.REFUSED),
        ("OperationalError: disk I/O error", Verdict.REFUSED),
        ("DatabaseError: database disk image is malformed", Verdict.LIE),
        ("cat: x: No such file or directory", Verdict.LIE),
        ("cmp: EOF on x after byte 5", Verdict.LIE),
    ],
)
def test_a_program_that_fails_is_refused_where_it_was_told_a_true_error(text: str, verdict: Verdict) -> None:
    assert judge(Account([SAW]), Account([], text)) == Outcome(verdict, text)


def test_errors_are_found_in_words() -> None:
    assert errors_in("rsync: Input/output error (5)") == {"EIO"}
    assert errors_in("rename: ENOTEMPTY") == {"ENOTEMPTY"}
    assert errors_in("EOF and ELEPHANT") == set()


def test_a_trait_excuses_only_what_it_names() -> None:
    refused = Outcome(Verdict.REFUSED, "link: EPERM instead of done")
    names = ("no hard links",)
    assert excused(names, "hard_link", refused).verdict is Verdict.EXCUSED
    assert excused(names, "cp_in", refused) is refused
    assert excused((), "hard_link", refused) is refused
    lie = Outcome(Verdict.LIE, "one on the server is empty")
    assert excused(names, "hard_link", lie) is lie
    hang = Outcome(Verdict.HANG, "link: EPERM")
    assert excused(names, "hard_link", hang) is hang


def test_what_did_not_arrive_is_not_excused() -> None:
    found = Account([], "times: EPERM", arrived=False)
    outcome = judge(Account([SAW]), found)
    assert outcome.verdict is Verdict.REFUSED
    assert excused(("no times",), "cp_with_times", outcome) is outcome
    assert excused(
        ("no times",), "cp_with_times", judge(Account([SAW]), Account([], "times: EPERM"))
    ).verdict is (Verdict.EXCUSED)


def test_every_excuse_is_of_a_check_and_every_trait_of_the_table() -> None:
    checks = {check for trait in TRAITS.values() for check in trait.excuses} - {ANY}
    assert checks <= set(NAMES)
    assert {name for server in SERVERS.values() for name in server.traits} <= TRAITS.keys()
