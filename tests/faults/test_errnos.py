"""SFTP v3 has one FAILURE for most errors; a mount gives the errno a local file system gives.

Each action is done twice: on the server's directory by the user the server works as, and on the
mount, in directories made alike. What the first says is what the second has to say.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import _close_all, _maker
from tests.harness.mounts import Mount, sftpfs_command
from tests.sshd import SFTP_SERVER, Sshd

NOBODY = 65534
MIB = 1 << 20
ROOM = MIB
"""Bytes of the file system that gets full."""

LONG = "n" * 256
DEEP = "/".join(["d" * 200] * 25)

LIBC = ctypes.CDLL(None, use_errno=True)

Action = Callable[[Path], object]


def opened(*flags: int) -> Callable[[Path], None]:
    """Opens and closes."""

    def action(path: Path) -> None:
        number = 0
        for flag in flags:
            number |= flag
        os.close(os.open(path, number, 0o644))

    return action


write = opened(os.O_WRONLY)
read = opened(os.O_RDONLY)
create = opened(os.O_WRONLY, os.O_CREAT)
exclusive = opened(os.O_WRONLY, os.O_CREAT, os.O_EXCL)
empty = opened(os.O_WRONLY, os.O_TRUNC)

ACTIONS: dict[str, Action] = {
    "open a missing name": lambda d: read(d / "none"),
    "open below a file": lambda d: read(d / "file/x"),
    "open a directory to write": lambda d: write(d / "dir"),
    "open without permission": lambda d: read(d / "secret"),
    "open to write without permission": lambda d: write(d / "readonly"),
    "open a loop": lambda d: read(d / "loop"),
    "open a dangling link": lambda d: read(d / "dangling"),
    "open a long name": lambda d: read(d / LONG),
    "open a long path": lambda d: read(d / DEEP),
    "open a socket": lambda d: read(d / "socket"),
    "create exclusively": lambda d: exclusive(d / "file"),
    "create exclusively over a directory": lambda d: exclusive(d / "dir"),
    "create exclusively over a dangling link": lambda d: exclusive(d / "dangling"),
    "create without permission": lambda d: create(d / "sealed/new"),
    "create in a missing directory": lambda d: create(d / "none/new"),
    "create below a file": lambda d: create(d / "file/new"),
    "create a long name": lambda d: create(d / LONG),
    "create below a locked directory": lambda d: create(d / "locked/new"),
    "truncate a missing name": lambda d: os.truncate(d / "none", 0),
    "truncate a directory": lambda d: os.truncate(d / "dir", 0),
    "truncate without permission": lambda d: os.truncate(d / "readonly", 0),
    "truncate to a negative size": lambda d: os.truncate(d / "file", -1),
    "stat a loop": lambda d: os.stat(d / "loop"),
    "stat below a locked directory": lambda d: os.stat(d / "locked/x"),
    "stat below a file": lambda d: os.stat(d / "file/x"),
    "stat a long name": lambda d: os.stat(d / LONG),
    "list a file": lambda d: os.listdir(d / "file"),
    "list a missing name": lambda d: os.listdir(d / "none"),
    "list without permission": lambda d: os.listdir(d / "locked"),
    "read a file's link": lambda d: os.readlink(d / "file"),
    "mkdir of a taken name": lambda d: os.mkdir(d / "file"),
    "mkdir over a dangling link": lambda d: os.mkdir(d / "dangling"),
    "mkdir in a missing directory": lambda d: os.mkdir(d / "none/new"),
    "mkdir below a file": lambda d: os.mkdir(d / "file/new"),
    "mkdir without permission": lambda d: os.mkdir(d / "sealed/new"),
    "mkdir of a long name": lambda d: os.mkdir(d / LONG),
    "rmdir of a full directory": lambda d: os.rmdir(d / "full"),
    "rmdir of a file": lambda d: os.rmdir(d / "file"),
    "rmdir of a missing name": lambda d: os.rmdir(d / "none"),
    "rmdir of a link": lambda d: os.rmdir(d / "link"),
    "rmdir without permission": lambda d: os.rmdir(d / "sealed/dir"),
    "unlink a directory": lambda d: os.unlink(d / "dir"),
    "unlink a missing name": lambda d: os.unlink(d / "none"),
    "unlink below a file": lambda d: os.unlink(d / "file/x"),
    "unlink without permission": lambda d: os.unlink(d / "sealed/file"),
    "unlink what is another's in a sticky directory": lambda d: os.unlink(d / "sticky/theirs"),
    "rename a missing name": lambda d: os.rename(d / "none", d / "new"),
    "rename a directory over a full one": lambda d: os.rename(d / "dir", d / "full"),
    "rename a directory over a file": lambda d: os.rename(d / "dir", d / "file"),
    "rename a file over a directory": lambda d: os.rename(d / "file", d / "dir"),
    "rename a directory into itself": lambda d: os.rename(d / "full", d / "full/x/new"),
    "rename a directory over its parent": lambda d: os.rename(d / "full/x", d / "full"),
    "rename into a missing directory": lambda d: os.rename(d / "file", d / "none/new"),
    "rename into a file": lambda d: os.rename(d / "file", d / "readonly/new"),
    "rename without permission": lambda d: os.rename(d / "file", d / "sealed/new"),
    "rename out without permission": lambda d: os.rename(d / "sealed/file", d / "new"),
    "rename to a long name": lambda d: os.rename(d / "file", d / LONG),
    "link a directory": lambda d: os.link(d / "dir", d / "new"),
    "link over a taken name": lambda d: os.link(d / "file", d / "readonly"),
    "link a missing name": lambda d: os.link(d / "none", d / "new"),
    "link without permission": lambda d: os.link(d / "file", d / "sealed/new"),
    "symlink over a taken name": lambda d: os.symlink("x", d / "file"),
    "symlink in a missing directory": lambda d: os.symlink("x", d / "none/new"),
    "symlink without permission": lambda d: os.symlink("x", d / "sealed/new"),
    "symlink of a long name": lambda d: os.symlink("x", d / LONG),
    "chmod of another's file": lambda d: os.chmod(d / "theirs", 0o600),
    "chmod of a missing name": lambda d: os.chmod(d / "none", 0o600),
    "chown of a file": lambda d: os.chown(d / "theirs", NOBODY, NOBODY),
    "utime of another's file": lambda d: os.utime(d / "theirs", (1, 1)),
}

READ_ONLY: dict[str, Action] = {
    "create": lambda d: create(d / "new"),
    "open to write": lambda d: write(d / "file"),
    "open to empty": lambda d: empty(d / "file"),
    "mkdir": lambda d: os.mkdir(d / "new"),
    "rmdir": lambda d: os.rmdir(d / "dir"),
    "unlink": lambda d: os.unlink(d / "file"),
    "rename": lambda d: os.rename(d / "file", d / "new"),
    "rename into": lambda d: os.rename(d.parent / "read-write/file", d / "new"),
    "rename out": lambda d: os.rename(d / "file", d.parent / "read-write/new"),
    "link": lambda d: os.link(d / "file", d / "new"),
    "symlink": lambda d: os.symlink("x", d / "new"),
    "chmod": lambda d: os.chmod(d / "file", 0o600),
    "truncate": lambda d: os.truncate(d / "file", 0),
    "utime": lambda d: os.utime(d / "file", (1, 1)),
}

ACROSS: dict[str, Action] = {
    "rename across file systems": lambda d: os.rename(d / "read-write/file", d / "small/new"),
    "rename a directory across file systems": lambda d: os.rename(d / "read-write/dir", d / "small/new"),
    "link across file systems": lambda d: os.link(d / "read-write/file", d / "small/new"),
    "rmdir of a mount point": lambda d: os.rmdir(d / "small"),
}


def outcome(action: Action, directory: Path) -> str:
    """The name of the errno, or what shows that there was none."""
    try:
        action(directory)
    except OSError as problem:
        return errno.errorcode[problem.errno or 0]
    return "done"


def as_nobody(action: Action, directory: Path) -> str:
    """``outcome`` with the permissions of the server's user, in this thread alone (setfsuid(2))."""
    groups = os.getgroups()
    os.setgroups([])
    LIBC.setfsgid(NOBODY)
    LIBC.setfsuid(NOBODY)
    try:
        return outcome(action, directory)
    finally:
        LIBC.setfsuid(0)
        LIBC.setfsgid(0)
        os.setgroups(groups)


def furnish(directory: Path) -> None:
    """What the actions work on: nobody's, but for what is named another's."""
    directory.mkdir()
    for name in ("dir", "full", "full/x", "sealed", "sealed/dir", "locked", "sticky"):
        (directory / name).mkdir()
    for name in ("file", "readonly", "secret", "theirs", "sealed/file", "sticky/theirs", "locked/x"):
        (directory / name).write_bytes(b"x" * 1000)
    for name, target in (("link", "file"), ("dangling", "nowhere"), ("loop", "loop")):
        (directory / name).symlink_to(target)
    os.mknod(directory / "socket", 0o140644)
    for root, directories, files in os.walk(directory):
        for name in (".", *directories, *files):
            path = Path(root, name)
            if name != "theirs" and path.name != "sticky":
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    for name, mode in (("sealed", 0o555), ("readonly", 0o444), ("secret", 0), ("locked", 0)):
        (directory / name).chmod(mode)
    (directory / "sticky").chmod(0o1777)


def mounted(kind: str, *arguments: str) -> None:
    """mount(8)."""
    subprocess.run(["mount", "-t", kind, *arguments], check=True, timeout=20)


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """The server's directory, with file systems of several kinds below it, where nobody can go."""
    base = Path(tempfile.mkdtemp(prefix="sftpfs-errnos-"))
    base.chmod(0o755)
    places = ("read-only", "read-write", "small", "few")
    try:
        for place in places:
            (base / place).mkdir()
        size = f"size={ROOM},mode=777"
        mounted("tmpfs", "-o", size, "sftpfs-test", str(base / "small"))
        mounted("tmpfs", "-o", "nr_inodes=4,mode=777", "sftpfs-test", str(base / "few"))
        mounted("tmpfs", "-o", "size=1m,mode=777", "sftpfs-test", str(base / "read-only"))
        for place in ("read-only", "read-write"):
            (base / place).chmod(0o777)
            (base / place / "dir").mkdir()
            (base / place / "file").write_bytes(b"x")
            for name in ("dir", "file"):
                os.chown(base / place / name, NOBODY, NOBODY)
        mounted("tmpfs", "-o", "remount,ro", "sftpfs-test", str(base / "read-only"))
        for name in ("local", "remote"):
            furnish(base / name)
        yield base
    finally:
        for place in places:
            subprocess.run(["umount", "-l", str(base / place)], capture_output=True, check=False, timeout=20)
        shutil.rmtree(base)


@pytest.fixture(scope="module")
def mount(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """``tree`` mounted from a real sshd whose sftp-server works as nobody."""
    directory = tmp_path_factory.mktemp("errnos")
    server = directory / "sftp-server"
    server.write_text(
        f"#!/bin/sh\nexec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups {SFTP_SERVER}\n"
    )
    server.chmod(0o755)
    made: list[Mount] = []
    with Sshd(directory / "sshd", subsystem=str(server)) as sshd:
        make = _maker(sshd, sftpfs_command, directory, made)
        yield make("dir_cache=no", "no_contain_symlinks", backing=tree)
        _close_all(made)


def test_errnos_are_those_of_a_local_file_system(mount: Mount, tree: Path) -> None:
    expected = {name: as_nobody(action, tree / "local") for name, action in ACTIONS.items()}
    found = {name: outcome(action, mount.path / "remote") for name, action in ACTIONS.items()}
    assert "done" not in expected.values(), "an action that fails nowhere shows nothing"
    assert found == expected


def test_a_read_only_file_system(mount: Mount, tree: Path) -> None:
    expected = {name: as_nobody(action, tree / "read-only") for name, action in READ_ONLY.items()}
    found = {name: outcome(action, mount.path / "read-only") for name, action in READ_ONLY.items()}
    assert "done" not in expected.values()
    assert found == expected


def test_another_file_system(mount: Mount, tree: Path) -> None:
    expected = {name: as_nobody(action, tree) for name, action in ACROSS.items()}
    found = {name: outcome(action, mount.path) for name, action in ACROSS.items()}
    assert "done" not in expected.values()
    assert found == expected


def test_a_full_disk(mount: Mount, tree: Path) -> None:
    """Reported once to whoever wrote, at the next call that can; never a length that is not there."""
    mount.expect("could not be written|data lost")
    here, there = mount.path / "small", tree / "small"
    ends: list[Callable[[int], object]] = [
        os.fsync,
        lambda fd: os.close(os.dup(fd)),
        lambda fd: os.write(fd, b"more"),
    ]
    for number, end in enumerate(ends):
        path = here / f"too large {number}"
        fd = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            with pytest.raises(OSError) as raised:
                for _ in range(3 * ROOM // 65536):
                    os.write(fd, bytes(65536))
                end(fd)
                os.fsync(fd)
            assert raised.value.errno == errno.ENOSPC, number
        finally:
            with suppress(OSError):
                os.fsync(fd)  # else nobody was surely told
            shutdown(fd)
        size = (there / path.name).stat().st_size
        assert os.stat(path).st_size == size <= ROOM
        assert len(path.read_bytes()) == size
        path.unlink()
    (here / "fits").write_bytes(bytes(1000))
    assert (there / "fits").stat().st_size == 1000


def shutdown(fd: int) -> None:
    """Close; what was written after the report may be reported now."""
    try:
        os.close(fd)
    except OSError as problem:
        assert problem.errno == errno.ENOSPC


def test_no_room_for_another_name(mount: Mount, tree: Path) -> None:
    for number in range(8):
        try:
            (tree / "few" / f"{number}").touch()
        except OSError:
            break
    actions: list[Action] = [
        lambda d: create(d / "new"),
        lambda d: exclusive(d / "new"),
        lambda d: os.mkdir(d / "new"),
        lambda d: os.symlink("x" * 100, d / "new"),
    ]
    expected = [as_nobody(action, tree / "few") for action in actions]
    assert set(expected) == {"ENOSPC"}
    assert [outcome(action, mount.path / "few") for action in actions] == expected
