"""``sftpfs bench``: what a program gets out of a mount of a server, measured on real mounts.

What was written is read on a second mount, so that nothing is cached; the numbers are
those of one run, once. All files are in one directory of their own, removed at the end.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sftpfs.config import MountConfig
from sftpfs.doctor.rehearsed import Mounts
from sftpfs.errors import Failure, MountError
from sftpfs.process import to_stderr

FILES = 50
SMALL = 4096
"""Bytes: what most files of a tree of sources fit in."""

BLOCK = 1 << 20

Row = tuple[str, str]


class MountFailedError(Exception):
    """The mount could not be made; it has told why. ``status`` is its exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@contextmanager
def mounted(mounts: Mounts, mountpoint: str) -> Iterator[Path]:
    """A mount, taken off at the end. Raises MountFailedError."""
    status = mounts.mount(mountpoint)
    if status:
        raise MountFailedError(status)
    try:
        yield Path(mountpoint)
    finally:
        unmount = ["umount", "-i"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        subprocess.run([*unmount, mountpoint], check=False)


def bench(config: MountConfig, mebibytes: int, show: Callable[[Row], None]) -> None:
    """Measure the server of ``config``, calling ``show`` for every row.

    Raises MountFailedError, and MountError where the directory cannot be worked in.
    """
    name = f".sftpfs-bench-{secrets.token_hex(4)}"
    mounts = Mounts(config)
    with tempfile.TemporaryDirectory(prefix="sftpfs-bench-") as mountpoint:
        with mounted(mounts, mountpoint) as root:
            place = root / name
            try:
                place.mkdir()
            except OSError as error:
                message = f"cannot make a directory on {config.endpoint} to measure in: {error.strerror}"
                raise MountError(Failure.REMOTE_DIRECTORY, message) from None
            try:
                _writing(place, mebibytes, show)
            except BaseException:
                _clean(place)
                raise
        try:
            with mounted(mounts, mountpoint) as root:
                try:
                    _reading(root / name, mebibytes, show)
                finally:
                    show(_timed("remove all of it", lambda: _clean(root / name)))
        except MountFailedError:
            to_stderr(f"the directory {name} is left on the server: remove it")
            raise


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
