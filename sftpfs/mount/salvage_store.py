"""The store of what could not be written: its place, the names of its files, the description beside each.

Each loss has one data file, with the bytes at the offsets they were meant for, and one JSON file that
describes it. ``mount.salvage`` adds to the store. People look at it, write back and remove (``sftpfs
restore``); nothing else does. Whatever sorts names sorts losses, because moment and number have a fixed
width.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple

from sftpfs.byte_ranges import without
from sftpfs.host.account import home_directory
from sftpfs.host.covered_files import reach
from sftpfs.mount import failpoints

SYSTEM_DIRECTORY = "/var/lib/sftpfs"

NAME = re.compile(r"\d{8}T\d{6}(?:\.\d{6})?Z-(\d+)-(\d+)-")
"""Moment, process, number of the loss. Earlier versions had whole seconds, and numbers without a fixed width.
"""


def state_directory(chosen: str, home: str, uid: int) -> str:
    """Where a user's state belongs (XDG Base Directory Specification), and where root's and that of a user
    without a home does.

    ``chosen`` is ``$XDG_STATE_HOME``. It counts if it belongs to us or to root; if it does not exist, the
    directory in which it would be made must.
    """
    if os.path.isabs(chosen) and _owner(chosen) in (0, uid):
        return os.path.join(chosen, "sftpfs")
    if uid == 0 or home == "/":
        return SYSTEM_DIRECTORY
    return os.path.join(home, ".local/state/sftpfs")


def store_directory() -> str:
    """Where our store is."""
    chosen = os.environ.get("XDG_STATE_HOME", "")
    return os.path.realpath(os.path.join(state_directory(chosen, home_directory(), os.getuid()), "lost"))


def _owner(path: str) -> int | None:
    """The owner of ``path``, or of what is above it if it does not exist yet; None if that cannot be told."""
    try:
        return os.stat(path).st_uid
    except (FileNotFoundError, NotADirectoryError):
        return _owner(os.path.dirname(path)) if path != "/" else None
    except OSError:
        return None


class Saved(NamedTuple):
    """One loss; times in seconds since 1970 by this machine's clock."""

    base: str
    """The name of the data file; with ``.json`` appended, that of its description."""
    server: str
    """As given to the mount: ``[user@]host:[directory]``."""
    root: bytes
    """The directory on the server that was mounted; empty if an earlier version saved it."""
    path: bytes
    """On the server."""
    mountpoint: str
    ranges: list[tuple[int, int]]
    """First byte, byte after the last."""
    appended: bool
    """The bytes were written to the end, wherever that was."""
    reason: str
    errno: int
    since: float
    until: float
    """When the first and the last bytes of it were lost."""
    number: int
    """Of the losses of one mount."""
    newer: list[tuple[int, int]] = []  # noqa: RUF012
    """The parts of ``ranges`` that were written again since, or cut off: they are no longer missing."""
    left: tuple[int, int] | None = None
    """Size and mtime of the file with all that was written to it; None if nobody could tell."""
    end: int | None = None
    """The first size reported after the loss. A part of what was appended may be there, as far as there was
    room."""

    @property
    def missing(self) -> list[tuple[int, int]]:
        """What is to be written back."""
        return without(self.ranges, self.newer)

    @property
    def size(self) -> int:
        """Bytes saved."""
        return sum(end - start for start, end in self.ranges)

    @property
    def order(self) -> tuple[float, int]:
        """What is lost later sorts behind, and so is written back last. Within a second the number
        decides."""
        return self.since, self.number


def file_name(moment: float, pid: int, number: int, path: bytes) -> str:
    """A name that nobody else takes, and that shows a person when and what."""
    last = re.sub(r"[^A-Za-z0-9._-]", "_", os.fsdecode(path).rpartition("/")[2])[:80]
    time = datetime.fromtimestamp(moment, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return f"{time}-{pid:07}-{number:06}-{last}"


def describe(saved: Saved) -> None:
    """Writes the JSON file. It is either complete or as it was before. Raises OSError."""
    text = {
        "server": saved.server,
        "root": os.fsdecode(saved.root),
        "path": os.fsdecode(saved.path),
        "mountpoint": saved.mountpoint,
        "ranges": saved.ranges,
        "newer": saved.newer,
        "left": saved.left,
        "end": saved.end,
        "appended": saved.appended,
        "reason": saved.reason,
        "errno": saved.errno,
        "time": _stamp(saved.since),
        "until": _stamp(saved.until),
    }
    base = reach(saved.base)
    temporary = f"{base}.json.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "w", encoding="ascii") as file:
        json.dump(text, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(fd)
    failpoints.reached(failpoints.RECORD_AFTER_WRITE)
    os.rename(temporary, f"{base}.json")


def all_saved(directory: str) -> list[Saved]:
    """Every loss in the store, in the order in which they are written back. Files that are no losses are
    ignored."""
    found = []
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    for name in names:
        if name.endswith(".json"):
            saved = _read(os.path.join(directory, name.removesuffix(".json")))
            if saved is not None:
                found.append(saved)
    return sorted(found, key=lambda saved: saved.order)


def reread(saved: Saved) -> Saved | None:
    """What was added to the loss after ``saved`` was read; None if nothing was."""
    now = _read(saved.base)
    if now is None or now._replace(newer=saved.newer, left=saved.left, end=saved.end) == saved:
        return None
    if not now.appended:
        return now  # also bytes lost once more may be among it
    ranges = without(now.ranges, [(0, max((last for _, last in saved.ranges), default=0))])
    return now._replace(ranges=ranges) if ranges else None


def remove(saved: Saved) -> Saved | None:
    """Takes a loss out of the store. If something was added after ``saved`` was read, returns that, and all
    of it is then still there. Raises OSError."""
    fd = lock(saved)
    try:
        more = reread(saved)
        if more is None:
            for path in (saved.base, f"{saved.base}.json"):
                with suppress(FileNotFoundError):
                    os.unlink(path)
                failpoints.reached(failpoints.REMOVE_AFTER_DATA)
        return more
    finally:
        if fd is not None:
            os.close(fd)


def lock(saved: Saved) -> int | None:
    """The data file, open to write. Nobody else adds to it or takes it away until it is closed. None if it
    was taken away. Raises OSError."""
    try:
        fd = os.open(reach(saved.base), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with suppress(OSError):  # no locks there: a process that comes between the two loses, as without this
        fcntl.flock(fd, fcntl.LOCK_EX)
    if os.fstat(fd).st_nlink:
        return fd
    os.close(fd)
    return None


@contextmanager
def exclusive(directory: str, report: Callable[[], None]) -> Iterator[None]:
    """While the block runs nobody else writes back, or drops, what is in the store. ``report`` is called if
    somebody else must be waited for. If the store has no locks, or does not exist, another process may work
    beside this one."""
    fd = -1
    with suppress(OSError):
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report()
            fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if fd >= 0:
            os.close(fd)


def _read(base: str) -> Saved | None:
    """The loss saved in ``base``; None if that is none of ours."""
    try:
        if not stat.S_ISREG(os.lstat(base).st_mode):
            return None
        with open(f"{base}.json", encoding="ascii") as file:
            text = json.load(file)
        since = _moment(text["time"])
        match = NAME.match(os.path.basename(base))
        return Saved(
            base,
            str(text["server"]),
            os.fsencode(text.get("root", "")),
            os.fsencode(text["path"]),
            str(text["mountpoint"]),
            [(int(start), int(end)) for start, end in text["ranges"]],
            text["appended"] is True,
            str(text["reason"]),
            int(text["errno"] or 0),
            since,
            _moment(text["until"]) if "until" in text else since,
            int(match[2]) if match else 0,
            [(int(start), int(end)) for start, end in text.get("newer", ())],
            (int(left[0]), int(left[1])) if (left := text.get("left")) else None,
            int(end) if (end := text.get("end")) is not None else None,
        )
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return None  # by another hand, or another program: it must not hide the others


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(text: str) -> float:
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if "." in text else "%Y-%m-%dT%H:%M:%SZ"
    return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
