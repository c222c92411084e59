"""Files that the mount covers: how its own processes go on reaching them.

A mount over a home directory hides the key, known_hosts, ssh_config, an agent's socket and the user's state
from the processes that serve it. If they looked these up by name, they would ask the server for them, over
the connection that cannot be made without them. So the directory that is mounted over is opened before, and
what lies in it is reached by that descriptor, as fresh as without the mount.

Owned by the composition root, which calls ``hold`` before the mount. The fork server inherits the descriptor
and calls ``hold``, too. Whoever opens a file of this machine after the mount asks ``reach`` for the way.

INVARIANT: set once in a process, before its first ``reach`` and before the mount; never changed.
"""

from __future__ import annotations

import os
from typing import NamedTuple

MOST_LINKS = 40
"""Symbolic links followed in one path, as Linux does (path_resolution(7))."""


class Held(NamedTuple):
    """The directory mounted over: ``path`` has no links in it, ``fd`` is O_PATH."""

    path: str
    fd: int


_held: Held | None = None


def held() -> Held | None:
    """What was held, for a process to be started."""
    return _held


def hold(given: Held) -> None:
    """From now on ``given`` is mounted over, or about to be."""
    global _held
    _held = given


def reach(path: str) -> str:
    """A name for ``path`` that leads past the mount; ``path`` itself if it is not below the mountpoint.

    Links are followed here, and nothing below the mountpoint is looked up by its name.
    """
    if _held is None or not path.startswith("/"):
        return path
    name, links = "", 0
    rest = _parts(path)
    while rest:
        part = rest.pop()
        if part == "..":
            name = name.rpartition("/")[0]
            continue
        step = f"{name}/{part}"
        link = None if step == _held.path else _link(_way(step, _held))
        links += link is not None
        if link is None or links > MOST_LINKS:
            name = step
            continue
        if link.startswith("/"):
            name = ""
        rest += _parts(link)
    way = _way(name, _held)
    return path if way == name else way


def _way(name: str, held: Held) -> str:
    """How to reach ``name``, which has no links in it except in its last part."""
    if name == held.path or name.startswith(held.path + "/"):
        return f"/proc/self/fd/{held.fd}{name[len(held.path) :]}"
    return name


def _parts(path: str) -> list[str]:
    """The names of a path, the last first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
