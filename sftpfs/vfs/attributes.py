"""Changing attributes: chmod, chown, utimens, truncate.

SFTP v3 carries uid with gid and atime with mtime (draft-ietf-secsh-filexfer-02 §5);
what the caller leaves alone is filled in from what the lease says.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, replace

from sftpfs import clock
from sftpfs.data import FileHandle
from sftpfs.errors import error
from sftpfs.remote.api import LinkTarget, Remote
from sftpfs.types import AttributeChange, Attributes
from sftpfs.vfs import in_place
from sftpfs.vfs.answers import Asked
from sftpfs.vfs.identity import LITTLE, Identity
from sftpfs.vfs.inodes import NANOSECONDS, Inode
from sftpfs.vfs.naming import NamingRemote
from sftpfs.vfs.ownership import OwnerMap
from sftpfs.vfs.resolver import Resolver
from sftpfs.vfs.tree import Tree

LATEST_TIME = 2**32 - 1
"""Times travel as 32-bit unsigned seconds: 1970 to 2106."""

PERMISSION_BITS = 0o777

SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
"""Mode bits a server may refuse or drop even for the owner, and chown clears: set at once."""


@dataclass(frozen=True, slots=True)
class RequestedChange:
    """What setattr(2)'s family asked for, in local ids and nanoseconds; None: leave alone."""

    size: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


class AttributeWriter:
    """Carries out changes of attributes and installs what the server made of them."""

    def __init__(
        self,
        tree: Tree,
        remote: Remote,
        resolver: Resolver,
        identity: Identity,
        owners: OwnerMap,
        naming: NamingRemote | None = None,
    ) -> None:
        self._naming = naming
        self._tree = tree
        self._remote = remote
        self._resolver = resolver
        self._identity = identity
        self._owners = owners

    async def change(self, inode: Inode, requested: RequestedChange, handle: FileHandle | None) -> None:
        """Apply ``requested``; ``inode.attributes`` then show the server's answer. One round trip,
        one more where dirty data has to go first, or for a file of several names; none where it rides with
        the writes of a file that is open since it was created. ESTALE where the name was found to lead to
        another file: the kernel asks for it anew and makes the change of that one."""
        if self._naming is not None and (requested.uid is not None or requested.gid is not None):
            await self._naming.know_local(requested.uid, requested.gid, self._tree.root_path)
        if self._defer(inode, requested):
            return
        if self._nothing_to_do(inode, requested):
            self._tree.touched(inode)
            return
        if requested.size is not None:
            await self._resize(inode, requested.size, handle)
        change = await self._translate(inode, requested)
        if change is None:
            return
        if stat.S_ISLNK(inode.attributes.mode):
            await self._by_path(inode, change, LinkTarget.LINK)
        else:
            await self._apply(inode, change, handle)
            if change.mtime is not None and inode.content is not None:
                inode.content.redated()

    async def emptied(self, inode: Inode, handle: FileHandle, uid: int) -> bool:
        """The user ``uid`` emptied the file as it was opened: that takes what lets others run it as its owner
        or group, for whoever is not root, as a write does; the kernel asks for it only with a write. True
        where there was such. One round trip more then.
        """
        mode = inode.attributes.mode
        taken = stat.S_ISUID | stat.S_ISGID  # a member of a group that may not execute would keep the latter
        if not uid or not mode & taken:
            return False
        with suppress(OSError):  # the file is open, and empty: there is nothing that could be run
            await self.change(inode, RequestedChange(mode=mode & ~taken), handle)
        return True

    def _defer(self, inode: Inode, requested: RequestedChange) -> bool:
        """Let ``requested`` travel with the content's next flush; False where it must be asked for now.

        Only for a file made through a handle that is open still: it is ours, so that the
        server has no reason to refuse. Setting the owner it has already is nothing to do.
        Permission is taken away at once: what is written next may be meant to be secret.
        """
        content = inode.content
        if content is None or requested.size is not None or not content.may_defer:
            return False
        if requested.mode is not None:
            taken = inode.attributes.mode & ~requested.mode & PERMISSION_BITS
            if taken or requested.mode & SPECIAL_BITS:
                return False
        if not self._owner_known_as(inode, requested):
            return False
        change = AttributeChange()
        if requested.mode is not None:
            change = replace(change, mode=stat.S_IMODE(requested.mode))
        if requested.mtime_ns is not None:
            atime = inode.attributes.atime if requested.atime_ns is None else _seconds(requested.atime_ns)
            change = replace(change, atime=atime, mtime=_seconds(requested.mtime_ns))
        elif requested.atime_ns is not None:
            return False  # the mtime to send back along is known once the writes are done
        if change != AttributeChange():
            content.defer(change, demanded=True)
        self._tree.own_change(inode, inode.attributes)
        return True

    def _nothing_to_do(self, inode: Inode, requested: RequestedChange) -> bool:
        """True for a chmod or chown to what the lease says of a file made or changed here that is
        the login's own, so that it would not be refused: tar does both to every directory."""
        if requested.size is not None or requested.atime_ns is not None or requested.mtime_ns is not None:
            return False
        known = inode.attributes
        if not inode.epoch or inode.expires <= clock.now() or known.mode & SPECIAL_BITS:
            return False
        if not self._owners.is_ours(known):
            return False
        if requested.mode is not None and stat.S_IMODE(requested.mode) != stat.S_IMODE(known.mode):
            return False
        return self._owner_known_as(inode, requested)

    def _owner_known_as(self, inode: Inode, requested: RequestedChange) -> bool:
        """True where ``requested`` leaves the owner as it surely is."""
        if requested.uid is None and requested.gid is None:
            return True
        known = inode.attributes
        if inode.expires <= clock.now() or known.mode & SPECIAL_BITS:
            return False
        return (requested.uid is None or self._owners.remote_uid(requested.uid) == known.uid) and (
            requested.gid is None or self._owners.remote_gid(requested.gid) == known.gid
        )

    async def _apply(self, inode: Inode, change: AttributeChange, handle: FileHandle | None) -> None:
        content = inode.content
        if handle is None and inode.handles and (not inode.linked or self._tree.path(inode) is None):
            handle = inode.handles[0]
        if handle is not None:
            self._tree.own_change(inode, await self._answered(inode, handle.setattr(change)))
            return
        if content is not None and (content.deferring or (content.dirty and change.mtime is not None)):
            await content.settle()  # what arrives later would move the time again, or undo this change
        await self._by_path(inode, change)

    async def _by_path(
        self,
        inode: Inode,
        change: AttributeChange,
        target: LinkTarget = LinkTarget.TARGET,
        *,
        dated: bool = False,
    ) -> None:
        """Make ``change`` by the name of ``inode``. ESTALE where that leads to another file."""
        hiding = change.mtime is not None or change.size is not None
        await self._identity.verify(inode, hiding=hiding, patience=LITTLE)

        async def make(path: bytes) -> tuple[Asked | None, Attributes]:
            asked = None if inode.parent is None else self._tree.asked(inode.parent, inode.name)
            return asked, await self._remote.setattr(path, change, target)

        asked, attributes = await in_place.change(self._tree, make, inode)
        if asked is None:
            self._tree.own_change(inode, attributes, dated=dated)
        elif await self._identity.changed(asked, change, attributes, dated=dated) is not inode:
            raise error(errno.ESTALE, "the name leads to another file now")

    async def _answered(self, inode: Inode, request: Awaitable[Attributes]) -> Attributes:
        """What a change by a handle made of ``inode``; nothing is believed of it where nobody knows."""
        try:
            return await request
        except BaseException as problem:
            if in_place.outcome_unknown(problem):
                self._tree.outcome_unknown([], [inode])
            raise

    async def _resize(self, inode: Inode, size: int, handle: FileHandle | None) -> None:
        if stat.S_ISDIR(inode.attributes.mode):
            raise error(errno.EISDIR)
        if not 0 <= size < 2**63:
            raise error(errno.EFBIG)
        content = inode.content
        if handle is None or not handle.writable:
            handle = next((other for other in inode.handles or () if other.writable), None)
        if content is not None and handle is not None:
            attributes = await self._answered(inode, content.truncate(handle, size))
            self._tree.own_change(inode, attributes, dated=True)
            return
        if content is not None and content.dirty:
            await content.settle()
        await self._by_path(inode, AttributeChange(size=size), dated=True)

    async def _translate(self, inode: Inode, requested: RequestedChange) -> AttributeChange | None:
        change = AttributeChange()
        if requested.mode is not None:
            change = replace(change, mode=stat.S_IMODE(requested.mode))
        partial = (requested.uid is None) != (requested.gid is None) or (
            (requested.atime_ns is None) != (requested.mtime_ns is None)
        )
        if partial:
            await self._resolver.revalidate(
                inode, firmly=True
            )  # the other half goes back as the server has it
        known = inode.attributes
        if requested.uid is not None or requested.gid is not None:
            uid = known.uid if requested.uid is None else self._owners.remote_uid(requested.uid)
            gid = known.gid if requested.gid is None else self._owners.remote_gid(requested.gid)
            change = replace(change, uid=uid, gid=gid)
        if requested.atime_ns is not None or requested.mtime_ns is not None:
            atime = known.atime if requested.atime_ns is None else _seconds(requested.atime_ns)
            if requested.mtime_ns is not None:
                mtime = _seconds(requested.mtime_ns)
            else:
                mtime = await self._settled_mtime(inode)
            change = replace(change, atime=atime, mtime=mtime)
        return None if change == AttributeChange() else change

    async def _settled_mtime(self, inode: Inode) -> int:
        """The server's mtime, with our own writes in it, to send back unchanged."""
        if inode.content is not None and inode.content.dirty:
            settled = await inode.content.settle()
            if settled is not None:
                return settled.mtime
        return inode.attributes.mtime


def _seconds(nanoseconds: int) -> int:
    """Whole seconds that SFTP v3 can carry: others are clamped, as ext4 clamps its range."""
    return min(max(nanoseconds // NANOSECONDS, 0), LATEST_TIME)
