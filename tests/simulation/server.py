"""An SFTP server over ``disk.Disk`` that answers as OpenSSH's sftp-server (sftp-server.c) does.

One ``ServerSession`` is one process of it: packets in, packets out, one after the other. No time, no
transport: ``network`` decides when a packet is carried out and whether its answer arrives.
"""

from __future__ import annotations

import errno
import stat
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

from tests.simulation.disk import Disk, Node, failure
from tests.simulation.packets import (
    CODES,
    EOF,
    EXTENSIONS,
    FAILURE,
    KINDS,
    MOST_READ,
    NO_SUCH_FILE,
    OK,
    OP_UNSUPPORTED,
    U32,
    WORDS,
    Fields,
    string,
)

READDIR_NAMES = 100
DIRECTORY_BUFFER = 340
"""Names that readdir(3) has in its buffer at once: what changes in the directory meanwhile is not among
them."""


class Handle:
    """One open file or directory of a session."""

    __slots__ = ("append", "buffered", "cursor", "first", "listing", "node", "path", "read", "write")

    def __init__(self, node: Node, path: bytes, *, read: bool, write: bool, append: bool) -> None:
        self.node = node
        self.path = path
        self.read = read
        self.write = write
        self.append = append
        self.listing = False
        """Made by OPENDIR."""
        self.buffered: list[bytes] | None = None
        self.cursor = 0
        self.first: set[bytes] = set()
        """What there was as it was listed first."""


class CoreSession:
    """See the module. ``refuse`` may name an errno a request is to fail with, before it is looked at."""

    def __init__(
        self, disk: Disk, label: str, home: bytes = b"/", limit: int = 1019, largest: int = MOST_READ
    ) -> None:
        self.disk = disk
        self.label = label
        self.refuse: Callable[[str, Node | None], int | None] | None = None
        self._home = home
        self._limit = limit
        self._largest = largest
        self.listed = READDIR_NAMES
        """Names of one READDIR."""
        self.proc = False
        """It has a /proc, whose files come to be as they are first looked at."""
        self._handles: list[Handle | None] = []
        self._unused: list[int] = []

    def kind_of(self, packet: bytes) -> str:
        """What ``packet`` (without its length) asks for; the name of the extension where it is one."""
        if packet[0] == 200:
            return Fields(packet, 5).string().decode().partition("@")[0]
        return KINDS.get(packet[0], "unknown")

    def handle(self, packet: bytes) -> bytes:
        """Carry out one request (without its length), and return the framed reply."""
        if packet[0] == 1:
            body = b"".join(string(name) + string(data) for name, data in EXTENSIONS)
            return struct.pack(">IBI", 5 + len(body), 2, 3) + body
        identifier = U32.unpack_from(packet, 1)[0]
        kind = self.kind_of(packet)
        fields = Fields(packet, 5)
        self.disk.by = self.label
        try:
            if self.refuse is not None:
                self._refused(kind, packet)
            if packet[0] == 200:
                fields.string()
                kind = kind.replace("-", "_")
            method = getattr(self, f"_{kind}", None)
            reply, body = method(fields) if method is not None else self._status(OP_UNSUPPORTED)
        except OSError as problem:
            reply, body = self._status(CODES.get(problem.errno or 0, FAILURE))
        finally:
            self.disk.by = "other"
        return struct.pack(">IBI", 5 + len(body), reply, identifier) + body

    def _refused(self, kind: str, packet: bytes) -> None:
        """Raises what the request is to fail with."""
        assert self.refuse is not None
        handle = self._handle(Fields(packet, 5)) if kind in ("write", "fsetstat") else None
        number = self.refuse(kind, handle.node if handle is not None else None)
        if number is not None:
            raise failure(number)

    def close(self) -> None:
        """The process ends."""
        self._handles.clear()

    # -- parts of replies ----------------------------------------------------------

    def _status(self, code: int) -> tuple[int, bytes]:
        return 101, U32.pack(code) + string(WORDS[code]) + string(b"")

    def _attrs(self, node: Node) -> bytes:
        return struct.pack(
            ">IQIIIII",
            15,
            node.size,
            node.uid,
            node.gid,
            node.mode,
            node.atime & 0xFFFFFFFF,
            node.mtime & 0xFFFFFFFF,
        )

    def _longname(self, name: bytes, node: Node) -> bytes:
        return b"%s %4u %-8s %-8s %8d %s %s" % (
            stat.filemode(node.mode).encode(),
            node.nlink,
            b"%d" % node.uid,
            b"%d" % node.gid,
            node.size,
            time.strftime("%b %e %Y", time.gmtime(node.mtime)).encode(),
            name,
        )

    def _name(self, path: bytes) -> tuple[int, bytes]:
        return 104, U32.pack(1) + string(path) + string(path) + U32.pack(0)

    def _new_handle(self, handle: Handle) -> tuple[int, bytes]:
        if self._unused:
            place = self._unused.pop()
            self._handles[place] = handle
        elif len(self._handles) >= self._limit:
            return self._status(FAILURE)
        else:
            place = len(self._handles)
            self._handles.append(handle)
        return 102, string(U32.pack(place))

    def _handle(self, fields: Fields) -> Handle | None:
        text = fields.string()
        place = U32.unpack(text)[0] if len(text) == 4 else -1
        return self._handles[place] if 0 <= place < len(self._handles) else None

    def _file(self, fields: Fields) -> Handle | None:
        """The same, None for a directory being listed."""
        handle = self._handle(fields)
        return None if handle is None or handle.listing else handle

    def _path(self, fields: Fields) -> bytes:
        path = fields.string()
        return path if path.startswith(b"/") else self._home.rstrip(b"/") + b"/" + path

    def files_open(self) -> int:
        """Handles in use."""
        return sum(1 for handle in self._handles if handle is not None)

    # -- requests --------------------------------------------------------------------

    def _open(self, fields: Fields) -> tuple[int, bytes]:
        path, flags, attrs = self._path(fields), fields.u32(), fields.attrs()
        read, write = bool(flags & 1), bool(flags & 2)
        node = self.disk.open(
            path,
            read=read or not write,
            write=write,
            create=bool(flags & 8),
            exclusive=bool(flags & 0x20),
            trunc=bool(flags & 0x10),
            mode=attrs.get("mode", 0o666),
        )
        return self._new_handle(
            Handle(node, path, read=read or not write, write=write, append=bool(flags & 4))
        )

    def _close(self, fields: Fields) -> tuple[int, bytes]:
        text = fields.string()
        place = U32.unpack(text)[0] if len(text) == 4 else -1
        if not 0 <= place < len(self._handles) or self._handles[place] is None:
            return self._status(NO_SUCH_FILE)
        self._handles[place] = None
        self._unused.append(place)
        return self._status(OK)

    def _read(self, fields: Fields) -> tuple[int, bytes]:
        handle, offset, length = self._file(fields), fields.u64(), fields.u32()
        if handle is None or (handle.node.is_dir and length):
            return self._status(FAILURE)
        if length and not handle.read:
            return self._status(NO_SUCH_FILE)
        data = handle.node.content[offset : offset + min(length, self._largest)]
        if not data and length:
            return self._status(EOF)
        return 103, string(data)

    def _write(self, fields: Fields) -> tuple[int, bytes]:
        handle, offset, data = self._file(fields), fields.u64(), fields.string()
        if handle is None:
            return self._status(FAILURE)
        if not handle.write:
            return self._status(NO_SUCH_FILE)
        if data:
            self.disk.write(handle.node, len(handle.node.content) if handle.append else offset, data)
        return self._status(OK)

    def _lstat(self, fields: Fields) -> tuple[int, bytes]:
        path = self._path(fields)
        if self.proc and path.startswith(b"/proc/"):
            return 105, self._attrs(Node(0, stat.S_IFREG | 0o444, int(self.disk.seconds())))
        return 105, self._attrs(self.disk.find(path, follow=False))

    def _stat(self, fields: Fields) -> tuple[int, bytes]:
        return 105, self._attrs(self.disk.find(self._path(fields)))

    def _fstat(self, fields: Fields) -> tuple[int, bytes]:
        handle = self._file(fields)
        return self._status(FAILURE) if handle is None else (105, self._attrs(handle.node))

    def _change(self, node: Node, attrs: dict[str, Any], *, writable: bool = True) -> tuple[int, bytes]:
        """Each part is tried, as the server does; the status is the last failure's."""
        status = OK
        disk = self.disk
        for part, change in (
            ("size", lambda value: disk.truncate(node, value)),
            ("mode", lambda value: disk.chmod(node, value)),
            ("times", lambda value: disk.utime(node, *value)),
            ("ids", lambda value: disk.chown(node, *value)),
        ):
            if part in attrs:
                try:
                    if part == "size" and not writable:
                        raise failure(errno.EINVAL)
                    change(attrs[part])
                except OSError as problem:
                    status = CODES.get(problem.errno or 0, FAILURE)
        return self._status(status)

    def _setstat(self, fields: Fields) -> tuple[int, bytes]:
        path, attrs = self._path(fields), fields.attrs()
        if not attrs:
            return self._status(OK)
        node = self.disk.find(path)
        if "size" in attrs:
            self.disk.permit(node, 2)
        return self._change(node, attrs)

    def _fsetstat(self, fields: Fields) -> tuple[int, bytes]:
        handle, attrs = self._file(fields), fields.attrs()
        if handle is None:
            return self._status(FAILURE)
        return self._change(handle.node, attrs, writable=handle.write)

    def _opendir(self, fields: Fields) -> tuple[int, bytes]:
        path = self._path(fields)
        node = self.disk.find(path)
        if not node.is_dir:
            raise failure(errno.ENOTDIR)
        self.disk.permit(node, 4)
        handle = Handle(node, path, read=False, write=False, append=False)
        handle.listing = True
        return self._new_handle(handle)

    def _readdir(self, fields: Fields) -> tuple[int, bytes]:
        handle = self._handle(fields)
        if handle is None or not handle.listing:
            return self._status(FAILURE)
        told = []
        while len(told) < self.listed and (name := self._next_name(handle)) is not None:
            try:
                node = self.disk.find(handle.path.rstrip(b"/") + b"/" + name, follow=False)
            except OSError:
                continue
            told.append(string(name) + string(self._longname(name, node)) + self._attrs(node))
        return (104, U32.pack(len(told)) + b"".join(told)) if told else self._status(EOF)

    @staticmethod
    def _next_name(handle: Handle) -> bytes | None:
        """The next name readdir(3) gives: from its buffer, filled anew where it is at its end. What was made
        since it was filled first may have its place before that or behind it."""
        if handle.buffered is None:
            handle.buffered = [b".", b"..", *handle.node.names]
            handle.first = set(handle.buffered)
        elif handle.cursor % DIRECTORY_BUFFER == 0 or handle.cursor >= len(handle.buffered):
            told = set(handle.buffered[: handle.cursor])
            left = [name for name in handle.node.names if name not in told]
            first = handle.first
            handle.buffered[handle.cursor :] = [one for one in left if one in first or zlib.crc32(one) & 1]
        if handle.cursor >= len(handle.buffered):
            return None
        handle.cursor += 1
        return handle.buffered[handle.cursor - 1]

    def _remove(self, fields: Fields) -> tuple[int, bytes]:
        self.disk.remove(self._path(fields))
        return self._status(OK)

    def _mkdir(self, fields: Fields) -> tuple[int, bytes]:
        path, attrs = self._path(fields), fields.attrs()
        self.disk.mkdir(path, attrs.get("mode", 0o777))
        return self._status(OK)

    def _rmdir(self, fields: Fields) -> tuple[int, bytes]:
        self.disk.rmdir(self._path(fields))
        return self._status(OK)

    def _realpath(self, fields: Fields) -> tuple[int, bytes]:
        """sftp-realpath.c: links are followed; only the last name may be missing."""
        left = [part for part in self._path(fields).split(b"/") if part]
        done: list[bytes] = []
        for _ in range(1000):
            if not left:
                break
            part = left.pop(0)
            if part == b"..":
                del done[-1:]
            elif part != b".":
                try:
                    node = self.disk.find(b"/" + b"/".join([*done, part]), follow=False)
                except OSError as problem:
                    if problem.errno != errno.ENOENT or left:
                        raise
                    done.append(part)
                    break
                if stat.S_ISLNK(node.mode):
                    left[:0] = [one for one in node.target.split(b"/") if one]
                    done = [] if node.target.startswith(b"/") else done
                else:
                    if left and not node.is_dir:
                        raise failure(errno.ENOTDIR)
                    done.append(part)
        return self._name(b"/" + b"/".join(done))

    def _rename(self, fields: Fields) -> tuple[int, bytes]:
        old, new = self._path(fields), self._path(fields)
        node = self.disk.find(old, follow=False)
        if node.is_file:
            directory, name = self.disk.split(new)
            if name in directory.names:
                raise failure(errno.EEXIST)
            self.disk.rename(old, new)
            return self._status(OK)
        try:
            self.disk.find(new)
        except OSError:
            self.disk.rename(old, new)
            return self._status(OK)
        return self._status(FAILURE)

    def _readlink(self, fields: Fields) -> tuple[int, bytes]:
        node = self.disk.find(self._path(fields), follow=False)
        if not stat.S_ISLNK(node.mode):
            raise failure(errno.EINVAL)
        return self._name(node.target)

    def _symlink(self, fields: Fields) -> tuple[int, bytes]:
        target, path = fields.string(), self._path(fields)
        self.disk.symlink(target, path)
        return self._status(OK)
