"""Owners, groups and permission bits: from the server's to the mount's and back.

Pure, except for ``local_ids`` and the id files, which ask this machine. ``show`` is asked for every attribute
that is shown, so it is a dictionary look-up.
"""

from __future__ import annotations

import errno
import grp
import pwd
import stat
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from sftpfs.config import IdMapping, OwnershipConfig, UnmappedId
from sftpfs.errors import Failure, MountError, error
from sftpfs.types import UNKNOWN_ID, Attributes, OwnerNames

LARGEST_ID = 2**32 - 2
"""Ids have 32 bits, and nobody has the last one."""

MOST_NAMES = 10_000
"""How many ids of users, and of groups, are asked for by name in the life of a mount. A server may invent any
number."""


class IdMap:
    """Maps ids for display and for chown.

    INVARIANT: ``to_remote`` is the inverse of ``to_local`` wherever the latter maps.
    """

    def __init__(self, config: OwnershipConfig, local: tuple[int, int]) -> None:
        """``local``: uid and gid of the mounting user. Raises MountError for unreadable id files."""
        self._config = config
        self._local = local
        self.by_name = config.id_mapping is IdMapping.NAME
        self._asked: tuple[set[int], set[int]] = (set(), set())
        self._named: tuple[set[int], set[int]] = (set(), set())
        """Ids of users and groups that have a name on the server."""
        self._users: dict[int, int] = {}
        self._groups: dict[int, int] = {}
        unmapped = config.unmapped or (UnmappedId.IGNORE if self.by_name else UnmappedId.ERROR)
        mapped = config.id_mapping in (IdMapping.FILE, IdMapping.NAME)
        self._strict = mapped and unmapped is UnmappedId.ERROR
        if config.id_mapping is IdMapping.FILE:
            self._users = _read_id_file(config.uid_file, "uidfile", lambda name: pwd.getpwnam(name).pw_uid)
            self._groups = _read_id_file(config.gid_file, "gidfile", lambda name: grp.getgrnam(name).gr_gid)
        self._remote_users = {local: remote for remote, local in self._users.items()}
        self._remote_groups = {local: remote for remote, local in self._groups.items()}
        self.session_uid = self.session_gid = UNKNOWN_ID
        self.unclear = False
        """Nothing has shown who the login is; a file that it makes will."""

    def learn_session(self, home: Attributes) -> None:
        """The login's ids on the server are those of ``home``, its own as far as is known, until it has made
        a file."""
        self.session_uid, self.session_gid = home.uid, home.gid
        self.unclear = False
        if self.by_name:
            self._claim_login()
        if self._config.id_mapping is IdMapping.USER and home.uid != UNKNOWN_ID:
            self._users = {home.uid: self._local[0]}
            self._groups = {home.gid: self._local[1]}
            self._remote_users = {self._local[0]: home.uid}
            self._remote_groups = {self._local[1]: home.gid}

    def learn_created(self, created: Attributes) -> None:
        """The owner of a file just made is the login, whoever owns its home (a chroot's is root's)."""
        if created.uid not in (UNKNOWN_ID, self.session_uid):
            self.learn_session(created)

    def unnamed(self, attributes: Collection[Attributes]) -> tuple[list[int], list[int]]:
        """The uids and gids among ``attributes`` that ``idmap=name`` has not asked for yet."""
        users, groups = self._asked
        uids = {one.uid for one in attributes} - users
        gids = {one.gid for one in attributes} - groups
        return self._bounded(uids, users), self._bounded(gids, groups)

    def unmapped_here(self, uids: Iterable[int], gids: Iterable[int]) -> tuple[list[int], list[int]]:
        """The local ids among these for which no id of the server's is known. The ids of the same number are
        worth asking for; those asked for already are left out."""
        users, groups = self._asked
        wanted = {uid for uid in uids if uid not in self._remote_users} - users
        others = {gid for gid in gids if gid not in self._remote_groups} - groups
        return self._bounded(wanted, users), self._bounded(others, groups)

    @staticmethod
    def _bounded(ids: set[int], asked: set[int]) -> list[int]:
        ids.discard(UNKNOWN_ID)
        return sorted(ids)[: MOST_NAMES - len(asked)] if ids else []

    def learn_names(
        self,
        asked: tuple[Iterable[int], Iterable[int]],
        names: OwnerNames,
        local: tuple[dict[int, int], dict[int, int]],
    ) -> None:
        """The ids ``asked`` for are called ``names``; those in ``local`` as these users and groups here."""
        for which, (table, reverse) in enumerate(
            ((self._users, self._remote_users), (self._groups, self._remote_groups))
        ):
            self._asked[which].update(asked[which])
            self._named[which].update(names[which])
            for remote, number in local[which].items():
                table[remote] = number
                reverse.setdefault(number, remote)  # two ids of one name: the first is written
        self._claim_login()

    def _claim_login(self) -> None:
        """Gives the login's own ids to the mounting user, if no name here claims them."""
        for session, own, table, reverse in (
            (self.session_uid, self._local[0], self._users, self._remote_users),
            (self.session_gid, self._local[1], self._groups, self._remote_groups),
        ):
            if session != UNKNOWN_ID and session not in table:
                table[session] = own
                reverse.setdefault(own, session)

    def is_ours(self, attributes: Attributes) -> bool:
        """True if the login may change modes and times as it likes: it owns the file, or is root."""
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
            raise error(errno.EPERM, f"id {remote} of the server is nobody's here")
        return remote

    def remote_uid(self, uid: int) -> int:
        """The server's id for a local user. EPERM where unmapped with nomap=error."""
        return self._stored(uid, self._remote_users, 0)

    def remote_gid(self, gid: int) -> int:
        """The server's id for a local group. EPERM where unmapped with nomap=error."""
        return self._stored(gid, self._remote_groups, 1)

    def _stored(self, local: int, table: dict[int, int], which: int) -> int:
        remote = table.get(local)
        if remote is not None:
            return remote
        if self._strict or local in self._named[which]:
            # Mapped by name, and the number is somebody else's on the server.
            raise error(errno.EPERM, f"local id {local} has no id on the server")
        return local

    def note_of_owner(self, others_enter: bool) -> str | None:
        """A line for the person who mounts, if what is created here will belong to somebody else."""
        session, (own, _) = self.session_uid, self._local
        if self.unclear and others_enter and self._config.uid is None:
            return (
                "the server does not show which files are the login's own before one is created here: until "
                "then permission bits may keep you from them (uid=N shows all files as yours)"
            )
        if session in (UNKNOWN_ID, 0) or self._config.uid is not None:
            return None  # what root creates is given to whoever asked for it
        try:
            shown = self._shown(session, self._users, 0)
        except OSError:
            return f"files created here will belong to uid {session} of the server, which no id file names"
        if shown != own:
            return (
                f"files created here will belong to {_name_of(shown)}: that is who the login is on the server"
            )
        if others_enter:
            return f"files that other users create here will belong to {_name_of(shown)}, as the login's own"
        return None

    def permits(self, attributes: Attributes, mask: int) -> bool:
        """Whether the login may access with ``mask`` (R=4, W=2, X=1), as far as mode bits tell.

        SFTP does not report group membership on the server, so group and other are both tried. If the login
        is unknown, the decision is left to the server.
        """
        mode = attributes.mode
        if self.session_uid == UNKNOWN_ID or mask == 0:
            return True
        if self.session_uid == 0:
            return not mask & 1 or stat.S_ISDIR(mode) or bool(mode & 0o111)
        if attributes.uid == self.session_uid:
            return (mode >> 6) & mask == mask
        return (mode >> 3) & mask == mask or mode & mask == mask


def _name_of(uid: int) -> str:
    """A user here as a person reads it."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def local_ids(names: OwnerNames) -> tuple[dict[int, int], dict[int, int]]:
    """Ids of the server → ids here of the users and groups of the same name, if there are any.

    Asks this machine's user database, which may be a slow directory service, so it must not run in the loop.
    """

    def found(number_of: Callable[[str], int], names: dict[int, bytes]) -> dict[int, int]:
        table = {}
        for remote, name in names.items():
            try:
                table[remote] = number_of(name.decode())
            except (KeyError, ValueError, OSError):
                continue  # nobody here is called so
        return table

    return (
        found(lambda name: pwd.getpwnam(name).pw_uid, names.users),
        found(lambda name: grp.getgrnam(name).gr_gid, names.groups),
    )


def _read_id_file(path: str | None, option: str, number_of: Callable[[str], int]) -> dict[int, int]:
    """Remote id → local id from ``name:id`` or passwd(5)/group(5) lines (sshfs's format)."""
    if path is None:
        return {}
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else problem
        raise MountError(Failure.CONFIGURATION, f"{option}={path} cannot be read: {why}") from None
    table: dict[int, int] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        fields = text.split(":")
        remote = fields[2] if len(fields) > 2 else fields[1] if len(fields) == 2 else ""
        if not (remote.isascii() and remote.isdigit() and len(remote) <= 10 and int(remote) <= LARGEST_ID):
            raise MountError(
                Failure.CONFIGURATION,
                f"{option}={path}, line {number}: expected name:id or a passwd line, found {text!r}",
            )
        try:
            table[int(remote)] = number_of(fields[0])
        except KeyError:
            continue  # a name this machine does not have maps nothing, as in sshfs
    return table
