"""Changes of attributes: chmod, chown, utimens, truncate.

SFTP v3 carries uid with gid and atime with mtime (draft-ietf-secsh-filexfer-02 §5). What the caller does not
set is filled in from what the lease says.
"""

from __future__ import annotations

import errno
import stat
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial

from sftpfs import clock
from sftpfs.data import FileHandle, set_and_stat
from sftpfs.errors import error
from sftpfs.remote.api import LinkTarget, Remote
from sftpfs.types import UNKNOWN_ID, AttributeChange, Attributes, OpenFlags
from sftpfs.vfs.file_identity import SHORT_PATIENCE, FileIdentity
from sftpfs.vfs.mapping.id_map import IdMap
from sftpfs.vfs.mapping.owner_names_remote import OwnerNamesRemote
from sftpfs.vfs.resolver import Resolver
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import NANOSECONDS, Inode
from sftpfs.vfs.tree.server_answers import Asked
from sftpfs.vfs.tree.tree import Tree

LATEST_TIME = 2**32 - 1
"""Times travel as 32-bit unsigned seconds: 1970 to 2106."""

PERMISSION_BITS = 0o777

SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
"""Mode bits that a server may refuse or drop even for the owner, and that chown clears: set at once."""


@dataclass(frozen=True, slots=True)
class SetattrRequest:
    """What setattr(2)'s family asked for, in local ids and nanoseconds; None: leave alone."""

    size: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


class SetattrOperations:
    """Carries out changes of attributes and installs what the server made of them."""

    def __init__(
        self,
        tree: Tree,
        remote: Remote,
        resolver: Resolver,
        identity: FileIdentity,
        owners: IdMap,
        naming: OwnerNamesRemote | None = None,
    ) -> None:
        self._naming = naming
        self._tree = tree
        self._remote = remote
        self._resolver = resolver
        self._identity = identity
        self._owners = owners

    async def change(self, inode: Inode, requested: SetattrRequest, handle: FileHandle | None) -> None:
        """Applies ``requested``; ``inode.attributes`` then show the server's answer. One round trip; one more
        if dirty data has to go first, or for a file of several names; none if it travels with the writes of a
        file that is open since it was created. ESTALE if the name was found to lead to another file: the
        kernel then looks it up anew and changes that one.
        """
        if self._naming is not None and (requested.uid is not None or requested.gid is not None):
            await self._naming.know_local(requested.uid, requested.gid, self._tree.root_path)
        times_ns = _times(inode, requested)
        ctime_ns = inode.shown_ctime_ns
        if self._defer(inode, requested):
            if times_ns is not None:
                self._tree.times_set(inode, times_ns, ctime_ns)
            return
        if self._nothing_to_do(inode, requested):
            self._tree.bump_ctime(inode)
            return
        if requested.size is not None:
            await self._resize(inode, requested.size, handle)
        change = await self._translate(inode, requested)
        if change is None:
            return
        await self._apply(inode, change, handle)
        if times_ns is not None:
            self._tree.times_set(inode, times_ns, ctime_ns)
        if change.mtime is not None and inode.content is not None:
            inode.content.redated()

    async def emptied(self, inode: Inode, handle: FileHandle, uid: int) -> bool:
        """The user ``uid`` emptied the file as it was opened. If that is not root, this clears the bits that
        let others run it as its owner or group, as a write does; the kernel asks for that only with a write.
        Returns True if there were such bits. Then it costs one more round trip."""
        mode = inode.attributes.mode
        taken = stat.S_ISUID | stat.S_ISGID  # a member of a group that may not execute would keep the latter
        if not uid or not mode & taken:
            return False
        with suppress(OSError):  # the file is open, and empty: there is nothing that could be run
            await self.change(inode, SetattrRequest(mode=mode & ~taken), handle)
        return True

    def _defer(self, inode: Inode, requested: SetattrRequest) -> bool:
        """Lets ``requested`` travel with the content's next flush. Returns False if it must be sent now.

        Only for a file made through a handle that is still open: it is ours, so the server has no reason to
        refuse. To set the owner that it already has needs nothing. Permission is taken away at once, because
        what is written next may be meant to be secret.
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
        if not self._remote.surely_sets(change):
            return False
        if change != AttributeChange():
            content.defer(change, demanded=True)
        self._tree.own_change(inode, inode.attributes)
        return True

    def _nothing_to_do(self, inode: Inode, requested: SetattrRequest) -> bool:
        """True for a chmod or chown to what the lease says, of a file that was made or changed here and is
        the login's own, so that it would not be refused. tar does both to every directory."""
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

    def _owner_known_as(self, inode: Inode, requested: SetattrRequest) -> bool:
        """True if ``requested`` leaves the owner as it surely is."""
        if requested.uid is None and requested.gid is None:
            return True
        known = inode.attributes
        if inode.expires <= clock.now() or known.mode & SPECIAL_BITS:
            return False
        return (requested.uid is None or self._owners.remote_uid(requested.uid) == known.uid) and (
            requested.gid is None or self._owners.remote_gid(requested.gid) == known.gid
        )

    async def _apply(
        self, inode: Inode, change: AttributeChange, handle: FileHandle | None, *, dated: bool = False
    ) -> None:
        """Makes ``change`` by ``handle``, which the kernel names only with ftruncate. If it names none: by
        any handle that is open, once the name was found to lead there, otherwise by the name. So what is open
        is changed, whoever gets its name meanwhile. ESTALE if the name leads to another file.

        ``dated`` as in ``Tree.own_change``.
        """
        named = handle is None and self._tree.path(inode) is not None
        if handle is None:
            if named:
                await self._settled(inode, change)
                await self._identity.verify(inode, changing=True, patience=SHORT_PATIENCE)
            handle = _handle_for(inode, change)
        if handle is not None:
            try:
                attributes = await path_requests.mutate_open(
                    self._tree, inode, partial(handle.setattr, change)
                )
            except PermissionError as refused:
                if not named or refused.errno == errno.EPERM:
                    raise  # else it could not be opened, which a change by name needs not
            else:
                self._tree.own_change(inode, attributes, dated=dated)
                return
        await self._by_name(inode, change, dated)

    @staticmethod
    async def _settled(inode: Inode, change: AttributeChange) -> None:
        """What arrived later would move the time again, or undo ``change``."""
        content = inode.content
        if content is None:
            return
        if content.deferring or (content.dirty and (change.mtime is not None or change.size is not None)):
            await content.settle()

    async def _by_name(self, inode: Inode, change: AttributeChange, dated: bool) -> None:
        """Makes ``change`` by the name of ``inode``; ``verify`` has looked at it. ESTALE if that leads to
        another file by now."""

        async def make(path: bytes) -> tuple[Asked | None, Attributes]:
            if inode.parent is None:
                return None, await self._remote.setattr(path, change)
            asked = self._tree.asked(inode.parent, inode.name)
            attributes = await self._of_several(asked, path, change) if inode.aliases else None
            if attributes is None:
                link = stat.S_ISLNK(inode.attributes.mode)
                target = LinkTarget.LINK if link else LinkTarget.TARGET
                attributes = await self._remote.setattr(path, change, target)
            return asked, attributes

        asked, attributes = await path_requests.mutate(self._tree, make, inode)
        if asked is None:
            self._tree.own_change(inode, attributes, dated=dated)
        elif await self._identity.changed(asked, change, attributes, dated=dated) is not inode:
            raise error(errno.ESTALE, "the name leads to another file now")

    async def _of_several(self, asked: Asked, path: bytes, change: AttributeChange) -> Attributes | None:
        """Makes ``change`` of a file of several names, by a handle only for this. A name that was replaced
        since they were looked at may not be the one by which the kernel came, and its file not the one to
        change. Two round trips; or one, and None, if the file may not be opened and must be changed by name.
        """
        inode = asked.inode
        if inode is None or not stat.S_ISREG(inode.attributes.mode):
            return None
        flags = OpenFlags.READ if change.size is None else OpenFlags.WRITE
        try:
            file, attributes = await self._remote.open(path, flags, 0, self._tree.current_path(inode))
        except PermissionError:
            if change.size is not None:
                raise
            return None
        with closing(file):
            same, attributes = await self._identity.compare(asked, attributes, alone=True)
            if same:
                file.confirm()
                return await set_and_stat(file, change)
        if self._tree.still_leads(asked):
            self._tree.install_answer(asked, attributes, False)
        raise error(errno.ESTALE, "the name leads to another file now")

    async def _resize(self, inode: Inode, size: int, handle: FileHandle | None) -> None:
        if stat.S_ISDIR(inode.attributes.mode):
            raise error(errno.EISDIR)
        if not 0 <= size < 2**63:
            raise error(errno.EFBIG)
        await self._apply(inode, AttributeChange(size=size), handle, dated=True)

    async def _translate(self, inode: Inode, requested: SetattrRequest) -> AttributeChange | None:
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
            if UNKNOWN_ID in (uid, gid):
                raise error(errno.EOPNOTSUPP, "the server does not report the owner that is to stay")
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


def _times(inode: Inode, requested: SetattrRequest) -> tuple[int, int] | None:
    """The atime and mtime to set, in nanoseconds; None if neither is set."""
    if requested.atime_ns is None and requested.mtime_ns is None:
        return None
    content = inode.content
    mtime = content.mtime if content is not None else None
    atime_ns, mtime_ns = inode.shown_times_ns(inode.attributes.mtime if mtime is None else mtime)
    return (
        atime_ns if requested.atime_ns is None else requested.atime_ns,
        mtime_ns if requested.mtime_ns is None else requested.mtime_ns,
    )


def _handle_for(inode: Inode, change: AttributeChange) -> FileHandle | None:
    """An open handle by which ``change`` can be made."""
    handles = inode.handles or ()
    return next((one for one in handles if change.size is None or one.writable), None)


def _seconds(nanoseconds: int) -> int:
    """Whole seconds that SFTP v3 can carry. Others are clamped, as ext4 clamps its range."""
    return min(max(nanoseconds // NANOSECONDS, 0), LATEST_TIME)
