"""Whose files are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.conftest import MakeMount
from tests.harness.waiting import eventually
from tests.semantics.statements import states

SOMEBODY = 65534


def as_somebody(*command: object) -> int:
    """Run as an ordinary user; its exit status."""
    wrapped = ["setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups", *map(str, command)]
    return subprocess.run(wrapped, capture_output=True, timeout=30, check=False).returncode


@states(
    "O5",
    "A file created by another local user (with `allow_other`) belongs to that user if the login is "
    "root, otherwise to the login.",
)
def test_files_of_another_local_user(make_mount: MakeMount, backing: Path, tmp_path: Path) -> None:
    os.chmod(backing, 0o777)
    mount = make_mount("allow_other", backing=backing)
    for directory in (tmp_path, *tmp_path.parents):
        if not directory.stat().st_mode & 0o001:
            directory.chmod(directory.stat().st_mode | 0o011)
    eventually(lambda: as_somebody("ls", mount.path) == 0, 30)
    assert as_somebody("sh", "-c", f"cd {mount.path} && echo x > f && mkdir d && ln -s f l") == 0
    for name in ("f", "d", "l"):
        for side in (mount.path, mount.backing):
            seen = os.lstat(side / name)
            assert (seen.st_uid, seen.st_gid) == (SOMEBODY, SOMEBODY), name
