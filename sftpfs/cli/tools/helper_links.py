"""The links by which mount(8) and umount(8) find this program.

Owns their names, and makes and removes them. libmount looks for ``mount.TYPE`` and ``umount.TYPE`` in /sbin,
where TYPE is ``sftpfs`` or ``fuse.sftpfs``. But root's plain ``umount DIR`` learns the type from statfs(2),
which knows no subtypes, and so looks for ``umount.fuse``. That helper is a small script, because it is run
for every FUSE file system of the machine: these must unmount also if this program or its Python is broken.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys

from sftpfs.errors import Failure, MountError

DIRECTORY = "/sbin"
"""Where libmount looks (its FS_SEARCH_PATH)."""

FOR_ALL = "umount.fuse"
"""Unmounts every FUSE file system, as umount(8) does without it, and waits for ours. One of another program
stays."""

OURS = "# Made by sftpfs install-helpers"

SCRIPT = f"""\
#!/bin/sh
{OURS}: umount of a mount of sftpfs ends when all is on the server.
# umount(8) itself unmounts every other FUSE mount, and ours if sftpfs cannot be run.
wanted=$(printf '%s' "$1" | sed 's/\\\\/\\\\134/g; s/ /\\\\040/g; s/\t/\\\\011/g')
type=
while read -r _ path kind _; do
    [ "$path" = "$wanted" ] && type=$kind
done </proc/self/mounts
if [ "$type" = fuse.sftpfs ]; then
    "${{0%/*}}/umount.fuse.sftpfs" "$@"
    status=$?
    case $status in
        0 | 32 | 74) exit $status ;;
    esac
fi
directory=$1
shift
letters=
while [ $# -gt 0 ]; do
    case $1 in
        -t | -N) shift ;;
        -f | -l | -r | -v) letters="$letters $1" ;;
    esac
    shift
done
exec umount -i $letters -- "$directory"
"""

NAMES = ("mount.sftpfs", "mount.fuse.sftpfs", "umount.sftpfs", "umount.fuse.sftpfs", FOR_ALL)

PROGRAM = "sftpfs"


def program_path() -> str:
    """The installed command that this process runs as, which the links lead to. Raises MountError."""
    candidates = [shutil.which(sys.argv[0]), os.path.join(os.path.dirname(sys.executable), PROGRAM)]
    for candidate in candidates:
        if candidate and os.path.basename(candidate) == PROGRAM and os.access(candidate, os.X_OK):
            return os.path.abspath(candidate)
    raise MountError(
        Failure.CONFIGURATION,
        f"no installed program {PROGRAM} to link to; install the package first, for example with pipx",
    )


def install(directory: str, program: str) -> list[str]:
    """Makes every link. Returns those that were made, or led elsewhere before. Raises MountError."""
    made = []
    for name in NAMES:
        path = os.path.join(directory, name)
        if _is_made(path, name, program):
            continue
        if name == FOR_ALL and os.path.lexists(path) and not _is_ours(path):
            continue
        try:
            if _is_ours(path):
                os.unlink(path)
            if name == FOR_ALL:
                _write(path)
            else:
                os.symlink(program, path)
        except FileExistsError:
            raise MountError(
                Failure.CONFIGURATION, f"{path} exists and was not made by sftpfs: remove it first"
            ) from None
        except OSError as error:
            raise _refused(path, error) from None
        made.append(path)
    return made


def remove(directory: str) -> list[str]:
    """Removes every link. Returns those that existed. What others made is left alone. Raises MountError."""
    removed = []
    for name in NAMES:
        path = os.path.join(directory, name)
        if not _is_ours(path):
            continue
        try:
            os.unlink(path)
        except OSError as error:
            raise _refused(path, error) from None
        removed.append(path)
    return removed


def _is_made(path: str, name: str, program: str) -> bool:
    if name == FOR_ALL:
        return _content(path) == SCRIPT
    return _is_ours(path) and os.readlink(path) == program


def _write(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
    with open(fd, "w", encoding="ascii") as file:
        os.fchmod(fd, 0o755)  # whatever the umask
        file.write(SCRIPT)


def _content(path: str) -> str:
    """The content of a file; nothing if it is none."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), errors="replace") as file:
            return file.read(2 * len(SCRIPT))
    except OSError:
        return ""


def _is_ours(path: str) -> bool:
    """Whether ``path`` is a link to a program of our name, existing or not, or our script."""
    if os.path.islink(path):
        return os.path.basename(os.readlink(path)) == PROGRAM
    return OURS in _content(path)


def _refused(path: str, error: OSError) -> MountError:
    cure = ""
    if isinstance(error, FileNotFoundError):
        cure = f"; make the directory with: mkdir -p {os.path.dirname(path)}"
    elif os.geteuid():
        cure = "; run this as root"
    return MountError(Failure.CONFIGURATION, f"cannot change {path}: {error.strerror}{cure}")


def changeable_by_others(program: str) -> str:
    """The file or directory on the way to ``program`` that a user other than root may change, or nothing.

    mount(8) runs the program as root.
    """
    path = os.path.realpath(program)
    while True:
        seen = os.stat(path)
        others = seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        sticky = stat.S_ISDIR(seen.st_mode) and seen.st_mode & stat.S_ISVTX
        if seen.st_uid != 0 or (others and not sticky):
            return path
        if path == "/":
            return ""
        path = os.path.dirname(path)
