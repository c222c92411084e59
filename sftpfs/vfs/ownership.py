"""Owners, groups and permission bits: the server's to the mount's and back.

Pure. ``show`` is asked for every attribute shown, so it is a dictionary look-up.
"""

from __future__ import annotations

import errno
import grp
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

from sftpfs.config import IdMapping, OwnershipConfig, UnmappedId
from sftpfs.errors import Failure, MountError, error
from sftpfs.types import UNKNOWN_ID, Attributes


class OwnerMap:
    """Maps ids for display and for chown.

    INVARIANT: ``to_remote`` is the inverse of ``to_local`` wherever the latter maps.
    """

    def __init__(self, config: OwnershipConfig, local: tuple[int, int]) -> None:
        """``local``: uid and gid of the mounting user. Raises MountError for unreadable id files."""
        self._config = config
        self._local = local
        self._users: dict[int, int] = {}
        self._groups: dict[int, int] = {}
        self._strict = config.id_mapping is IdMapping.FILE and config.unmapped is UnmappedId.ERROR
        if config.id_mapping is IdMapping.FILE:
            self._users = _read_id_file(config.uid_file, "uidfile", lambda name: pwd.getpwnam(name).pw_uid)
            self._groups = _read_id_file(config.gid_file, "gidfile", lambda name: grp.getgrnam(name).gr_gid)
        self._remote_users = {local: remote for remote, local in self._users.items()}
        self._remote_groups = {local: remote for remote, local in self._groups.items()}
        self.session_uid = UNKNOWN_ID

    def learn_session(self, home: Attributes) -> None:
        """The login owns its home directory: these are its ids on the server, until it made a file."""
        self.session_uid = home.uid
        if self._config.id_mapping is IdMapping.USER and home.uid != UNKNOWN_ID:
            self._users = {home.uid: self._local[0]}
            self._groups = {home.gid: self._local[1]}
            self._remote_users = {self._local[0]: home.uid}
            self._remote_groups = {self._local[1]: home.gid}

    def learn_created(self, created: Attributes) -> None:
        """Who owns a file just made is the login, whoever owns its home (a chroot's is root's)."""
        if created.uid not in (UNKNOWN_ID, self.session_uid):
            self.learn_session(created)

    def is_ours(self, attributes: Attributes) -> bool:
        """True where the login may change modes and times as it likes: its own file, or it is root."""
        session = self.session_uid
        return session != UNKNOWN_ID and session in (0, attributes.uid)

    def show(self, attributes: Attributes) -> tuple[int, int, int]:
        """(mode, uid, gid) as the mount shows them. EPERM for an unmapped id with nomap=error."""
        config = self._config
        uid = config.uid if config.uid is not None else self._shown(attributes.uid, self._users, 0)
        gid = config.gid if config.gid is not None else self._shown(attributes.gid, self._groups, 1)
        mode = attributes.mode
        if config.umask is not None:
            mode = stat.S_IFMT(mode) | (0o777 & ~config.umask)
        return mode, uid, gid

    def _shown(self, remote: int, table: dict[int, int], which: int) -> int:
        if remote == UNKNOWN_ID:
            return self._local[which]
        local = table.get(remote)
        if local is not None:
            return local
        if self._strict:
            raise error(errno.EPERM, f"id {remote} of the server is in no id file")
        return remote

    def remote_uid(self, uid: int) -> int:
        """The server's id for a local user. EPERM where unmapped with nomap=error."""
        return self._stored(uid, self._remote_users)

    def remote_gid(self, gid: int) -> int:
        """The server's id for a local group. EPERM where unmapped with nomap=error."""
        return self._stored(gid, self._remote_groups)

    def _stored(self, local: int, table: dict[int, int]) -> int:
        remote = table.get(local)
        if remote is not None:
            return remote
        if self._strict:
            raise error(errno.EPERM, f"local id {local} is in no id file")
        return local

    def permits(self, attributes: Attributes, mask: int) -> bool:
        """Whether the login may access with ``mask`` (R=4, W=2, X=1), as far as mode bits tell.

        Group membership on the server is unknown to SFTP: group and other are both
        tried. Where the login is unknown the server is left to decide.
        """
        mode = attributes.mode
        if self.session_uid == UNKNOWN_ID or mask == 0:
            return True
        if self.session_uid == 0:
            return not mask & 1 or stat.S_ISDIR(mode) or bool(mode & 0o111)
        if attributes.uid == self.session_uid:
            return (mode >> 6) & mask == mask
        return (mode >> 3) & mask == mask or mode & mask == mask


def _read_id_file(path: str | None, option: str, number_of: Callable[[str], int]) -> dict[int, int]:
    """Remote id → local id from ``name:id`` or passwd(5)/group(5) lines (sshfs's format)."""
    if path is None:
        return {}
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise MountError(Failure.CONFIGURATION, f"{option}={path} cannot be read: {problem}") from None
    table: dict[int, int] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        fields = text.split(":")
        remote = fields[2] if len(fields) > 2 else fields[1] if len(fields) == 2 else ""
        if not remote.isdigit():
            raise MountError(
                Failure.CONFIGURATION,
                f"{option}={path}, line {number}: expected name:id or a passwd line, found {text!r}",
            )
        try:
            table[int(remote)] = number_of(fields[0])
        except KeyError:
            continue  # a name this machine does not have maps nothing, as in sshfs
    return table
