"""Who the login is on the server: its ids there, learnt as the mount begins and without making anything.

Waits here; what the ids mean is ``vfs.ownership``'s. A home is its login's, but for one that is root's: of
an account that is confined (ChrootDirectory) it has to be. Then nobody is taken for the login that nothing
shows to be it, else root's files would pass for the user's, and the user's own for somebody else's.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from sftpfs.config import IdMapping, MountConfig
from sftpfs.remote.api import Remote
from sftpfs.types import UNKNOWN_ID, AttributeChange, Attributes
from sftpfs.vfs.inodes import path_of
from sftpfs.vfs.ownership import OwnerMap
from sftpfs.vfs.tree import Tree

ROOT = 0

MOST_ASKED = 8
"""Owners of directories who are tried; each costs a request."""


class Login:
    """See the module."""

    __slots__ = ("_config", "_home", "_home_path", "_owners", "_remote", "_tree")

    def __init__(self, tree: Tree, remote: Remote, owners: OwnerMap, config: MountConfig) -> None:
        self._tree = tree
        self._remote = remote
        self._owners = owners
        self._config = config
        self._home: Attributes | None = None
        """Of a home that may not be the login's."""
        self._home_path = b""

    async def learn(self) -> None:
        """By the server's process, and the home. Two round trips. Raises OSError: then nobody knows."""
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
        """Where that did not tell: by what was found in the mounted directory. Nothing is asked but where a
        confined account has to be told, then two round trips or so. Raises OSError: then nobody knows."""
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
        """Something of whoever of ``uids`` has the login's name on the server, if the server tells names."""
        user = self._config.endpoint.user
        if user is None:
            return None
        names = await self._remote.owner_names(sorted(uids), [], self._tree.root_path)
        own = [uid for uid, name in names.users.items() if name == user.encode()]
        return next((one for _, one in self._seen() if [one.uid] == own), None)

    async def _tried(self, home: Attributes) -> Attributes | None:
        """Something of whoever the login is seen to be, by giving directories to who has them: that changes
        nothing, and is refused to all but their owner and root. Where the kernel is to judge by owners
        alone, and may be in the user's way."""
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
