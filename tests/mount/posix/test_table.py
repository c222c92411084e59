"""Each system call on each kind of thing does what it does in a local directory.

A case is performed in a local directory and on the mount: results, errors and everything
that can be seen afterwards must be the same, on the mount and on the server. What SFTP
has no means for stands in ``REFUSED``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Place
from tests.harness.mounts import REPOSITORY
from tests.harness.syscalls import (
    LONG,
    ODD,
    ONE_PATH,
    TWO_PATHS,
    Kind,
    Outcome,
    age,
    kinds,
    outcome,
    seen_below,
    unlike,
    within,
)

SEMANTICS = REPOSITORY / "sftpfs" / "SEMANTICS.md"

SPECIAL_FILES = "Making a pipe, a socket or a device is `EPERM`"
ATTRIBUTES = "Extended attributes and ACLs are `EOPNOTSUPP`."

REFUSED = {
    "mkfifo": ("EPERM", SPECIAL_FILES),
    "mknod socket": ("EPERM", SPECIAL_FILES),
    "mknod device": ("EPERM", SPECIAL_FILES),
    "getxattr": ("ENOTSUP", ATTRIBUTES),
    "listxattr": ("ENOTSUP", ATTRIBUTES),
    "setxattr": ("ENOTSUP", ATTRIBUTES),
    "open unnamed": ("ENOTSUP", "`O_TMPFILE` is `EOPNOTSUPP`."),
    "rename exchange": ("EINVAL", "`RENAME_EXCHANGE` is `EINVAL` and changes nothing."),
}
"""Operation → its errno wherever a local directory would do it, nothing changed; SEMANTICS's words."""

LINKED_THERE = "A name that another client links is a file of its own here"
"""Why hard links are not among what is made on the server; SEMANTICS's words."""


@dataclass(frozen=True, slots=True)
class Case:
    """``call`` on the paths of ``things``, which are made first."""

    name: str
    call: Callable[..., Outcome]
    things: tuple[Kind, ...]

    def make(self) -> None:
        """In the working directory; all of it looks old."""
        for thing in self.things:
            thing.make(thing.path.split("/")[0])
        age()

    def act(self) -> Outcome:
        """The call itself."""
        return outcome(self.call, *(thing.path for thing in self.things))


@dataclass(frozen=True, slots=True)
class Came:
    """The call's result, and what was there before and after it."""

    result: Outcome
    before: dict[str, Outcome]
    after: dict[str, Outcome]


def perform(case: Case, directory: Path) -> Came:
    """Make everything in ``directory`` and act there."""
    with within(directory):
        case.make()
        before = seen_below()
        return Came(case.act(), before, seen_below())


def perform_cold(case: Case, here: Path, there: Path) -> Came:
    """The same with everything made on the server, where it appears at once."""
    ready = there.parent.parent / "ready"
    ready.mkdir()
    with within(ready):
        case.make()
        before = seen_below()
    ready.rename(there)
    with within(here):
        return Came(case.act(), before, seen_below())


def differences(operation: str, cases: Iterable[Case], place: Place, local: Path, cold: bool) -> list[str]:
    """What comes out otherwise on the mount, a line each. ``cold``: things are made on the server,
    and the mount first hears of them by the call."""
    found = []
    for number, case in enumerate(cases):
        expected, here, there = (base / f"case{number}" for base in (local, place.here, place.there))
        expected.mkdir(parents=True)
        model = perform(case, expected)
        if cold:
            came = perform_cold(case, here, there)
        else:
            here.mkdir()
            came = perform(case, here)
        with within(there):
            on_server = seen_below()
        result, after = model.result, model.after
        refusal, _ = REFUSED.get(operation, (None, None))
        if refusal and came.result == refusal:
            result, after = refusal, model.before
        if came.result != result:
            found.append(f"{case.name}: {came.result!r}, expected {result!r}")
        found += [f"{case.name}: on the mount {words}" for words in unlike(came.after, after)]
        found += [f"{case.name}: on the server {words}" for words in unlike(on_server, after)]
    return found


def made(name: str, cold: bool) -> list[Kind]:
    """What the calls are performed on."""
    return [kind for kind in kinds(name) if not (cold and kind.name == "hard link")]


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
@pytest.mark.parametrize("operation", ONE_PATH)
def test_one_path(place: Place, tmp_path: Path, operation: str, cold: bool) -> None:
    things = [*made("thing", cold), *LONG, *ODD]
    cases = [Case(thing.name, ONE_PATH[operation], (thing,)) for thing in things]
    found = differences(operation, cases, place, tmp_path / "local", cold)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
@pytest.mark.parametrize("operation", TWO_PATHS)
def test_two_paths(place: Place, tmp_path: Path, operation: str, cold: bool) -> None:
    pairs = itertools.product(made("old", cold), made("new", cold))
    cases = [Case(f"{a.name} to {b.name}", TWO_PATHS[operation], (a, b)) for a, b in pairs]
    found = differences(operation, cases, place, tmp_path / "local", cold)
    assert not found, "\n".join(found)


def test_semantics_tells_what_is_refused() -> None:
    text = SEMANTICS.read_text()
    assert [words for _, words in REFUSED.values() if words not in text] == []
    assert LINKED_THERE in text
