"""The server's file system in memory, with its history: who led where when, and what was in it.

POSIX as the sftp-server's calls see it; errors are OSError. Everything that changes is noted with a number
that only grows (``seq``), the time, and who did it, so that any answer can be held against what was true.
Synchronous; one object a run.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable

from tests.simulation.nodes import LOGIN, OTHER, NameChange, Node, Version, everything, failure

__all__ = ["LOGIN", "OTHER", "Disk", "NameChange", "Node", "Version", "everything", "failure"]


class Disk:
    """See the module. ``by`` says who does what comes next; ``noticed`` is told of each change as
    (verb, node, details) just after it was made."""

    def __init__(self, now: Callable[[], float], server_time: Callable[[], float]) -> None:
        self.now = now
        self.seconds = server_time
        self.seq = 0
        self.by = OTHER
        self.noticed: Callable[..., None] = lambda verb, node, **details: None
        self.committed = 0
        """The last change of a name that is on the disk for sure."""
        self._number = 1
        self.root = self._node(stat.S_IFDIR | 0o755)
        self.root.parent = self.root

    # -- history ---------------------------------------------------------------

    def _node(self, mode: int) -> Node:
        node = Node(self._number, mode, int(self.seconds()))
        self._number += 1
        self.note(node)
        return node

    def note(self, node: Node) -> None:
        """``node`` is another than before."""
        self.seq += 1
        node.versions.append(
            Version(self.seq, self.now(), self.by, node.mode, node.size, node.mtime, node.content)
        )

    def _lead(
        self, directory: Node, name: bytes, node: Node | None, source: tuple[Node, bytes] | None = None
    ) -> None:
        """``name`` leads to ``node`` from now on."""
        if node is None:
            directory.names.pop(name, None)
        else:
            directory.names[name] = node
            if node.is_dir:
                node.parent = directory
        self.seq += 1
        directory.logs.setdefault(name, []).append(NameChange(self.seq, self.now(), self.by, node, source))
        directory.mtime = int(self.seconds())
        self.note(directory)

    # -- paths -----------------------------------------------------------------

    def find(self, path: bytes, follow: bool = True, depth: int = 0) -> Node:
        """The node at an absolute ``path``."""
        if path.endswith(b"/") and path.strip(b"/"):
            follow = True
        parent, name = self.split(path, depth)
        if not name:
            return self.root
        node = self.child(parent, name)
        if stat.S_ISLNK(node.mode) and follow:
            return self._follow(parent, node, depth)
        return node

    def child(self, directory: Node, name: bytes) -> Node:
        """What ``name`` leads to."""
        if not directory.is_dir:
            raise failure(errno.ENOTDIR)
        self.permit(directory, 1)
        if name == b".":
            return directory
        if name == b"..":
            assert directory.parent is not None
            return directory.parent
        node = directory.names.get(name)
        if node is None:
            raise failure(errno.ENAMETOOLONG if len(name) > 255 else errno.ENOENT)
        return node

    def _follow(self, parent: Node, link: Node, depth: int) -> Node:
        if depth > 8:
            raise failure(errno.ELOOP)
        target = link.target
        if not target.startswith(b"/"):
            target = self.path_of(parent) + b"/" + target
        return self.find(target, True, depth + 1)

    def split(self, path: bytes, depth: int = 0) -> tuple[Node, bytes]:
        """The directory of ``path`` and its last name; b"" for the root."""
        parts = [part for part in path.split(b"/") if part]
        node = self.root
        for part in parts[:-1]:
            found = self.child(node, part)
            node = self._follow(node, found, depth) if stat.S_ISLNK(found.mode) else found
        if not node.is_dir:
            raise failure(errno.ENOTDIR)
        return node, parts[-1] if parts else b""

    def path_of(self, directory: Node) -> bytes:
        """Where a directory is now."""
        parts: list[bytes] = []
        while directory is not self.root:
            assert directory.parent is not None
            parts.append(next((n for n, node in directory.parent.names.items() if node is directory), b"?"))
            directory = directory.parent
        return b"/" + b"/".join(reversed(parts))

    def permit(self, node: Node, want: int) -> None:
        """EACCES where the login may not: 4 read, 2 write, 1 enter."""
        if (node.mode >> 6) & want != want:
            raise failure(errno.EACCES)

    def _place(self, path: bytes) -> tuple[Node, bytes]:
        """Where a name may be changed."""
        directory, name = self.split(path)
        if not name or name in (b".", b".."):
            raise failure(errno.EBUSY)
        self.permit(directory, 1)
        return directory, name

    @staticmethod
    def _fitting(*names: bytes) -> None:
        """ENAMETOOLONG for a name no file can have."""
        if any(len(name) > 255 for name in names):
            raise failure(errno.ENAMETOOLONG)

    # -- names -----------------------------------------------------------------

    def open(
        self,
        path: bytes,
        *,
        write: bool,
        read: bool,
        create: bool,
        exclusive: bool,
        trunc: bool,
        mode: int,
        depth: int = 0,
    ) -> Node:
        """open(2) as far as the server's file system has a part in it."""
        directory, name = self.split(path)
        node = directory.names.get(name) if name else self.root
        if node is not None and stat.S_ISLNK(node.mode) and not (create and exclusive):
            if depth > 8:
                raise failure(errno.ELOOP)
            there = (
                node.target if node.target.startswith(b"/") else self.path_of(directory) + b"/" + node.target
            )
            rest = {"write": write, "read": read, "create": create, "trunc": trunc, "mode": mode}
            return self.open(there, exclusive=exclusive, depth=depth + 1, **rest)
        if node is None:
            self._fitting(name)
            self.permit(directory, 1)
            if not create:
                raise failure(errno.ENOENT)
            self.permit(directory, 3)
            return self.make(directory, name, stat.S_IFREG | (mode & 0o7777 & ~0o022))
        if create and exclusive:
            raise failure(errno.EEXIST)
        if node.is_dir and (write or create):
            raise failure(errno.EISDIR)
        self.permit(node, (4 if read else 0) | (2 if write or trunc else 0))
        if trunc and node.is_file:
            self.truncate(node, 0)
        return node

    def make(self, directory: Node, name: bytes, mode: int, target: bytes = b"") -> Node:
        """A new node under a name known to be free."""
        node = self._node(mode)
        node.target = target
        self._lead(directory, name, node)
        self.noticed("make", node, directory=directory, name=name)
        return node

    def mkdir(self, path: bytes, mode: int) -> Node:
        directory, name = self._place(path)
        self._fitting(name)
        if name in directory.names:
            raise failure(errno.EEXIST)
        self.permit(directory, 3)
        return self.make(directory, name, stat.S_IFDIR | (mode & 0o7777 & ~0o022))

    def symlink(self, target: bytes, path: bytes) -> Node:
        directory, name = self._place(path)
        self._fitting(name)
        if name in directory.names:
            raise failure(errno.EEXIST)
        self.permit(directory, 3)
        return self.make(directory, name, stat.S_IFLNK | 0o777, target)

    def link(self, existing: bytes, path: bytes) -> None:
        node = self.find(existing, follow=False)
        directory, name = self._place(path)
        self._fitting(name)
        if name in directory.names:
            raise failure(errno.EEXIST)
        if node.is_dir:
            raise failure(errno.EPERM)
        self.permit(directory, 3)
        node.nlink += 1
        self._lead(directory, name, node, self.split(existing))
        self.noticed("link", node, directory=directory, name=name)

    def remove(self, path: bytes) -> None:
        directory, name = self._place(path)
        node = self.child(directory, name)
        if node.is_dir:
            raise failure(errno.EISDIR)
        self.permit(directory, 3)
        node.nlink -= 1
        self._lead(directory, name, None)
        self.noticed("remove", node, directory=directory, name=name)

    def rmdir(self, path: bytes) -> None:
        directory, name = self._place(path)
        node = self.child(directory, name)
        if not node.is_dir:
            raise failure(errno.ENOTDIR)
        if node.names:
            raise failure(errno.ENOTEMPTY)
        self.permit(directory, 3)
        node.nlink = 0
        self._lead(directory, name, None)
        self.noticed("rmdir", node, directory=directory, name=name)

    def rename(self, old: bytes, new: bytes) -> None:
        """rename(2)."""
        source_dir, source_name = self._place(old)
        target_dir, target_name = self._place(new)
        self._fitting(source_name)
        node = self.child(source_dir, source_name)
        self._fitting(target_name)
        there = target_dir.names.get(target_name)
        if there is node:
            return
        above: Node = target_dir
        while node.is_dir:
            if above is node:
                raise failure(errno.EINVAL)
            if above is self.root:
                break
            assert above.parent is not None
            above = above.parent
        if there is not None:
            if there.is_dir and not node.is_dir:
                raise failure(errno.EISDIR)
            if node.is_dir and not there.is_dir:
                raise failure(errno.ENOTDIR)
            if there.names:
                raise failure(errno.ENOTEMPTY)
        self.permit(source_dir, 3)
        self.permit(target_dir, 3)
        if there is not None:
            there.nlink = 0 if there.is_dir else there.nlink - 1
        self._lead(source_dir, source_name, None)
        self._lead(target_dir, target_name, node, (source_dir, source_name))
        self.noticed(
            "rename",
            node,
            directory=source_dir,
            name=source_name,
            to=target_dir,
            to_name=target_name,
            over=there,
        )

    # -- content and attributes --------------------------------------------------

    def write(self, node: Node, offset: int, data: bytes) -> None:
        """pwrite(2); what lies between reads as zeros."""
        old = node.content
        if offset > len(old):
            old += bytes(offset - len(old))
        view = memoryview(old)
        node.content = b"".join((view[:offset], data, view[offset + len(data) :]))
        self._modified(node)
        self.noticed("write", node, offset=offset, data=data)

    def truncate(self, node: Node, size: int) -> None:
        if not node.is_file:
            raise failure(errno.EISDIR if node.is_dir else errno.EINVAL)
        node.content = node.content[:size] + bytes(max(0, size - len(node.content)))
        self._modified(node)
        self.noticed("truncate", node, size=size)

    def _modified(self, node: Node) -> None:
        node.mtime = int(self.seconds())
        self.note(node)

    def chmod(self, node: Node, mode: int) -> None:
        node.mode = stat.S_IFMT(node.mode) | (mode & 0o7777)
        self.note(node)
        self.noticed("chmod", node, mode=mode & 0o7777)

    def utime(self, node: Node, atime: int, mtime: int) -> None:
        node.atime, node.mtime = atime, mtime
        self.note(node)
        self.noticed("utime", node, mtime=mtime)

    def chown(self, node: Node, uid: int, gid: int) -> None:
        if (uid, gid) != (node.uid, node.gid):
            raise failure(errno.EPERM)

    def fsync(self, node: Node) -> None:
        node.durable = (node.content, node.mtime)
        node.durable_seq = node.versions[-1].seq
        self.committed = self.seq

    # -- what a lost power leaves (``power``) --------------------------------------

    def restore_name(self, directory: Node, name: bytes, node: Node | None) -> None:
        """A name leads again to what it led to before."""
        if directory.names.get(name) is not node:
            self._lead(directory, name, node)
            if node is not None:
                self.noticed("rename", node, to=directory, to_name=name)

    def count_links(self) -> None:
        """After names were restored."""
        named = everything(self.root)
        counted = {child: 0 for directory in named for child in directory.names.values()}
        for directory in named:
            for child in directory.names.values():
                counted[child] += 1
        for node, count in counted.items():
            node.nlink = 2 if node.is_dir else count

    def restore_content(self, node: Node, content: bytes, mtime: int) -> None:
        node.content, node.mtime = content, mtime
        self.note(node)
