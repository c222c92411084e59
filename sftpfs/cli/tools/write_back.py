"""Writes back what could not be written: chooses the file, checks whether it may be written, and verifies the
result.

Owns no words for people except those of a refusal; ``cli.run.restore`` shows them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sftpfs.byte_ranges import merged
from sftpfs.control.client import connect_to
from sftpfs.control.protocol import Values
from sftpfs.errors import MountError
from sftpfs.mount.salvage_store import Saved

STEP = 1 << 20
"""Bytes read and written at once."""

APPENDED = 32 << 10
"""Bytes appended at once: every server takes this as one piece, whoever else appends."""

GRAIN = 2.0
"""Seconds that a file's time may lie behind the loss of its bytes without a change in between. SFTP reports
whole seconds, and what did arrive of the same write may have arrived a moment later."""


class RefusedError(Exception):
    """It is not written back; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """A file here, and in a mount or not."""

    path: bytes
    in_mount: bool


def server_of(text: str) -> str:
    """``[user@]host`` of ``[user@]host:[directory]``."""
    end = text.find("]:") + 1 or text.find(":")
    return text[:end] if end >= 0 else text


def target_of(saved: Saved, mounts: Sequence[Values]) -> Target | None:
    """Where the file is now, by the ``statistics`` of ``mounts``, preferably where it was lost."""
    found = [
        (values["mountpoint"] == saved.mountpoint, len(root), values["mountpoint"], inside)
        for values in mounts
        if server_of(values["server"]) == server_of(saved.server)
        for root in [os.fsencode(values["root"]).rstrip(b"/")]
        for inside in [saved.path.removeprefix(root + b"/")]
        if inside != saved.path
    ]
    if not found:
        return None
    *_, mountpoint, inside = max(found)
    return Target(os.path.join(os.fsencode(mountpoint), inside), in_mount=True)


def hidden(mount: Values) -> bool:
    """Whether what ``mount`` lost, by its ``statistics``, lies under it, so that no command can reach it."""
    lost = mount.get("lost") or {"pieces": 0}
    return bool(lost["pieces"]) and f"{lost['directory']}/".startswith(f"{mount['mountpoint'].rstrip('/')}/")


HIDDEN = "it lies under the mount: unmount that, mount the server elsewhere, then sftpfs restore"


def check(target: Target, losses: Sequence[Saved], *, same: bool) -> None:
    """Raises RefusedError if the file is not the one that lost its bytes, or changed since. ``same``: it must
    be that file, not one that was named for it. Others may have appended where we did. This machine's clock
    counts only if the server could not say what the file was left as."""
    _refresh(target)
    try:
        seen = os.stat(target.path)
    except FileNotFoundError:
        raise RefusedError("the file no longer exists; --force makes it anew") from None
    if any(saved.errno == errno.ESTALE for saved in losses):
        raise RefusedError("others replaced or changed the file; --force writes into what is there now")
    left = losses[-1].left if same else None
    if left is None:
        changed = seen.st_mtime > max(saved.until for saved in losses) + GRAIN
    elif all(saved.appended for saved in losses):
        changed = seen.st_size < left[0]
    else:
        changed = left != (seen.st_size, int(seen.st_mtime))
    if changed:
        raise RefusedError("the file was changed after the loss; look at it first, --force writes into it")


def write_back(target: Target, saved: Saved, make: bool) -> None:
    """Writes the bytes of ``saved`` into the file and checks that they are there. ``make``: it may be
    missing.

    Raises OSError, MountError, or RefusedError if they are not.
    """
    # O_DSYNC: ``write`` itself reports what the server refuses again, so that is no further loss.
    flags = os.O_WRONLY | os.O_DSYNC | os.O_CLOEXEC | (os.O_APPEND if saved.appended else 0)
    start = None
    with (
        open(saved.base, "rb", buffering=0) as source,
        open(os.open(target.path, flags | (os.O_CREAT if make else 0), 0o600), "wb", buffering=0) as file,
    ):
        with suppress(OSError):
            os.fsync(file.fileno())  # it may be the first that hears of the loss, which is known here
        if saved.appended:
            saved = _less_what_is_there(target, saved, source.fileno())
            start = os.fstat(file.fileno()).st_size
        for offset, data in pieces(source.fileno(), saved, APPENDED if saved.appended else STEP):
            _write(file.fileno(), data, None if saved.appended else offset)
        os.fsync(file.fileno())
    _refresh(target)
    _verify(target, saved, start)


def _less_what_is_there(target: Target, saved: Saved, fd: int) -> Saved:
    """If a disk was full, the first bytes of what was appended may have found room, though the server refused
    the whole: these must not be appended again."""
    start, last = saved.ranges[0]
    if saved.end is None or not start < saved.end <= last:
        return saved
    there = os.pread(fd, saved.end - start, start)
    try:
        with open(target.path, "rb", buffering=0) as file:
            if _read(file.fileno(), start, len(there)) != there:
                return saved
    except PermissionError:
        return saved
    return saved._replace(newer=merged([*saved.newer, (start, saved.end)]))


def _refresh(target: Target) -> None:
    """From now on the mount shows what the server has. Raises MountError."""
    if target.in_mount:
        client, found = connect_to(os.fsdecode(target.path))
        with client:
            client.ask("refresh", path=found.inside)


def pieces(fd: int, saved: Saved, most: int) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of what is missing, at most ``most`` at once. Raises RefusedError if that is cut
    short."""
    for start, end in saved.missing:
        while start < end:
            data = os.pread(fd, min(most, end - start), start)
            if not data:
                raise RefusedError(f"{saved.base} is shorter than it should be")
            yield start, data
            start += len(data)


def _write(fd: int, data: bytes, offset: int | None) -> None:
    view = memoryview(data)
    while view:
        written = os.write(fd, view) if offset is None else os.pwrite(fd, view, offset)
        view = view[written:]
        offset = None if offset is None else offset + written


def _verify(target: Target, saved: Saved, start: int | None) -> None:
    """``start``: where the bytes appended by us begin, or by others at the same time."""
    try:
        read_fd = os.open(target.path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        if os.stat(target.path).st_size < (max(end for _, end in saved.missing) if start is None else start):
            raise RefusedError("the file is shorter now than what was written to it") from None
        return
    with open(saved.base, "rb", buffering=0) as source, open(read_fd, "rb", buffering=0) as file:
        for offset, data in pieces(source.fileno(), saved, STEP if start is None else APPENDED):
            if start is None:
                there = _read(file.fileno(), offset, len(data)) == data
            else:
                end = _end_of(file.fileno(), data, start)
                there = end is not None
                start = end or start
            if not there:
                raise RefusedError("the file does not hold what was written back")


def _read(fd: int, offset: int, length: int) -> bytes:
    there = b""
    while len(there) < length:
        more = os.pread(fd, length - len(there), offset + len(there))
        if not more:
            break
        there += more
    return there


def _end_of(fd: int, data: bytes, start: int) -> int | None:
    """Where ``data`` ends in the file's content from ``start`` on; None if it is not there."""
    found = b""
    while more := os.pread(fd, STEP, start + len(found)):
        found += more
        at = found.find(data)
        if at >= 0:
            return start + at + len(data)
        passed = max(0, len(found) - len(data) + 1)
        start, found = start + passed, found[passed:]
    return None


Problem = (OSError, MountError, RefusedError)


def reason_of(problem: Exception) -> str:
    """In words."""
    return problem.strerror or str(problem) if isinstance(problem, OSError) else str(problem)
