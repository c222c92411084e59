"""A walk over more names than a mount has memory for: the kernel forgets them, who uses one does not notice.

On mounts whose memory is made small. The message that asks for many at once came with Linux 6.18; the other
way is tried on any.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Flavour, MakeMount, _close_all, _maker
from tests.harness.command import say
from tests.harness.kernel import fails_with, name_to_handle_at, open_by_handle_at, opened
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually
from tests.sshd import Sshd

DIRECTORIES, FILES = 30, 300
MOST = 1000
"""Files' worth of memory that the mount has for what the kernel holds."""

PROGRAM = """
import sys
from sftpfs.fuse import cache_pruning
from sftpfs.vfs.tree import eviction
from sftpfs.vfs.tree.inode_table import BYTES_OF_A_FILE
eviction.MOST_HELD = {most} * BYTES_OF_A_FILE
cache_pruning.NOTIFY_PRUNE = {code}
from sftpfs.cli.main import main
sys.exit(main())
"""
UNKNOWN_CODE = 4095


def small(code: int) -> Flavour:
    """sftpfs with little memory, which asks the kernel by a message of ``code``."""

    def command(spec: str, mountpoint: str, options: Sequence[str]) -> list[str]:
        program = PROGRAM.format(most=MOST, code=code)
        return [sys.executable, "-c", program, spec, mountpoint, "-f", "-o", ",".join(options)]

    return command


def held(mount: Mount) -> int:
    """Inodes the kernel holds, as the mount counts them."""
    shown = say("stats", "--json", str(mount.path))
    assert shown.status == 0, shown.stderr
    count = json.loads(shown.stdout)["mounts"][0]["mount"]["inodes"]
    assert isinstance(count, int)
    return count


@contextmanager
def working_in(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A program whose working directory it is, which tells so after a line of input."""
    program = [sys.executable, "-c", "import os; input(); print(os.getcwd(), os.listdir('.'), flush=True)"]
    with subprocess.Popen(
        program, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def by_handle_as_by_name(mount: Mount) -> None:
    """Handles are taken of more than the kernel may hold, so of some it has forgotten as they are opened."""
    paths = [mount.path / f"d{number:02}" for number in range(2 * MOST // FILES)]
    paths += [path / f"f{number:03}" for path in paths for number in range(FILES)]
    handles = [(os.stat(path).st_ino, name_to_handle_at(path)) for path in paths]
    assert len(handles) > 1.5 * MOST
    eventually(lambda: held(mount) < 1.2 * MOST, 30, "some of them forgotten")
    with opened(mount.path, os.O_RDONLY) as here:
        for number, handle in handles:
            fd = open_by_handle_at(here, handle)
            try:
                assert os.fstat(fd).st_ino == number
            finally:
                os.close(fd)
        os.unlink(paths[-1])
        with fails_with(errno.ESTALE):
            open_by_handle_at(here, handles[-1][1])


def test_a_handle_of_another_mount_is_stale(make_mount: MakeMount, backing: Path) -> None:
    (backing / "one").touch()
    (backing / "other").touch()
    first, second = make_mount(backing=backing), make_mount(backing=backing)
    handle = name_to_handle_at(first.path / "one")
    number = os.stat(first.path / "one").st_ino
    assert number in {os.stat(second.path / name).st_ino for name in ("one", "other")}
    with opened(second.path, os.O_RDONLY) as here, fails_with(errno.ESTALE):
        open_by_handle_at(here, handle)


@pytest.mark.parametrize("code", [9, UNKNOWN_CODE], ids=["together", "one by one"])
def test_who_uses_a_name_does_not_notice_that_others_are_forgotten(
    sshd: Sshd, tmp_path: Path, backing: Path, code: int
) -> None:
    (backing / "here" / "below").mkdir(parents=True)
    (backing / "kept").write_text("kept open")
    for number in range(DIRECTORIES):
        (backing / f"d{number:02}").mkdir()
        for name in range(FILES):
            (backing / f"d{number:02}" / f"f{name:03}").touch()
    made: list[Mount] = []
    try:
        mount = _maker(sshd, small(code), tmp_path, made)(backing=backing)
        with working_in(mount.path / "here" / "below") as inside, open(mount.path / "kept") as kept:
            for _ in range(2):
                found = sum(len(files) for _, _, files in os.walk(mount.path))
                assert found == DIRECTORIES * FILES + 1
                eventually(lambda: held(mount) < 1.2 * MOST, 30, "most of it forgotten")
            assert kept.read() == "kept open"
            assert os.readlink(f"/proc/self/fd/{kept.fileno()}") == str(mount.path / "kept")
            by_handle_as_by_name(mount)
            told, _ = inside.communicate("\n", timeout=30)
            assert told == f"{mount.path / 'here' / 'below'} []\n"
        assert os.stat(mount.path / "d00" / "f000").st_size == 0
    finally:
        _close_all(made)
