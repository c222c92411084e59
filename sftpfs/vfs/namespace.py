"""Changes of names: mkdir, mknod, symlink, link, unlink, rmdir, rename.

Each is sent to the server, waited for, and then entered in ``vfs.tree.tree``: what was cached stays,
corrected. The kernel serialises its own changes of one directory; those that begin in the mount
(``vfs.tree_remove``, ``vfs.tree_write``) come beside them, and follow each other where they must
(``vfs.tree.path_requests``).
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from sftpfs.errors import error
from sftpfs.remote.api import Changed, Known, LinkTarget, Over, Remote, nothing_known
from sftpfs.types import UNKNOWN_ID, AttributeChange, Attributes, OpenFlags
from sftpfs.vfs.file_identity import SHORT_PATIENCE, FileIdentity
from sftpfs.vfs.mapping.id_map import IdMap
from sftpfs.vfs.mapping.letter_case import LetterCase
from sftpfs.vfs.mapping.owner_names_remote import OwnerNamesRemote
from sftpfs.vfs.tree import path_requests
from sftpfs.vfs.tree.inode import Inode
from sftpfs.vfs.tree.server_answers import leads_to
from sftpfs.vfs.tree.tree import Tree

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: local uid and gid."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Removed:
    """A name that we removed: as its directory knew it, and what it led to as far as that was known."""

    name: bytes
    inode: Inode | None


class Namespace:
    """Operations that change which names there are."""

    def __init__(
        self,
        tree: Tree,
        remote: Remote,
        identity: FileIdentity,
        cases: LetterCase,
        owners: IdMap,
        hard_links: bool,
        naming: OwnerNamesRemote | None = None,
    ) -> None:
        self._naming = naming
        self._tree = tree
        self._remote = remote
        self._identity = identity
        self._cases = cases
        self._owners = owners
        self._hard_links = hard_links

    async def mkdir(self, parent: Inode, name: bytes, mode: int, caller: Caller) -> Inode:
        """Makes a directory. EEXIST if the name is taken. One round trip."""

        async def make(path: bytes) -> Inode:
            attributes = await self._made(parent, name, self._remote.mkdir(path, stat.S_IMODE(mode)))
            return self._tree.created(
                parent, name, await self.chown_to_caller(parent, name, attributes, caller)
            )

        return await path_requests.mutate(self._tree, make, (parent, name))

    async def mknod(self, parent: Inode, name: bytes, mode: int, caller: Caller) -> Inode:
        """Makes a regular file; EPERM for what SFTP cannot make (devices, sockets, pipes)."""
        if not stat.S_ISREG(mode):
            raise error(errno.EPERM, "SFTP makes regular files only")
        flags = OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE

        async def make(path: bytes) -> Inode:
            opening = self._remote.open(path, flags, stat.S_IMODE(mode), lambda: None)
            file, attributes = await self._made(parent, name, opening)
            file.close()
            if stat.S_IMODE(attributes.mode) != stat.S_IMODE(mode):
                change = AttributeChange(mode=stat.S_IMODE(mode))
                attributes = await self._mended(parent, name, attributes, change)
            return self._tree.created(
                parent, name, await self.chown_to_caller(parent, name, attributes, caller)
            )

        return await path_requests.mutate(self._tree, make, (parent, name))

    async def _mended(
        self,
        parent: Inode,
        name: bytes,
        attributes: Attributes,
        change: AttributeChange,
        target: LinkTarget = LinkTarget.TARGET,
    ) -> Attributes:
        """Gives what was just made the attributes that the server's umask or login altered. A server that
        cannot set them keeps its own. ``attributes`` are what it has."""
        if not self._remote.sets(change):
            return attributes
        try:
            return await path_requests.query(
                self._tree, lambda path: self._remote.setattr(path, change, target), (parent, name)
            )
        except OSError:
            return attributes

    async def symlink(self, parent: Inode, name: bytes, target: bytes, caller: Caller) -> Inode:
        """Makes a symbolic link whose target the server keeps as given."""

        async def make(path: bytes) -> Inode:
            attributes = await self._made(parent, name, self._remote.symlink(target, path))
            attributes = await self.chown_to_caller(parent, name, attributes, caller, LinkTarget.LINK)
            return self._tree.created(parent, name, attributes, target)

        return await path_requests.mutate(self._tree, make, (parent, name))

    async def link(self, inode: Inode, parent: Inode, name: bytes) -> Inode:
        """Makes another name for what has the name of ``inode``; both share that inode from now on. It is
        another than ``inode`` if the name was found to lead to another file."""
        if not self._hard_links:
            raise error(errno.EPERM, "hard links are turned off")
        await self._identity.verify(inode, patience=SHORT_PATIENCE)

        async def make(existing: bytes, path: bytes) -> Inode:
            assert inode.parent is not None
            asked = self._tree.asked(inode.parent, inode.name)
            links = inode.attributes.nlink  # from before: a listing may tell of the new name first
            several = bool(inode.aliases)
            attributes = await self._made(parent, name, self._link(existing, path))
            known = links + 1 if links > 0 else 2 if attributes.nlink == UNKNOWN_ID else attributes.nlink
            attributes = attributes._replace(nlink=known)
            linked = await self._identity.changed(asked, AttributeChange(), attributes)
            if several and linked is not inode:
                # The name that it used was replaced since all were looked at, and may not be the one meant.
                await self._remote.remove(path, lambda: attributes)
                raise error(errno.ESTALE, "the name led to another file")
            self._tree.linked(linked, parent, name)
            return linked

        return await path_requests.mutate(self._tree, make, inode, (parent, name))

    async def _link(self, existing: bytes, path: bytes) -> Attributes:
        try:
            return await self._remote.link(existing, path)
        except OSError as problem:
            if problem.errno == errno.EOPNOTSUPP:
                raise error(errno.EPERM, "the server makes no hard links") from None  # as link(2) has it
            raise

    async def unlink(self, parent: Inode, name: bytes) -> None:
        """Removes a name. Open handles go on working, because the server keeps the file for them."""
        await self._unlink(parent, self._known_name(parent, name), None)

    async def rmdir(self, parent: Inode, name: bytes) -> None:
        """Removes an empty directory; ENOTEMPTY otherwise."""
        name = self._known_name(parent, name)
        await self._remove(parent, name, lambda path, _: self._remote.rmdir(path))

    async def unlink_beside(self, parent: Inode, name: bytes, listed: Attributes | None) -> Removed:
        """As ``unlink``, not for the kernel, which therefore may ask for changes of the directory or the file
        meanwhile: they follow one another. ``listed``: what the server just said of a name that nothing is
        known of."""
        name = self._known_name(parent, name)
        child = self._child(parent, name)
        await self._unlink(
            parent, name, listed, removed=child if child is not None and child.lookups else None
        )
        return Removed(name, child)

    async def rmdir_beside(self, parent: Inode, name: bytes) -> Removed:
        """As ``rmdir``, not for the kernel, which may ask for changes in the directory meanwhile: those that
        came before are waited for, and later ones find it gone."""
        name = self._known_name(parent, name)
        child = self._child(parent, name)
        await self._remove(parent, name, lambda path, _: self._remote.rmdir(path), moved=child)
        return Removed(name, child)

    async def _unlink(
        self, parent: Inode, name: bytes, listed: Attributes | None, *, removed: Inode | None = None
    ) -> None:
        await self._remove(
            parent,
            name,
            lambda path, look: self._remote.remove(path, self._known(parent, name, listed), look=look),
            removed=removed,
        )

    async def rename(
        self, old_parent: Inode, old_name: bytes, new_parent: Inode, new_name: bytes, replace: bool
    ) -> None:
        """Renames; with ``replace`` over an existing name atomically, otherwise EEXIST."""
        old_name, new_name = self._known_name(old_parent, old_name), self._known_name(new_parent, new_name)
        source = old_parent.directory.children.get(old_name) if old_parent.directory else None
        target = new_parent.directory.children.get(new_name) if new_parent.directory else None
        if source is not None and source is target:
            return  # two names of one file: rename(2) does nothing

        missing = self._tree.expired_child(old_parent, old_name) == (None,)

        # Names that others linked, or that became two inodes since we linked them, may still be of one file.
        files = source is not None and target is not None and not (source.directory or target.directory)

        async def move(old: bytes, new: bytes) -> None:
            known = None if missing else self._known(old_parent, old_name)
            over, several = self._over(new_parent, new_name), self._hard_linked(new_parent, new_name)
            try:
                done = await self._remote.rename(
                    old, new, replace, known, over, look=files, look_over=several is not None
                )
            except OSError as problem:
                if problem.errno == errno.ENOENT:
                    self._refuse_unnamed(old_parent, old_name)
                    self._tree.distrust(old_parent, old_name)
                elif problem.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR):
                    self._tree.distrust(new_parent, new_name)
                raise
            self._part(new_parent, new_name, several, done.over)
            self._tree.renamed(old_parent, old_name, new_parent, new_name, both=done.both)

        await path_requests.mutate(
            self._tree, move, (old_parent, old_name), (new_parent, new_name), moved=source
        )

    async def chown_to_caller(
        self,
        parent: Inode,
        name: bytes,
        attributes: Attributes,
        caller: Caller,
        target: LinkTarget = LinkTarget.TARGET,
    ) -> Attributes:
        """Gives a new file to the caller if the session is root and another user asked."""
        self._owners.learn_created(attributes)
        if self._owners.session_uid != 0:
            return attributes
        try:
            if self._naming is not None:
                await self._naming.know_local(caller.uid, caller.gid, self._tree.root_path)
            uid = self._owners.remote_uid(caller.uid)
            if uid == attributes.uid:
                return attributes
            inherits = parent.attributes.mode & stat.S_ISGID  # the directory's group is the file's
            gid = attributes.gid if inherits else self._owners.remote_gid(caller.gid)
        except OSError:
            return attributes
        return await self._mended(parent, name, attributes, AttributeChange(uid=uid, gid=gid), target)

    async def _made(self, parent: Inode, name: bytes, request: Awaitable[T]) -> T:
        try:
            return await request
        except OSError as problem:
            if problem.errno == errno.EEXIST:
                self._tree.distrust(parent, name)
            raise

    async def _remove(
        self,
        parent: Inode,
        name: bytes,
        request: Callable[[bytes, bool], Awaitable[Attributes | None]],
        *,
        moved: Inode | None = None,
        removed: Inode | None = None,
    ) -> None:
        """``request`` is told whether it must also look at what it removes. ``moved`` and ``removed`` as
        ``path_requests.mutate`` has them."""

        async def remove(path: bytes) -> None:
            several = self._hard_linked(parent, name)
            try:
                seen = await request(path, several is not None)
            except OSError as problem:
                if problem.errno == errno.ENOENT:
                    self._refuse_unnamed(parent, name)
                    self._tree.install_absence(parent, name)
                elif problem.errno in (errno.EISDIR, errno.ENOTDIR):
                    self._tree.distrust(parent, name)
                raise
            self._part(parent, name, several, seen)
            self._tree.removed(parent, name)

        await path_requests.mutate(self._tree, remove, (parent, name), moved=moved, removed=removed)

    @staticmethod
    def _child(parent: Inode, name: bytes) -> Inode | None:
        """What ``name`` leads to, as far as known."""
        return parent.directory.children.get(name) if parent.directory is not None else None

    @classmethod
    def _refuse_unnamed(cls, parent: Inode, name: bytes) -> None:
        """Raises EBUSY if the server gives the open file its name ``name`` only when it is closed."""
        child = cls._child(parent, name)
        if child is not None and child.unnamed:
            raise error(errno.EBUSY, "the server gives the file its name only when it is closed")

    @classmethod
    def _hard_linked(cls, parent: Inode, name: bytes) -> Inode | None:
        """What ``name`` leads to, if that has other names."""
        child = cls._child(parent, name)
        return child if child is not None and child.aliases else None

    def _part(self, parent: Inode, name: bytes, inode: Inode | None, seen: Attributes | None) -> None:
        """A change of ours took ``name`` from the file that had it, which was ``seen`` there just before, and
        was known as one of several names of ``inode``. If it was another file, the kernel may still be about
        to use the inode for it, and would get what the other names lead to."""
        if inode is None:
            return
        dirty = inode.content is not None and inode.content.dirty
        if seen is None or not (leads_to(inode, seen) or (dirty and seen.kind == inode.attributes.kind)):
            self._tree.name_unknown(parent, name)

    def _known_name(self, parent: Inode, name: bytes) -> bytes:
        """``name`` as it is known here, if the server takes names that differ only in case for one."""
        return self._cases.known_name(parent.directory, name)

    def _known(self, parent: Inode, name: bytes, listed: Attributes | None = None) -> Known:
        """A callable for what the server last reported of what ``name`` leads to now: ``listed`` if nothing
        is known of it. It returns None if the server did not, or if we have changed the file since, may have,
        or are about to."""
        child = self._child(parent, name)
        if child is None:
            return nothing_known if listed is None else lambda: listed
        mark = child.change_mark

        def known() -> Attributes | None:
            changed = (
                child.change_mark != mark or path_requests.mutation_under_way(self._tree, child) is not None
            )
            dirty = child.content is not None and child.content.dirty
            doubted = child.expires == 0.0  # by a change of ours, say, that had no answer
            return None if changed or dirty or doubted else child.attributes

        return known

    def _over(self, parent: Inode, name: bytes) -> Over:
        """The same for the new name of a rename, with what we asked for by it since: an open that empties the
        file, sent again, may reach the file that has the name by then."""
        child = self._child(parent, name)
        if child is None:
            return nothing_known
        known, epoch, doubted = self._known(parent, name), child.epoch, child.expires == 0.0

        def over() -> Attributes | Changed | None:
            under_way = path_requests.mutation_under_way(self._tree, child) is not None
            without_answer = child.expires == 0.0 and not doubted
            return Changed.BY_US if under_way or without_answer or child.epoch != epoch else known()

        return over
