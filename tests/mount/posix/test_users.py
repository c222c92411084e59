"""Several local users on one mount: each may do what the same modes and owners let him do locally.

The cases are made alike on the server and in a local directory, tried in both by users other than root, and
what came of each step is compared, as is what is there afterwards. The local directory says what is right.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.person import Person
from tests.harness.syscalls import age, seen_below, unlike, within

OWNER = Person("owner", 70001, 70101)
PEOPLE = [OWNER, Person("member", 70002, 70102, (OWNER.gid,)), Person("stranger", 70003, 70103)]

ROOMS = [0o755, 0o770, 0o711, 0o744, 0o555, 0o1777, 0o2775, 0o3777]

THINGS: dict[str, Callable[[Path], object] | None] = {
    "nothing": None,
    **{f"file-{mode:04o}": Path.touch for mode in (0o644, 0o640, 0o604, 0o600, 0o444, 0o6777)},
    **{f"directory-{mode:04o}": Path.mkdir for mode in (0o755, 0o750, 0o777)},
}


def furnish(base: Path) -> None:
    """Every room with every thing in it, the owner's; all of it looks old."""
    for room, (kind, make) in itertools.product(ROOMS, THINGS.items()):
        case = base / f"{room:04o}-with-{kind}"
        (case / "room").mkdir(parents=True)
        (case / "outside").mkdir()
        (case / "outside").chmod(0o777)
        if make:
            make(case / "room" / "thing")
        for path in (case / "room" / "thing", case / "room"):
            if path.exists():
                os.chown(path, OWNER.uid, OWNER.gid)
        if make:
            (case / "room" / "thing").chmod(int(kind.rpartition("-")[2], 8))
        (case / "room").chmod(room)
    with within(base):
        age()


@pytest.mark.parametrize("person", PEOPLE, ids=lambda person: person.name)
def test_each_may_do_what_he_may_locally(
    make_mount: MakeMount, tmp_path: Path, backing: Path, person: Person
) -> None:
    local = tmp_path / "local"
    for base in (local, backing):
        furnish(base)
        base.chmod(0o755)
    mount = make_mount("allow_other", "default_permissions", "idmap=none", backing=backing)
    expected, came = person.tries(local), person.tries(mount.path)
    found = [
        f"{case}: {step}: {came[case][step]}, expected {wanted}"
        for case in expected
        for step, wanted in expected[case].items()
        if came[case][step] != wanted
    ]
    states = []
    for place in (local, mount.path, backing):
        with within(place):
            states.append(seen_below())
    found += [f"on the mount {words}" for words in unlike(states[1], states[0])]
    found += [f"on the server {words}" for words in unlike(states[2], states[0])]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("mode", [0o4777, 0o6777, 0o6767, 0o1777])
@pytest.mark.parametrize("uid", [0, OWNER.uid, PEOPLE[2].uid])
def test_emptying_a_file_takes_what_makes_it_run_as_another(
    make_mount: MakeMount, tmp_path: Path, backing: Path, mode: int, uid: int
) -> None:
    """By an open alone, without a write behind it."""
    local = tmp_path / "local"
    for base in (local, backing):
        base.mkdir(exist_ok=True)
        base.chmod(0o777)
        (base / "program").write_text("run me")
        os.chown(base / "program", OWNER.uid, OWNER.gid)
        (base / "program").chmod(mode)
    mount = make_mount("allow_other", "default_permissions", "idmap=none", backing=backing)
    for base in (local, mount.path):
        with within(base):  # what lies above need not let that user pass
            user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
            subprocess.run([*user, "sh", "-c", ": >program"], check=True, timeout=30)
    found = [(base / "program").stat() for base in (mount.path, backing, local)]
    assert len({(oct(each.st_mode), each.st_size) for each in found}) == 1, found
