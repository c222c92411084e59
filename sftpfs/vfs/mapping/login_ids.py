"""The login's ids on the server, learnt as the mount begins, without making anything.

Waits here; ``vfs.mapping.id_map`` decides what the ids mean. A home belongs to its login, unless it is
root's: for a confined account (ChrootDirectory) it must be. Then only somebody who was shown to be the login
is taken for it. Otherwise root's files would show as the user's, and the user's own as somebody else's.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from sftpfs.config import IdMapping, MountConfig
from sftpfs.remote.api import Remote
from sftpfs.types import UNKNOWN_ID, AttributeChange, Attributes
from sftpfs.vfs.mapping.id_map import IdMap
from sftpfs.vfs.tree.inode import path_of
from sftpfs.vfs.tree.tree import Tree

ROOT = 0

MOST_ASKED = 8
"""How many owners of directories are tried; each costs a request."""


class LoginIds:
    """See the module."""

    __slots__ = ("_config", "_home", "_home_path", "_owners", "_remote", "_tree")

    def __init__(self, tree: Tree, remote: Remote, owners: IdMap, config: MountConfig) -> None:
        self._tree = tree
        self._remote = remote
        self._owners = owners
        self._config = config
        self._home: Attributes | None = None
        """The attributes of a home that may not be the login's."""
        self._home_path = b""

    async def learn(self) -> None:
        """Learns them from the server's process, and from the home. Two round trips. Raises OSError: then
        nobody knows."""
        path = await self._remote.realpath(b".")
        home = await self._remote.stat(path)
        process = self._remote.process_ids
        if process is not None and process[0] != home.uid:
            home = home._replace(uid=process[0], gid=process[1])
        elif process is None and home.uid == ROOT and self._config.endpoint.user != "root":
            self._home, self._home_path = home, path
            return
        self._owners.learn_session(home)

    async def learn_by_root(self) -> None:
        """If that did not show them, learns them from what was found in the mounted directory. Sends requests
        only for a confined account, then about two round trips. Raises OSError: then nobody knows."""
        home, self._home = self._home, None
        if home is None or self._owners.session_uid != UNKNOWN_ID:
            return
        owners = {one.uid for _, one in self._seen()} - {ROOT, UNKNOWN_ID}
        found = home if not owners else await self._named({ROOT, *owners}) or await self._tried(home)
        if found is not None:
            self._owners.learn_session(found)
        else:
            self._owners.unclear = self._mapped

    @property
    def _mapped(self) -> bool:
        return self._config.ownership.id_mapping in (IdMapping.USER, IdMapping.NAME)

    def _seen(self) -> Iterator[tuple[bytes, Attributes]]:
        root = self._tree.root
        yield self._tree.root_path, root.attributes
        assert root.directory is not None
        for inode in list(root.directory.children.values()):
            path = path_of(inode, self._tree.root_path)
            if path is not None:
                yield path, inode.attributes

    async def _named(self, uids: set[int]) -> Attributes | None:
        """Attributes of something that belongs to whoever of ``uids`` has the login's name on the server, if
        the server reports names."""
        user = self._config.endpoint.user
        if user is None:
            return None
        names = await self._remote.owner_names(sorted(uids), [], self._tree.root_path)
        own = [uid for uid, name in names.users.items() if name == user.encode()]
        return next((one for _, one in self._seen() if [one.uid] == own), None)

    async def _tried(self, home: Attributes) -> Attributes | None:
        """Attributes of something that belongs to the login. Sets the owner of directories to the owner that
        they have: that changes nothing, and is refused to all but their owner and root. Done only if the
        kernel alone judges by owners, and may be in the user's way."""
        fuse = self._config.fuse
        if fuse.read_only or not fuse.kernel_judges or not self._mapped:
            return None
        if await self._owned(self._home_path, home):
            return home
        tried: set[int] = {ROOT, UNKNOWN_ID}
        for path, one in self._seen():
            if not stat.S_ISDIR(one.mode) or one.uid in tried or len(tried) > MOST_ASKED + 1:
                continue
            tried.add(one.uid)
            if await self._owned(path, one):
                return one
        return None

    async def _owned(self, path: bytes, directory: Attributes) -> bool:
        try:
            await self._remote.setattr(path, AttributeChange(uid=directory.uid, gid=directory.gid))
        except OSError:
            return False
        return True
