"""OpenSSH's extensions of the simulated server (PROTOCOL, section 4); see ``server``."""

from __future__ import annotations

import stat
import struct

from tests.simulation.disk import LOGIN
from tests.simulation.packets import (
    BAD_MESSAGE,
    FAILURE,
    NO_SUCH_FILE,
    OK,
    U32,
    Fields,
    string,
)
from tests.simulation.server import CoreSession


class ServerSession(CoreSession):
    """One process of the server, with all it offers."""

    def _posix_rename(self, fields: Fields) -> tuple[int, bytes]:
        self.disk.rename(self._path(fields), self._path(fields))
        return self._status(OK)

    def _hardlink(self, fields: Fields) -> tuple[int, bytes]:
        self.disk.link(self._path(fields), self._path(fields))
        return self._status(OK)

    def _fsync(self, fields: Fields) -> tuple[int, bytes]:
        handle = self._file(fields)
        if handle is None:
            return self._status(NO_SUCH_FILE)
        self.disk.fsync(handle.node)
        return self._status(OK)

    def _statvfs(self, fields: Fields) -> tuple[int, bytes]:
        self.disk.find(self._path(fields))
        return 201, struct.pack(
            ">11Q", 4096, 4096, 1 << 20, 1 << 19, 1 << 19, 1 << 20, 1 << 19, 1 << 19, 1, 0, 255
        )

    def _fstatvfs(self, fields: Fields) -> tuple[int, bytes]:
        handle = self._handle(fields)
        return self._statvfs(Fields(string(b"/"), 0)) if handle is not None else self._status(FAILURE)

    def _limits(self, fields: Fields) -> tuple[int, bytes]:
        return 201, struct.pack(">QQQQ", 256 * 1024, self._largest, self._largest, self._limit)

    def _expand_path(self, fields: Fields) -> tuple[int, bytes]:
        path = fields.string()
        return self._realpath(Fields(string(self._home if path in (b"~", b"~/") else path), 0))

    def _home_directory(self, fields: Fields) -> tuple[int, bytes]:
        return self._name(self._home)

    def _users_groups_by_id(self, fields: Fields) -> tuple[int, bytes]:
        users, groups = fields.string(), fields.string()
        names = [
            b"".join(
                string(b"me" if U32.unpack_from(ids, at)[0] == LOGIN else b"") for at in range(0, len(ids), 4)
            )
            for ids in (users, groups)
        ]
        return 201, string(names[0]) + string(names[1])

    def _copy_data(self, fields: Fields) -> tuple[int, bytes]:
        source, offset, length = self._file(fields), fields.u64(), fields.u64()
        target, to = self._file(fields), fields.u64()
        if source is None or target is None or source is target or source.path == target.path:
            return self._status(FAILURE)
        if source.node.is_dir:
            return self._status(FAILURE)
        if not source.read or (not target.write and source.node.content[offset:]):
            return self._status(NO_SUCH_FILE)
        data = source.node.content[offset : offset + length if length else None]
        if data:
            self.disk.write(target.node, len(target.node.content) if target.append else to, data)
        return self._status(OK)

    def _lsetstat(self, fields: Fields) -> tuple[int, bytes]:
        path, attrs = self._path(fields), fields.attrs()
        if "size" in attrs:
            return self._status(BAD_MESSAGE)
        if not attrs:
            return self._status(OK)
        node = self.disk.find(path, follow=False)
        if stat.S_ISLNK(node.mode) and "mode" in attrs:
            return self._status(FAILURE)
        return self._change(node, attrs)
