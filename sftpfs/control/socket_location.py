"""Where the sockets are, and which mount a path is in.

A socket is named after the device number of its mount, which is the same on the whole machine and under every
name of the mountpoint. It stands in a directory that only the mount's owner may enter: one of the usual ones,
or the XDG_RUNTIME_DIR of the time when the mount was made, which the kernel's list of sockets shows. Looks at
mountinfo and opens paths with O_PATH, so it finds a mountpoint itself without asking the mount's server.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from sftpfs.errors import Failure, MountError
from sftpfs.host.covered_files import reach
from sftpfs.host.mountpoint import MountedAt, absolute_path, all_mounts, mount_of

SOCKETS = "/proc/net/unix"

MAX_SOCKET_PATH = 107
"""Bytes in sockaddr_un.sun_path (unix(7))."""


class Found(NamedTuple):
    """A mount, and where in it the path leads: relative to its root, no slash at either end."""

    mount: MountedAt
    inside: str


# -- sockets ---------------------------------------------------------------------------------


def directories(uid: int) -> list[str]:
    """Where the sockets of ``uid``'s mounts may be, the best place first."""
    found = []
    if uid == 0:
        found.append("/run/sftpfs")
    elif uid == os.geteuid():
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        if runtime.startswith("/"):
            found.append(os.path.join(runtime, "sftpfs"))
    if uid:
        found.append(f"/run/user/{uid}/sftpfs")
    found.append(f"/tmp/sftpfs-{uid}")
    return list(dict.fromkeys(found))


def is_private(path: str, uid: int) -> bool:
    """True if ``path`` is a real directory that ``uid`` owns and nobody else may enter."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077


def make_directory() -> str:
    """The directory for our own sockets, made if it is missing; never one that our mount covers.

    Raises OSError.
    """
    uid = os.geteuid()
    problem: OSError | None = None
    for path in directories(uid):
        if reach(path) != path or len(os.fsencode(path)) + 16 > MAX_SOCKET_PATH:
            continue
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        except OSError as error:
            problem = error
            continue
        if is_private(path, uid):
            return path
        problem = PermissionError(f"{path} is not a directory of mode 0700 of user {uid}")
    raise problem or FileNotFoundError("no directory for sockets")


def socket_name(device: str) -> str:
    """The file name of the socket of the mount with ``device`` (``major:minor``)."""
    return f"{device}.sock"


def socket_paths(mount: MountedAt) -> list[str]:
    """Where the socket of ``mount`` may be: in private directories of its owner only."""
    name, uid = socket_name(mount.device), mount.user_id
    places = dict.fromkeys([*directories(uid), *elsewhere(name)])
    return [os.path.join(path, name) for path in places if is_private(path, uid)]


def elsewhere(name: str) -> list[str]:
    """The directories with a bound socket called ``name``, as the kernel lists them (proc(5)).

    A mount made with another XDG_RUNTIME_DIR than ours, by su or cron or a service, has its socket there.
    """
    found = []
    try:
        with open(SOCKETS, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                path = line.rstrip("\n").partition("/")[2]
                if path.endswith(f"sftpfs/{name}"):
                    found.append(os.path.dirname(f"/{path}"))
    except OSError:
        pass  # then the usual places are all we know
    return found


def is_sftpfs(mount: MountedAt) -> bool:
    """Whether it is one of ours by its type, unless ``subtype=`` gave it another type."""
    return mount.type == "fuse.sftpfs"


def our_mounts() -> list[MountedAt]:
    """Every mount of ours (for root everybody's), recognised by type or by its socket. By mountpoint."""
    found: dict[str, MountedAt] = {}
    for mount in all_mounts():
        ours = mount.type.startswith("fuse") and os.geteuid() in (0, mount.user_id)
        if ours and (is_sftpfs(mount) or any(os.path.exists(path) for path in socket_paths(mount))):
            found.setdefault(mount.device, mount)
    return sorted(found.values(), key=lambda mount: mount.path)


# -- paths -----------------------------------------------------------------------------------


def find(path: str) -> Found:
    """The mount that ``path`` is in; the path need not exist. Raises MountError.

    Follows symbolic links. If ``path`` is a mountpoint its name is enough: nothing is asked of the server,
    which may be out of reach.
    """
    if not path or "\0" in path:
        raise MountError(Failure.USAGE, "the path is empty or no path")
    mounts = all_mounts()
    absolute = absolute_path(path)
    if ".." not in path.split("/"):
        # Only now, because after a link .. leads elsewhere. normpath keeps two slashes at the front.
        absolute = os.path.normpath("/" + absolute.lstrip("/"))
        exact = [mount for mount in mounts if mount.path == absolute]
        if exact:
            return Found(_of_ours(exact[-1], path), "")
    missing: list[str] = []
    while True:
        try:
            opened = os.open(absolute or "/", os.O_PATH | os.O_CLOEXEC)
            break
        except OSError as error:
            if not absolute:
                raise MountError(Failure.MOUNTPOINT, f"cannot look at {path}: {error.strerror}") from None
            absolute, _, name = absolute.rstrip("/").rpartition("/")
            missing.insert(0, name)
    try:
        mount, inside = _located(opened, mounts, path)
    finally:
        os.close(opened)
    return Found(mount, "/".join([*([inside] if inside else []), *missing]))


def _located(opened: int, mounts: list[MountedAt], path: str) -> tuple[MountedAt, str]:
    """The mount of an open file and the path in it."""
    identifier = mount_of(f"/proc/self/fdinfo/{opened}")
    for mount in mounts:
        if mount.identifier == identifier:
            break
    else:
        raise _no_mount(path)
    mount = _of_ours(mount, path)
    real = os.readlink(f"/proc/self/fd/{opened}").removesuffix(" (deleted)")
    below = os.path.relpath(real, mount.path)
    inside = os.path.normpath(os.path.join(mount.root, below)).strip("/")
    return mount, "" if inside == "." else inside


def _of_ours(mount: MountedAt, path: str) -> MountedAt:
    if not mount.type.startswith("fuse") or mount.type == "fusectl":
        raise _no_mount(path)
    return mount


def _no_mount(path: str) -> MountError:
    mounts = [mount.path for mount in our_mounts()]
    there = f"; your mounts: {', '.join(mounts)}" if mounts else "; you have no other mounts"
    return MountError(Failure.MOUNTPOINT, f"no sftpfs is mounted at {path}{there}")
