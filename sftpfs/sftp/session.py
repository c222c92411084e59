"""One SFTP session: the greeting, and a method for every request.

Owns the meaning of requests; ``RequestTable`` carries them. Used by ``remote``.

Every ``start_`` method sends at once and returns the slot of the result, so many
requests can be out together. A slot fails with ``StatusError`` where the server
refused, ``OSError`` where its answer was of no use, and ``SessionLostError`` where
the session ended first; requests of an extension the server does not offer fail
with EOPNOTSUPP and are not sent. Paths and handles are bytes, offsets and lengths
are in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import trio

from sftpfs.aio import ByteStream, Slot
from sftpfs.errors import Failure, MountError, ProtocolError, Status, StatusError
from sftpfs.server_traits import ServerTraits
from sftpfs.sftp import extensions, packets
from sftpfs.sftp.kinds import (
    CLOSE,
    COPY_DATA,
    EXPAND_PATH,
    FSETSTAT,
    FSTAT,
    FSTATVFS,
    FSYNC,
    HARDLINK,
    HOME_DIRECTORY,
    LIMITS,
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
from sftpfs.sftp.link import Link
from sftpfs.sftp.order import RequestOrder
from sftpfs.sftp.packets import encode_string
from sftpfs.sftp.replies import printable
from sftpfs.sftp.request import Kind, Reach, Request
from sftpfs.sftp.table import RequestTable
from sftpfs.types import (
    AttributeChange,
    Attributes,
    Buffer,
    DirectoryEntry,
    FilesystemStatistics,
    Limits,
    ServerCapabilities,
)

T = TypeVar("T")


class Session(RequestTable):
    """SFTP v3 on ``stream``, which it owns: call ``start`` once, then ``run`` in a task.

    ``timeout`` is seconds without an answer after which the session is given up;
    ``generation`` tells it from other sessions of the mount; ``max_read`` and
    ``max_write`` bound the data of one request (None: what the server allows); ``link`` is
    what is known of the way to the server, ``traits`` of the server itself, whose SSH server calls itself
    ``software``.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        timeout: float,
        generation: int,
        max_read: int | None = None,
        max_write: int | None = None,
        link: Link | None = None,
        traits: ServerTraits | None = None,
        software: str = "",
    ) -> None:
        super().__init__(stream, timeout=timeout, generation=generation, link=link, traits=traits)
        self._software = software
        self.capabilities = ServerCapabilities()
        self._max_read = max_read
        self._max_write = max_write

    # -- greeting (§4) ------------------------------------------------------

    async def start(self, patience: float | None = None) -> None:
        """Exchange INIT and VERSION and learn the limits; one or two round trips.

        Raises MountError and closes the stream where the other side ends, is silent
        for ``patience`` seconds (None: the session's timeout), or talks something
        else than SFTP v3.
        """
        try:
            with trio.fail_after(self.timeout if patience is None else patience):
                await self._greet()
        except MountError as failure:
            self.close(failure.message)
            raise
        except trio.TooSlowError:
            self.close("no answer to the SFTP greeting")
            raise MountError(
                Failure.TIMED_OUT, f"the server did not answer the SFTP greeting within {self.timeout:g} s"
            ) from None
        except trio.ClosedResourceError:
            self.close("the SFTP stream was closed")
            raise MountError(Failure.TRANSPORT, "the connection was closed before SFTP started") from None
        except BaseException:
            self.close("the SFTP session was given up while it started")
            raise
        finally:
            if self.closed_error is not None:
                self._decoder.release()

    async def _greet(self) -> None:
        self._send((packets.encode_init(),))
        await self._flush()
        announced = await self._receive_version()
        spoken = extensions.spoken_extensions(announced)
        self.traits.met(announced, self._software)
        self._keep_apart()
        told: Limits | None = None
        self.capabilities = ServerCapabilities(spoken)
        if self.capabilities.has(extensions.LIMITS):
            told = await self._receive_limits()
        limits = extensions.effective_limits(told, self._max_read, self._max_write)
        self.capabilities = ServerCapabilities(spoken, limits)

    async def _flush(self) -> None:
        """Send what is queued before there is a writer task."""
        while self._queue and self._write_error is None:
            await trio.lowlevel.wait_writable(self._stream.write_fd)
            self._write_queued()

    def _keep_apart(self) -> None:
        """Go by what the server is known to do."""
        known = self.traits.known
        if not (known.numbers_handles_as_openssh and known.carries_out_in_order):
            self.handles.give_up()
        if not known.carries_out_in_order and self.order is None:
            self.order = RequestOrder()

    async def _receive_version(self) -> dict[str, bytes]:
        """The extensions the server offers, with their versions, once VERSION came."""
        try:
            while (packet := self._decoder.next_packet()) is None:
                await trio.lowlevel.wait_readable(self._stream.read_fd)
                self._fill()
                if self.closed_error is not None:
                    raise _no_greeting(self._decoder.unread())
            packet_type, version, payload = packet
            if packet_type != packets.VERSION:
                raise ProtocolError(f"a packet of type {packet_type} in answer to the greeting")
            announced = extensions.announced_extensions(payload)
        except ProtocolError as violation:
            raise _foreign_greeting(self._decoder.unread(), violation) from None
        if version not in (packets.PROTOCOL_VERSION, packets.NEARLY_THE_SAME):
            raise MountError(
                Failure.PROTOCOL, f"the server speaks SFTP version {version}; version 3 is needed"
            )
        return announced

    async def _receive_limits(self) -> Limits | None:
        """What limits@openssh.com tells, or None where the server will not say after all."""
        slot = self._start_extended(LIMITS, b"")
        await self._flush()
        while not slot.done:
            await trio.lowlevel.wait_readable(self._stream.read_fd)
            self._receive()
        if self.closed_error is not None:
            raise MountError(
                Failure.PROTOCOL, f"the SFTP session did not start: {self.closed_error.strerror}"
            )
        return None if slot.error is not None else slot.result()

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

    def _start_extended(self, kind: Kind[T], arguments: bytes) -> Slot[T]:
        if kind.extension not in self.capabilities.extensions:
            slot: Slot[T] = Slot()
            slot.fail(StatusError(Status.OP_UNSUPPORTED))
            return slot
        identifier = self._next_id()
        packet = packets.encode_extended(identifier, kind.extension.encode(), arguments)
        return self._start(kind, identifier, packet, arguments)

    def start_again(self, request: Request[T]) -> Slot[T]:
        """What ``request`` of another session asked; only what looks at a path (``Reach.PATH``)."""
        assert request.kind.reach is Reach.PATH
        start = self._start_extended if request.kind.extension else self._start_string
        return start(request.kind, request.detail)

    def start_lstat(self, path: bytes) -> Slot[Attributes]:
        """LSTAT (§6.8): of the link itself where ``path`` is one. EIO where the server tells too little.
        STAT where the server is known to answer no LSTAT."""
        return self._start_string(LSTAT if self.traits.known.tells_of_links else STAT, path)

    def start_lstat_of_new(self, path: bytes) -> Slot[Attributes]:
        """LSTAT of what the request made just before is to make at ``path``, where nothing may be. It goes
        beside that on any server: where it comes too early it finds nothing, and is to be asked again."""
        kind, made = LSTAT if self.traits.known.tells_of_links else STAT, self._last_id
        identifier = self._next_id()
        packet = packets.encode_string_request(kind.type, identifier, path)
        return self._start(kind, identifier, packet, path, beside=made)

    def start_stat(self, path: bytes) -> Slot[Attributes]:
        """STAT (§6.8): links followed."""
        return self._start_string(STAT, path)

    def start_fstat(self, handle: bytes) -> Slot[Attributes]:
        """FSTAT (§6.8)."""
        return self._start_string(FSTAT, handle)

    def start_open(self, path: bytes, pflags: int, mode: int | None = None) -> Slot[bytes]:
        """OPEN (§6.3) with ``packets.OPEN_*`` flags, to the handle; ``mode`` for a file it creates."""
        identifier = self._next_id()
        self.handles.making(identifier)
        return self._start(OPEN, identifier, packets.encode_open(identifier, path, pflags, mode), pflags)

    def start_close(self, handle: bytes) -> Slot[None]:
        """CLOSE (§6.3) of a file or directory."""
        self.handles.closing(handle)
        return self._start_string(CLOSE, handle)

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
        self.handles.making(identifier)
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
        """RENAME (§6.5): fails where ``new`` exists."""
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


def _no_greeting(seen: bytes) -> MountError:
    """The error for a stream that ended before VERSION; ``seen`` came before the end."""
    if seen:
        return _foreign_greeting(seen, ProtocolError("an incomplete greeting"))
    return MountError(
        Failure.NO_SFTP,
        "the server closed the connection before SFTP started; is its sftp subsystem enabled?",
    )


def _foreign_greeting(seen: bytes, violation: ProtocolError) -> MountError:
    """The error for a greeting that is not SFTP: text of a shell start-up file, mostly."""
    if seen and all(byte >= 0x20 or byte in b"\t\n\r\x1b" for byte in seen[:4]):
        seen = seen.partition(b"\0")[0]  # the greeting that follows is none of it
        return MountError(
            Failure.PROTOCOL,
            f"the server printed text before SFTP started: {printable(seen)!r}; if that is not why there is"
            " no SFTP, make its shell start-up files (.bashrc) print nothing when not interactive",
        )
    return MountError(Failure.PROTOCOL, f"the server does not speak SFTP: it sent {violation}")
