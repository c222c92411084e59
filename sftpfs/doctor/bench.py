"""``sftpfs bench``: how fast a program works on mounts of a server, measured on real mounts.

What was written is read on a second mount, so that nothing is cached. The numbers are those of a single run.
All files are in one directory of their own, which is removed at the end.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sftpfs.config import MountConfig
from sftpfs.doctor.replayed_prompts import Mounts
from sftpfs.errors import Failure, MountError
from sftpfs.host import mountpoint
from sftpfs.host.interrupts import Interrupts

FILES = 50
SMALL = 4096
"""Bytes: what most files of a tree of sources fit in."""

BLOCK = 1 << 20

Row = tuple[str, str]


class MountFailedError(Exception):
    """The mount could not be made, and has reported why. ``status`` is its exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@contextmanager
def mounted(mounts: Mounts) -> Iterator[Path]:
    """A mount, taken off at the end, also if it was still being made. Raises MountFailedError."""
    path = tempfile.mkdtemp(prefix="sftpfs-bench-")
    beneath = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        status = mounts.mount(path)
        if status:
            raise MountFailedError(status)
        yield Path(path)
    finally:
        for lazy in (False, True):
            if mountpoint.mounted_at(path) is not None:
                mountpoint.unmount(f"/proc/self/fd/{beneath}", path, lazy)
        os.close(beneath)
        os.rmdir(path)


def bench(config: MountConfig, mebibytes: int, show: Callable[[Row], None], interrupts: Interrupts) -> None:
    """Measures the server of ``config``, calling ``show`` for every row.

    Raises MountFailedError, and MountError if the directory cannot be worked in. The mount that wrote stays
    until everything is removed, because a further mount for cleaning up may fail.
    """
    name = f".sftpfs-bench-{secrets.token_hex(4)}"
    mounts = Mounts(config, interrupts)
    with mounted(mounts) as root:
        _make(root / name, config)
        try:
            with interrupts.allowed():
                _writing(root / name, mebibytes, show)
            with mounted(mounts) as anew, interrupts.allowed():
                _reading(anew / name, mebibytes, show)
        except BaseException:
            _clean(root / name)
            raise
        show(_timed("remove all of it", lambda: _clean(root / name)))


def _make(place: Path, config: MountConfig) -> None:
    try:
        place.mkdir()
    except OSError as error:
        message = f"cannot make a directory on {config.endpoint} to measure in: {error.strerror}"
        raise MountError(Failure.REMOTE_DIRECTORY, message) from None


def _clean(place: Path) -> None:
    try:
        shutil.rmtree(place)
    except OSError as error:
        raise MountError(
            Failure.REMOTE_DIRECTORY, f"could not remove {place.name} on the server: {error.strerror}"
        ) from None


def _writing(place: Path, mebibytes: int, show: Callable[[Row], None]) -> None:
    block = os.urandom(BLOCK)

    def big() -> None:
        with open(place / "big", "wb") as file:
            for _ in range(mebibytes):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    def small() -> None:
        for number in range(FILES):
            (place / f"small{number:03}").write_bytes(block[:SMALL])

    show(_timed(f"write {mebibytes} MiB and fsync", big, mebibytes << 20))
    show(_timed(f"create {FILES} files of 4 KiB", small, each=FILES))


def _reading(place: Path, mebibytes: int, show: Callable[[Row], None]) -> None:
    def look() -> None:
        for number in range(FILES):
            (place / f"missing{number:03}" / "x").exists()

    def listing() -> None:
        for entry in os.scandir(place):
            entry.stat()

    def small() -> None:
        for number in range(FILES):
            (place / f"small{number:03}").read_bytes()

    def big() -> None:
        with open(place / "big", "rb", buffering=0) as file:
            while file.read(BLOCK):
                pass

    show(_timed("ls -l of the directory", listing))
    show(_timed(f"stat {FILES} names", look, each=FILES))
    show(_timed(f"read {FILES} files of 4 KiB", small, each=FILES))
    show(_timed(f"read {mebibytes} MiB", big, mebibytes << 20))


def _timed(label: str, work: Callable[[], None], volume: int = 0, each: int = 0) -> Row:
    begin = time.monotonic()
    work()
    seconds = max(time.monotonic() - begin, 1e-6)
    text = f"{seconds:8.3f} s"
    if volume:
        text += f"  {volume / seconds / 1e6:8.1f} MB/s"
    if each:
        text += f"  {seconds / each * 1000:8.2f} ms each"
    return label, text
