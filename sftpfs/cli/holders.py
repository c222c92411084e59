"""Which processes use a mount: what /proc tells of their directories and open files.

Reads links only, which does not touch the mount. Of other users' processes only root is told.
"""

from __future__ import annotations

import os
from collections.abc import Iterator


def holders(mountpoint: str) -> list[str]:
    """``name (pid)`` of every process with a file or directory of the mount open."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and any(_inside(link, mountpoint) for link in _links(entry)):
            found.append(f"{_name(entry)} ({entry})")
    return found


def _links(pid: str) -> Iterator[str]:
    """What its links in /proc lead to; of what may not be seen nothing."""
    paths = [f"/proc/{pid}/cwd", f"/proc/{pid}/root", f"/proc/{pid}/exe"]
    try:
        paths += [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        pass
    for path in paths:
        try:
            yield os.readlink(path)
        except OSError:
            continue


def _inside(path: str, mountpoint: str) -> bool:
    return path == mountpoint or path.startswith(mountpoint.rstrip("/") + "/")


def _name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "process"
