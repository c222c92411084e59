"""Requests that must wait for earlier ones, on a server that carries requests out in any order.

SFTP v3 promises an order only for requests of one file (draft-ietf-secsh-filexfer-02 §6.1), and servers that
work on several requests at once do not keep even that. All of ``remote`` is written for a session whose
requests are carried out in order. If the server is not known to do so (``server_traits``), the session's
table asks a ``RequestOrder`` before it sends: a request waits until every earlier one that it could be mixed
up with has been answered. Others go on beside it.

Owned by ``sftp.table.request_table``, one object a session. Pure; knows of packets only what they are about.

Two requests meet if one of them changes what the other looks at or changes:
- by path: the same name, a name below one that is changed, and the directory of one that is changed;
- of one file, by its handles and the path it was opened by: ranges of bytes that overlap, and all of it for
  attributes, size, FSYNC and CLOSE;
- READDIRs of one handle, and whatever is sent by a handle that is being closed.

A READ meets every WRITE that ends behind its beginning, because that may make the file longer.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sftpfs.sftp import extensions, packets
from sftpfs.types import OpenFlags

EVERYTHING = 1 << 64
"""An end behind every byte of a file."""


class About(NamedTuple):
    """What a request looks at or changes."""

    changes: bool
    paths: tuple[bytes, ...] = ()
    """Names, by path."""
    file: bytes = b""
    """The path its file or directory was opened by, or has since a rename; where that is not known, what no
    path is, and this handle's alone."""
    handle: bytes = b""
    start: int = 0
    """The bytes of the file it is about, up to ``end``."""
    end: int = EVERYTHING
    alone: bool = False
    """Nothing else of its handle is under way beside it."""


NOTHING = About(False)


class OpenHandle(NamedTuple):
    """What a handle was made for."""

    path: bytes
    writes: bool
    appends: bool


_CHANGES_NAMES = frozenset({packets.REMOVE, packets.MKDIR, packets.RMDIR, packets.SETSTAT})
_LOOKS_AT_NAMES = frozenset({packets.LSTAT, packets.STAT, packets.READLINK, packets.OPENDIR})
_PROVING = frozenset({packets.OPEN, packets.OPENDIR, packets.CLOSE})
_MAKES_HANDLES = frozenset({packets.OPEN, packets.OPENDIR})
_ENDS = frozenset({packets.FSETSTAT, packets.CLOSE})
_PAIRS = frozenset({packets.RENAME, packets.SYMLINK})
POSIX_RENAME = extensions.POSIX_RENAME.encode()
HARDLINK = extensions.HARDLINK.encode()
LSETSTAT = extensions.LSETSTAT.encode()
FSYNC = extensions.FSYNC.encode()
COPY_DATA = extensions.COPY_DATA.encode()


def meet(one: About, other: About) -> bool:
    """Whether the two must never be under way together."""
    if one.handle and one.handle == other.handle and (one.alone or other.alone):
        return True
    if not (one.changes or other.changes):
        return False
    if one.file and one.file == other.file:
        return one.start < other.end and other.start < one.end
    if one.paths and other.paths:
        return any(_related(a, b, one.changes, other.changes) for a in one.paths for b in other.paths)
    if one.file and other.paths:
        return _meets_file(other, one)
    return bool(other.file and one.paths) and _meets_file(one, other)


def _meets_file(by_path: About, by_handle: About) -> bool:
    file = by_handle.file
    return any(
        path == file or (by_path.changes and file.startswith(path.rstrip(b"/") + b"/"))
        for path in by_path.paths
    )


def _related(a: bytes, b: bytes, a_changes: bool, b_changes: bool) -> bool:
    if a == b:
        return True
    shorter, longer, changes = (a, b, a_changes) if len(a) < len(b) else (b, a, b_changes)
    above = shorter.rstrip(b"/") + b"/"
    if not longer.startswith(above):
        return False
    return changes or b"/" not in longer[len(above) :]


class RepeatedHandleError(Exception):
    """The server gave a handle that is open already and is not being closed. Nobody can tell whose
    file it is now."""


class RequestOrder:
    """See the module.

    INVARIANT: of two requests in ``_abouts`` that meet, the later one is in ``_waits``, for the earlier one
    among others; but for one that may go ``beside`` it.
    INVARIANT: while a request of ``_raced`` is under way no handle is made.
    """

    __slots__ = ("_abouts", "_ends", "_handles", "_packets", "_raced", "_waits")

    def __init__(self) -> None:
        self._abouts: dict[int, About] = {}
        """Of each request that is under way or waits, in the order they were made in."""
        self._waits: dict[int, set[int]] = {}
        """For each request that waits, those it waits for."""
        self._packets: dict[int, bytes] = {}
        """Requests whose answers change what is known of handles."""
        self._handles: dict[bytes, OpenHandle] = {}
        """Those that were given and not closed."""
        self._ends: dict[int, bytes] = {}
        """The FSETSTATs and CLOSEs that are under way or wait, and their handles."""
        self._raced: set[int] = set()
        """FSETSTATs beside the CLOSE of their handle: that may be another's once it is made again."""

    def ends(self, handle: bytes) -> Collection[int]:
        """The FSETSTATs and CLOSEs of ``handle`` that are under way or wait."""
        return [identifier for identifier, one in self._ends.items() if one == handle]

    def enter(self, identifier: int, packet: bytes, beside: Collection[int] = ()) -> bool:
        """Request ``identifier`` is about to be sent as ``packet`` (a WRITE without its data). Returns
        whether it may go now.

        It need not wait for those of ``beside`` that are under way, because its answer, or theirs, shows
        whether it came behind. A CLOSE waits all the same while a handle is being made."""
        about = self._about(packet)
        if about is NOTHING:
            return True
        if packet[4] in _PROVING or _renames(packet):
            self._packets[identifier] = packet
        before = {earlier for earlier, other in self._abouts.items() if meet(about, other)}
        if packet[4] in _MAKES_HANDLES:
            before |= self._raced
        if beside:
            before -= self._passed(packet[4], beside)
        if packet[4] in _ENDS:
            self._ends[identifier] = about.handle
        self._abouts[identifier] = about
        if before:
            self._waits[identifier] = before
        return not before

    def _passed(self, kind: int, beside: Collection[int]) -> set[int]:
        """Which of ``beside`` a request of ``kind`` need not wait for."""
        passed = {one for one in beside if one in self._abouts and one not in self._waits}
        if kind != packets.CLOSE:
            return passed
        making = [one for one, packet in self._packets.items() if packet[4] in _MAKES_HANDLES]
        if any(one not in self._waits for one in making):
            return set()
        self._raced |= passed
        for one in making:
            self._waits[one] |= passed
        return passed

    def answered(self, identifier: int, handle: bytes | None, done: bool) -> list[int]:
        """Request ``identifier`` was answered, with ``handle`` where it makes one, and was carried out or was
        not (``done``): those that may go now, in order. Raises RepeatedHandleError."""
        about = self._abouts.pop(identifier, None)
        if about is None:
            return []
        self._raced.discard(identifier)
        self._ends.pop(identifier, None)
        packet = self._packets.pop(identifier, None)
        if packet is not None:
            self._learn(packet, about, handle, done)
        free = []
        for waiting, before in self._waits.items():
            before.discard(identifier)
            if not before:
                free.append(waiting)
        for waiting in free:
            del self._waits[waiting]
        return free

    def _learn(self, packet: bytes, about: About, handle: bytes | None, done: bool) -> None:
        kind = packet[4]
        if kind == packets.CLOSE:
            self._handles.pop(about.handle, None)
        elif handle is not None:
            self._opened(handle, packet)
        elif done and _renames(packet):
            self._renamed(*about.paths)

    def _opened(self, handle: bytes, packet: bytes) -> None:
        if handle in self._handles:
            closing = self._closing(handle)
            if closing is None:
                raise RepeatedHandleError
            del self._packets[closing]  # its answer comes late, and says nothing of the handle's new file
        path, at = _string(packet, 9)
        flags = int.from_bytes(packet[at : at + 4], "big") if packet[4] == packets.OPEN else 0
        self._handles[handle] = OpenHandle(
            path, bool(flags & OpenFlags.WRITE), bool(flags & OpenFlags.APPEND)
        )

    def _closing(self, handle: bytes) -> int | None:
        """The CLOSE of ``handle`` that is under way: it may be carried out, and the handle made again."""
        for identifier, packet in self._packets.items():
            if packet[4] == packets.CLOSE and self._abouts[identifier].handle == handle:
                return None if identifier in self._waits else identifier
        return None

    def _renamed(self, old: bytes, new: bytes) -> None:
        below = old + b"/"
        for handle, made in self._handles.items():
            if made.path == old or made.path.startswith(below):
                self._handles[handle] = made._replace(path=new + made.path[len(old) :])

    @property
    def open_handles(self) -> int:
        """How many handles were given and not closed."""
        return len(self._handles)

    def _file(self, handle: bytes) -> bytes:
        made = self._handles.get(handle)
        return b"\0" + handle if made is None else made.path

    def _about(self, packet: bytes) -> About:
        kind = packet[4]
        if kind == packets.EXTENDED:
            return self._about_extended(packet)
        first, at = _string(packet, 9)
        if kind in _LOOKS_AT_NAMES:
            return About(False, (first,))
        if kind in _CHANGES_NAMES:
            return About(True, (first,))
        if kind in _PAIRS:
            second, _ = _string(packet, at)
            return About(True, (first, second))  # of SYMLINK either may be the path
        if kind == packets.OPEN:
            flags = int.from_bytes(packet[at : at + 4], "big")
            return About(bool(flags & (OpenFlags.CREATE | OpenFlags.TRUNCATE)), (first,))
        if kind == packets.REALPATH:
            return NOTHING
        return self._by_handle(kind, first, packet, at)

    def _by_handle(self, kind: int, handle: bytes, packet: bytes, at: int) -> About:
        made = self._handles.get(handle)
        file = self._file(handle)
        if kind == packets.READ:
            return About(False, (), file, handle, int.from_bytes(packet[at : at + 8], "big"))
        if kind == packets.WRITE:
            if made is None or made.appends:
                return About(True, (), file, handle)
            start = int.from_bytes(packet[at : at + 8], "big")
            length = int.from_bytes(packet[at + 8 : at + 12], "big")
            return About(True, (), file, handle, start, start + length)
        if kind == packets.READDIR:
            return About(False, (), file, handle, alone=True)
        if kind == packets.CLOSE:
            return About(made is None or made.writes, (), file, handle, alone=True)
        return About(kind == packets.FSETSTAT, (), file, handle)

    def _about_extended(self, packet: bytes) -> About:
        name, at = _string(packet, 9)
        if name in (POSIX_RENAME, HARDLINK):
            first, at = _string(packet, at)
            return About(True, (first, _string(packet, at)[0]))
        if name == LSETSTAT:
            return About(True, (_string(packet, at)[0],))
        if name == FSYNC:
            handle, _ = _string(packet, at)
            return About(False, (), self._file(handle), handle)
        if name == COPY_DATA:
            source, at = _string(packet, at)
            destination, _ = _string(packet, at + 16)
            return About(True, (self._file(source), self._file(destination)), b"", destination)
        return NOTHING


def _renames(packet: bytes) -> bool:
    return packet[4] == packets.RENAME or (
        packet[4] == packets.EXTENDED and _string(packet, 9)[0] == POSIX_RENAME
    )


def _string(packet: bytes, at: int) -> tuple[bytes, int]:
    end = at + 4 + int.from_bytes(packet[at : at + 4], "big")
    return packet[at + 4 : end], end
