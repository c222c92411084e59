"""One SFTP session: a method for every request.

Owns the meaning of requests; ``RequestTable`` carries them, and ``Handshake`` begins the session. Used by
``remote``.

Every ``start_`` method sends at once and returns the slot of the result, so many requests can be out
together. A slot fails with ``StatusError`` if the server refused, with ``OSError`` if its answer could not be
used, and with ``SessionLostError`` if the session ended first. Requests of an extension that the server does
not offer fail with EOPNOTSUPP and are not sent. Paths and handles are bytes; offsets and lengths are in
bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

from sftpfs.aio import Slot
from sftpfs.sftp import extensions, packets
from sftpfs.sftp.handshake import Handshake
from sftpfs.sftp.packets import encode_string
from sftpfs.sftp.table.request import Kind, Reach, Request
from sftpfs.sftp.table.request_kinds import (
    CLOSE,
    COPY_DATA,
    EXPAND_PATH,
    FSETSTAT,
    FSTAT,
    FSTATVFS,
    FSYNC,
    HARDLINK,
    HOME_DIRECTORY,
    LSETSTAT,
    LSTAT,
    MKDIR,
    OPEN,
    OPENDIR,
    OWNER_LINES,
    POSIX_RENAME,
    READ,
    READDIR,
    READLINK,
    REALPATH,
    REMOVE,
    RENAME,
    RMDIR,
    SETSTAT,
    STAT,
    STATVFS,
    SYMLINK,
    USERS_GROUPS,
    WRITE,
)
from sftpfs.types import (
    AttributeChange,
    Attributes,
    Buffer,
    DirectoryEntry,
    FilesystemStatistics,
    OpenFlags,
)

T = TypeVar("T")


class Session(Handshake):
    """SFTP v3 on ``stream``, which it owns: call ``start`` once, then ``run`` in a task.

    Made as ``Handshake`` is.
    """

    # -- requests -----------------------------------------------------------

    def _start_string(self, kind: Kind[T], string: bytes) -> Slot[T]:
        identifier = self._next_id()
        packet = packets.encode_string_request(kind.type, identifier, string)
        return self._start(kind, identifier, packet, string)

    def _start_strings(self, kind: Kind[T], first: bytes, second: bytes) -> Slot[T]:
        identifier = self._next_id()
        return self._start(
            kind, identifier, packets.encode_strings_request(kind.type, identifier, first, second)
        )

    def start_again(self, request: Request[T]) -> Slot[T]:
        """Sends what ``request`` of another session asked; only for a look at a path."""
        assert request.kind.reach is Reach.PATH
        start = self._start_extended if request.kind.extension else self._start_string
        return start(request.kind, request.detail)

    def start_lstat(self, path: bytes) -> Slot[Attributes]:
        """LSTAT (§6.8): of the link itself if ``path`` is one. EIO if the server reports too little. STAT if
        the server is known to answer no LSTAT."""
        return self._start_string(LSTAT if self.traits.known.answers_lstat else STAT, path)

    def start_lstat_of_new(self, path: bytes) -> Slot[Attributes]:
        """LSTAT of what the request sent just before will make at ``path``, where nothing may be. It goes
        beside that request on any server: if it comes too early it finds nothing, and must be repeated."""
        kind, made = LSTAT if self.traits.known.answers_lstat else STAT, self._last_id
        identifier = self._next_id()
        packet = packets.encode_string_request(kind.type, identifier, path)
        return self._start(kind, identifier, packet, path, beside=(made,))

    def start_lstat_of_closing(self, path: bytes, handle: bytes) -> Slot[Attributes]:
        """LSTAT of the file at ``path``, beside the FSETSTATs and CLOSEs of its ``handle`` that are under
        way. Its answer shows whether it came behind them."""
        kind, identifier = LSTAT if self.traits.known.answers_lstat else STAT, self._next_id()
        packet = packets.encode_string_request(kind.type, identifier, path)
        return self._start(kind, identifier, packet, path, beside=self._ends(handle))

    def _ends(self, handle: bytes) -> Collection[int]:
        return () if self.order is None else self.order.ends(handle)

    def start_stat(self, path: bytes) -> Slot[Attributes]:
        """STAT (§6.8): links followed. LSTAT if the server is known to answer no STAT."""
        return self._start_string(STAT if self.traits.known.answers_stat else LSTAT, path)

    def start_fstat(self, handle: bytes) -> Slot[Attributes]:
        """FSTAT (§6.8)."""
        return self._start_string(FSTAT, handle)

    def start_open(self, path: bytes, flags: OpenFlags, mode: int | None = None) -> Slot[bytes]:
        """OPEN (§6.3) to the handle; ``mode`` for a file it creates."""
        identifier = self._next_id()
        self.handles.open_sent(identifier)
        return self._start(OPEN, identifier, packets.encode_open(identifier, path, flags, mode), flags)

    def start_close(self, handle: bytes) -> Slot[None]:
        """CLOSE (§6.3) of a file or directory."""
        self.handles.close_sent(handle)
        return self._start_string(CLOSE, handle)

    def start_close_with_change(self, handle: bytes) -> Slot[None]:
        """CLOSE, beside the FSETSTATs of ``handle`` that are under way. If it comes first, they fail."""
        self.handles.close_sent(handle)
        identifier = self._next_id()
        packet = packets.encode_string_request(CLOSE.type, identifier, handle)
        return self._start(CLOSE, identifier, packet, handle, beside=self._ends(handle))

    def start_read(self, handle: bytes, offset: int, length: int) -> Slot[Buffer | None]:
        """READ (§6.4) of 1 to ``limits.read_size`` bytes: what the server sent, at most ``length``.

        May be less than asked before the end of the file; None at its end.
        """
        identifier = self._next_id()
        packet = packets.encode_read(identifier, handle, offset, length)
        return self._start(READ, identifier, packet, length, None, self.link.down)

    def start_write(self, handle: bytes, offset: int, data: Buffer) -> Slot[None]:
        """WRITE (§6.4) of at most ``limits.write_size`` bytes, unchanged until the slot is filled."""
        identifier = self._next_id()
        header = packets.encode_write_header(identifier, handle, offset, len(data))
        return self._start(WRITE, identifier, header, len(data), data, self.link.up)

    def start_setstat(self, path: bytes, change: AttributeChange) -> Slot[None]:
        """SETSTAT (§6.9): links followed."""
        identifier = self._next_id()
        packet = packets.encode_setstat(packets.SETSTAT, identifier, path, change)
        return self._start(SETSTAT, identifier, packet)

    def start_fsetstat(self, handle: bytes, change: AttributeChange) -> Slot[None]:
        """FSETSTAT (§6.9)."""
        identifier = self._next_id()
        packet = packets.encode_setstat(packets.FSETSTAT, identifier, handle, change)
        return self._start(FSETSTAT, identifier, packet)

    def start_lsetstat(self, path: bytes, change: AttributeChange) -> Slot[None]:
        """lsetstat@openssh.com: as SETSTAT, of the link itself."""
        return self._start_extended(LSETSTAT, encode_string(path) + packets.encode_change(change))

    def start_opendir(self, path: bytes) -> Slot[bytes]:
        """OPENDIR (§6.7), to the handle."""
        identifier = self._next_id()
        self.handles.open_sent(identifier)
        packet = packets.encode_string_request(OPENDIR.type, identifier, path)
        return self._start(OPENDIR, identifier, packet, path)

    def start_readdir(self, handle: bytes) -> Slot[list[DirectoryEntry] | None]:
        """READDIR (§6.7): some more entries, without ``.`` and ``..``; None at the end."""
        return self._start_string(READDIR, handle)

    def start_owner_lines(self, handle: bytes) -> Slot[list[tuple[bytes, bytes, Attributes]]]:
        """READDIR for the (user name, group name, attributes) its lines tell; StatusError(EOF) at the end."""
        return self._start_string(OWNER_LINES, handle)

    def start_remove(self, path: bytes) -> Slot[None]:
        """REMOVE (§6.5): unlink anything but a directory."""
        return self._start_string(REMOVE, path)

    def start_mkdir(self, path: bytes, mode: int) -> Slot[None]:
        """MKDIR (§6.6)."""
        identifier = self._next_id()
        return self._start(MKDIR, identifier, packets.encode_mkdir(identifier, path, mode))

    def start_rmdir(self, path: bytes) -> Slot[None]:
        """RMDIR (§6.6)."""
        return self._start_string(RMDIR, path)

    def start_rename(self, old: bytes, new: bytes) -> Slot[None]:
        """RENAME (§6.5): fails if ``new`` exists."""
        return self._start_strings(RENAME, old, new)

    def start_posix_rename(self, old: bytes, new: bytes) -> Slot[None]:
        """posix-rename@openssh.com: rename(2), replacing ``new``."""
        return self._start_extended(POSIX_RENAME, encode_string(old) + encode_string(new))

    def start_hardlink(self, existing: bytes, new: bytes) -> Slot[None]:
        """hardlink@openssh.com: link(2)."""
        return self._start_extended(HARDLINK, encode_string(existing) + encode_string(new))

    def start_symlink(self, target: bytes, path: bytes) -> Slot[None]:
        """SYMLINK: makes ``path`` a link to ``target``.

        Target first, as OpenSSH and all that follow it have it; the draft (§6.10)
        has them the other way round (OpenSSH PROTOCOL §4.1), and so has a server found to keep to it.
        """
        first, second = (target, path) if self.traits.known.takes_symlink_target_first else (path, target)
        return self._start_strings(SYMLINK, first, second)

    def start_readlink(self, path: bytes) -> Slot[bytes]:
        """READLINK (§6.10): the target of a link."""
        return self._start_string(READLINK, path)

    def start_realpath(self, path: bytes) -> Slot[bytes]:
        """REALPATH (§6.11): the canonical absolute path; b"." is where the server starts us."""
        return self._start_string(REALPATH, path)

    def start_expand_path(self, path: bytes) -> Slot[bytes]:
        """expand-path@openssh.com: as REALPATH, with a leading ``~`` or ``~user`` expanded."""
        return self._start_extended(EXPAND_PATH, encode_string(path))

    def start_statvfs(self, path: bytes) -> Slot[FilesystemStatistics]:
        """statvfs@openssh.com: statvfs(3)."""
        return self._start_extended(STATVFS, encode_string(path))

    def start_fstatvfs(self, handle: bytes) -> Slot[FilesystemStatistics]:
        """fstatvfs@openssh.com: fstatvfs(3)."""
        return self._start_extended(FSTATVFS, encode_string(handle))

    def start_fsync(self, handle: bytes) -> Slot[None]:
        """fsync@openssh.com: fsync(2)."""
        return self._start_extended(FSYNC, encode_string(handle))

    def start_home_directory(self, user: bytes) -> Slot[bytes]:
        """home-directory: where ``user`` lives, by name (OpenSSH knows no empty one)."""
        return self._start_extended(HOME_DIRECTORY, encode_string(user))

    def start_users_groups_by_id(
        self, uids: Sequence[int], gids: Sequence[int]
    ) -> Slot[tuple[list[bytes], list[bytes]]]:
        """users-groups-by-id@openssh.com: names of the uids and of the gids, b"" where there is none.

        The lists may have another length than asked for; the caller checks.
        """
        return self._start_extended(USERS_GROUPS, extensions.encode_ids(uids, gids))

    def start_copy_data(
        self, source: bytes, source_offset: int, length: int, destination: bytes, destination_offset: int
    ) -> Slot[None]:
        """copy-data: copy between two handles on the server; ``length`` 0 means up to the end."""
        arguments = extensions.encode_copy_data(
            source, source_offset, length, destination, destination_offset
        )
        return self._start_extended(COPY_DATA, arguments)
