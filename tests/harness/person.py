"""What a local user may do: every step of a list tried in one case after another, as that user.

``python -m tests.harness.person DIRECTORY UID GID GROUP…`` works below DIRECTORY, in which each case is
a directory with a ``room`` and perhaps a ``thing`` in it, and prints what came of each step as JSON:
case → step → outcome. It enters DIRECTORY before it becomes the user, so what lies above need not let that
user pass.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.harness.mounts import REPOSITORY
from tests.harness.syscalls import ONE_PATH, OWN_UMASK, TWO_PATHS, Outcome, outcome

ROOM, THING, OTHER = "room", "room/thing", "room/other"

LIMIT = 100.0
"""Seconds for all cases of one person."""

TRIED = {
    ROOM: ("access read", "access write", "access execute", "listdir"),
    THING: (
        "stat",
        "access read",
        "access write",
        "access execute",
        "listdir",
        "open read",
        "open write",
        "open append",
        "open truncate",
        "truncate longer",
        "utime",
        "utime now",
        "utime mtime alone",
        "chown nothing",
        "chown",
        "chown group",
        "chmod same",
        "chmod special bits",
        "open read and write",
        "open exclusive",
        "mkdir",
        "rmdir",
    ),
    f"{THING}/inner": ("open create", "unlink"),
}
"""Path → the operations tried on it, from the harmless to those that change what the next ones find."""

MAKING = (
    *("unlink", "rmdir", "open create", "chmod", "unlink", "symlink", "lchown", "unlink", "mkdir", "chmod"),
    *("rmdir", "mkdir"),
)
"""What is tried on the thing at the end."""

Step = tuple[str, Callable[..., Outcome], tuple[str, ...]]


def steps() -> list[Step]:
    """Everything that is tried in a case, in turn."""
    tried: list[Step] = [
        (f"{name} {path}", ONE_PATH[name], (path,)) for path, names in TRIED.items() for name in names
    ]
    tried += [
        ("link", TWO_PATHS["link"], (THING, OTHER)),
        ("unlink the link", ONE_PATH["unlink"], (OTHER,)),
        ("rename", TWO_PATHS["rename"], (THING, OTHER)),
        ("rename back", TWO_PATHS["rename"], (OTHER, THING)),
        ("rename out", TWO_PATHS["rename"], (THING, "outside/thing")),
        ("rename in", TWO_PATHS["rename"], ("outside/thing", THING)),
    ]
    tried += [(f"{number}: {name}", ONE_PATH[name], (THING,)) for number, name in enumerate(MAKING)]
    return [*tried, ("create another", ONE_PATH["open create"], (OTHER,))]


@dataclass(frozen=True, slots=True)
class Person:
    """A local user; needs no account. ``groups`` are those besides ``gid``."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def tries(self, directory: Path) -> dict[str, dict[str, Outcome]]:
        """Case → step → what came of it, all below ``directory``."""
        command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", __name__, str(directory)]
        done = subprocess.run(
            [*command, *map(str, (self.uid, self.gid, *self.groups))],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, dict[str, Outcome]] = json.loads(done.stdout)
        return found


def main() -> None:
    """Become the user and try."""
    directory, uid, gid, *groups = sys.argv[1:]
    os.chdir(directory)
    os.umask(OWN_UMASK)
    os.setgroups([int(group) for group in groups])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
    found = {}
    base = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    for case in sorted(os.listdir(".")):
        os.chdir(case)
        found[case] = {name: outcome(call, *paths) for name, call, paths in steps()}
        os.fchdir(base)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
