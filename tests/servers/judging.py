"""What comes of a check: its account on a mount beside the one on a local directory."""

from __future__ import annotations

import errno
import os
import re
from enum import Enum
from typing import NamedTuple

from tests.servers.place import NAMES, Account


class Verdict(Enum):
    """In the order of a table."""

    OK = "ok"
    EXCUSED = "excused"
    """Refused as a trait of the server says."""
    REFUSED = "refused"
    """An error told at once, and nothing damaged."""
    LIE = "LIE"
    """Something wrong that nobody was told of."""
    HANG = "hang"
    """Not done within its limit, or the mount was gone after it."""


class Outcome(NamedTuple):
    """What came of a check, and the first thing that was otherwise than on a local directory."""

    verdict: Verdict
    what: str = ""


FALSE = {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ELOOP}
"""Errors that say what is there. Where a local directory has none of them they are wrong."""

_BY_WORDS = {os.strerror(number): name for number, name in NAMES.items()}
_BY_WORDS |= {"disk I/O error": "EIO", "unable to open database file": "EIO", "readonly database": "EROFS"}
_WORDS = re.compile("|".join(re.escape(words) for words in _BY_WORDS), re.IGNORECASE)
_BY_LOWER = {words.lower(): name for words, name in _BY_WORDS.items()}


def errors_in(text: str) -> set[str]:
    """The errnos that a program's words tell of."""
    found = {_BY_LOWER[words.lower()] for words in _WORDS.findall(text)}
    return found | {name for name in re.findall(r"\bE[A-Z0-9]{2,}\b", text) if name in NAMES.values()}


def _true(names: set[str]) -> bool:
    """Whether these may be a server's refusal."""
    return bool(names) and not names & {NAMES[number] for number in FALSE}


MISSING = " (not all of the data is there)"
"""Said of a refusal of attributes or the like that kept content from its place."""


def judge(local: Account, found: Account) -> Outcome:
    """Damage first; then the first difference; then what ended the check early."""
    outcome = _judged(local, found)
    if outcome.verdict is Verdict.REFUSED and not found.arrived:
        return Outcome(Verdict.REFUSED, outcome.what + MISSING)
    return outcome


def _judged(local: Account, found: Account) -> Outcome:
    if found.damage:
        return Outcome(Verdict.LIE, "; ".join([*found.damage, *([found.error] if found.error else [])]))
    for expected, seen in zip(local.seen, found.seen, strict=False):
        if expected == seen:
            continue
        kind, label, value = seen
        what = f"{label}: {value} instead of {expected[2]}"
        if seen[:2] != expected[:2] or kind != "tried" or value == "done":
            return Outcome(Verdict.LIE, what)
        expects_error = expected[2] != "done"
        return Outcome(Verdict.REFUSED if expects_error or _true({value}) else Verdict.LIE, what)
    if found.error:
        return Outcome(Verdict.REFUSED if _true(errors_in(found.error)) else Verdict.LIE, found.error)
    if len(found.seen) != len(local.seen):
        return Outcome(Verdict.LIE, f"{len(found.seen)} things seen instead of {len(local.seen)}")
    return Outcome(Verdict.OK)
