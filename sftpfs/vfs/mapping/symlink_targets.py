"""Symbolic links: a target from the server to the target the mount shows.

Pure. A hostile server must not lead a program out of the mount, so under CONTAIN a
target is shown only when every way the kernel may walk it stays inside.
"""

from __future__ import annotations

import errno

from sftpfs.config import SymlinkPolicy
from sftpfs.errors import error


def shown_target(
    target: bytes, link_path: bytes, root: bytes, mountpoint: bytes, policy: SymlinkPolicy
) -> bytes:
    """What readlink(2) returns for the link at ``link_path`` (absolute, on the server).

    An absolute target is inside if it lies below ``root`` on the server, or below ``mountpoint`` here, as a
    program of this machine would have written it.

    Raises EPERM if ``policy`` is CONTAIN and the target leaves ``root``, EIO for a target that no link can
    have (empty, or with a NUL).
    """
    if not target or b"\0" in target:
        raise error(errno.EIO, "the server sent an impossible link target")
    if policy is SymlinkPolicy.PASS:
        return target
    here = _components_below(link_path.rpartition(b"/")[0] or b"/", root)
    if target.startswith(b"/"):
        # If only a relative path of the root is known, nobody can tell what is below it.
        inside = _components_below(target, root) if root.startswith(b"/") else None
        if inside is None:
            inside = _components_below(target, mountpoint)
        if inside is None or here is None:
            if policy is SymlinkPolicy.TRANSFORM:
                return target
            raise error(errno.EPERM, "the link leads out of the mounted directory")
        return _relative(here, inside)
    if policy is SymlinkPolicy.TRANSFORM:
        return target
    return _contained(target, len(here or []))


def _contained(target: bytes, depth: int) -> bytes:
    """``target`` if its leading ``..`` stay within ``depth`` levels; other ``..`` are folded away.

    The kernel resolves a ``..`` after a name from wherever that name leads, which may be a link to the root
    itself: one more ``..`` would be outside. Such targets are shown in their folded form, which has only
    leading ones.
    """
    parts: list[bytes] = []
    climbed = 0
    folded = False
    for part in target.split(b"/"):
        if part == b"..":
            if parts:
                parts.pop()
                folded = True
            else:
                climbed += 1
        elif part not in (b"", b"."):
            parts.append(part)
    if climbed > depth:
        raise error(errno.EPERM, "the link leads out of the mounted directory")
    if not folded:
        return target
    return b"/".join([b".."] * climbed + parts) or b"."


def _normalized(path: bytes) -> list[bytes]:
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            if parts:
                parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return parts


def _components_below(path: bytes, root: bytes) -> list[bytes] | None:
    """The components of ``path`` below ``root``, or None where it is not below."""
    whole, base = _normalized(path), _normalized(root)
    if whole[: len(base)] != base:
        return None
    return whole[len(base) :]


def _relative(here: list[bytes], there: list[bytes]) -> bytes:
    common = 0
    while common < min(len(here), len(there)) and here[common] == there[common]:
        common += 1
    return b"/".join([b".."] * (len(here) - common) + there[common:]) or b"."
