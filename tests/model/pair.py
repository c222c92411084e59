"""What is compared of a mount and of the local directory beside it."""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path


def data_of(seed: int, length: int) -> bytes:
    """Bytes that differ with ``seed``."""
    return random.Random(seed).randbytes(length)


def outcome(action: Callable[[], object]) -> object:
    """What it returns, or the errno it fails with."""
    try:
        return action()
    except OSError as failed:
        return OSError, failed.errno


class Pair:
    """One file open on both sides."""

    def __init__(self, here: int, twin: int) -> None:
        self.here = here
        self.twin = twin
        self.cut = False
        """The connection was lost since it was opened."""

    @property
    def lost(self) -> bool:
        """Nothing leads to the file any more, so it cannot be opened again: it may end in ESTALE."""
        return self.cut and os.fstat(self.twin).st_nlink == 0

    def close(self) -> None:
        """Close both, with the same success."""
        lost = self.lost
        os.close(self.twin)
        try:
            os.close(self.here)
        except OSError as failed:
            if not lost or failed.errno != errno.ESTALE:
                raise


def shown(status: os.stat_result) -> tuple[int, int | None]:
    """What both must agree on: a directory's size is the file system's own affair."""
    return status.st_mode, None if stat.S_ISDIR(status.st_mode) else status.st_size


def everything(root: Path) -> dict[str, object]:
    """Every name below ``root``, with its attributes and content."""
    found: dict[str, object] = {}
    for directory, subdirectories, files in os.walk(root):
        for name in subdirectories + files:
            path = Path(directory, name)
            status = os.lstat(path)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[str(path.relative_to(root))] = (shown(status), content)
    return found
