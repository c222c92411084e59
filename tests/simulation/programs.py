"""Programs: the verbs of a scenario as system calls, each answer held against the oracle."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from tests.simulation.dates import Dating
from tests.simulation.disk import Node
from tests.simulation.files_oracle import FileNotes
from tests.simulation.kernel import KInode, Process
from tests.simulation.kernel_files import Kernel, KFile
from tests.simulation.oracle import Call, Lie, Oracle
from tests.simulation.twins import looked_alike

GOING = ("unlink", "rmdir", "symlink")
"""What is taken for done, its reply lost, where the name is gone, or is such a link: another client may have
been first."""

UNSENT = 3.0
"""Seconds for which what was written may not be on the server yet (D6)."""

NEVER = 400.0
"""Seconds after which a call is taken to hang."""


def split(path: str) -> list[bytes]:
    return [part.encode() for part in path.split("/") if part]


def content(tag: str, size: int) -> bytes:
    """``size`` bytes that show whose they are and where they belong: cells of 16 bytes, ``tag`` and the
    number of the cell."""
    global _cells
    if len(_cells) < size:
        _cells = b"".join(b"%8s%07x\n" % (b"", index) for index in range(-(-size // CELL)))
    data = bytearray(_cells[:size])
    for place, byte in enumerate(tag.encode()[:8]):
        data[place::CELL] = bytes((byte,)) * len(range(place, size, CELL))
    return bytes(data)


CELL = 16
_cells = b""
"""The longest content so far, without a tag."""


class Killed(Exception):
    """The program was killed in a call: nobody looks at what it came to."""


class Program:
    """One process on the mount. ``slots`` are its open files, by the name the scenario gives them."""

    def __init__(self, name: str, kernel: Kernel, oracle: Oracle, root: Node) -> None:
        self.name = name
        self.kernel = kernel
        self.oracle = oracle
        self.root = root
        self.base: KInode = kernel.root
        self.bases: set[Node] = {root}
        self.slots: dict[str, tuple[KFile, FileNotes]] = {}
        self.count = 0
        self.process = Process()
        self.opened: dict[KFile, FileNotes] = {}
        """All that is to be closed as it ends."""

    # -- one call ------------------------------------------------------------------

    async def call(self, call: Call, work: Awaitable[Any]) -> tuple[Any, OSError | None]:
        """Do it within its time; the result or the error."""
        self.count += 1
        problem: OSError | None = None
        result = None
        with trio.move_on_after(NEVER) as scope:
            try:
                result = await work
            except OSError as failed:
                problem = failed
        if scope.cancelled_caught:
            raise Lie(f"{call} hangs (P4)")
        self.oracle.end(call, problem)
        if self.process.killed:
            self._interrupted(call, result)
            raise Killed
        return result, problem

    def _interrupted(self, call: Call, result: Any) -> None:
        """Nobody hears what ``call`` came to: what it wrote may be there in part."""
        notes = call.details.get("file")
        if isinstance(result, KFile):  # which the program never had
            self.opened[result] = self.oracle.opened(call, result.flags)
        elif notes is not None:
            for node in notes.nodes:
                self.oracle.track(node).exact = False

    def begin(self, verb: str, *paths: str, **details: Any) -> Call:
        return self.oracle.begin(verb, self.bases, *map(split, paths), **details)

    async def named(
        self, verb: str, paths: tuple[str, ...], work: Awaitable[Any], wanted: Any, **details: Any
    ) -> Any:
        """A call that changes names; ``wanted(call)`` tells which outcomes (0 or errno) could be."""
        call = self.begin(verb, *paths, **details)
        result, problem = await self.call(call, work)
        possible = wanted(call)
        if problem is None:
            if 0 not in possible and not call.done:
                raise Lie(f"{call} returned 0; possible were {_named(possible)}")
            if not call.done and not (
                verb in GOING and self.oracle.cut_within(call) and self.oracle.moved_by_others(call)
            ):
                raise Lie(f"{call} returned 0 and nothing was done on the server (D1)")
        elif problem.errno not in possible:
            self.oracle.explain(call, problem)
        return result

    # -- which outcomes could be -----------------------------------------------------

    def _last(self, call: Call, index: int = 0) -> tuple[set[Any], set[int]]:
        """What the last name may lead to (nodes, None), and the errnos on the way."""
        found: set[Any] = set()
        errors: set[int] = set()
        low = self.oracle.history.low(call.start)
        without = frozenset(seq for _, _, _, seq in call.done)
        for node in self.oracle.reach(call, index, parent=True):
            if isinstance(node, int):
                errors.add(node)
            elif not node.is_dir:
                errors.add(errno.ENOTDIR)
            else:
                found |= self.oracle.history.values(node, call.paths[index][-1], low, call.moment, without)
                if not node.nlink:
                    errors.add(errno.ENOENT)
        return found, errors

    def _making(self, call: Call) -> set[int]:
        found, errors = self._last(call)
        return errors | {0 if node is None else errno.EEXIST for node in found}

    def _linking(self, call: Call) -> set[int]:
        found, errors = self._last(call, 1)
        for node in self.oracle.reach(call):
            errors.add(node if isinstance(node, int) else errno.EPERM if node.is_dir else 0)
        return errors | {0 if node is None else errno.EEXIST for node in found}

    def _removing(self, call: Call) -> set[int]:
        found, errors = self._last(call)
        for node in found:
            if node is None:
                errors.add(errno.ENOENT)
            elif call.verb == "unlink":
                errors.add(errno.EISDIR if node.is_dir else 0)
            elif not node.is_dir:
                errors.add(errno.ENOTDIR)
            else:
                errors |= self._emptiness(node, call)
        return errors

    def _emptiness(self, node: Node, call: Call) -> set[int]:
        low = self.oracle.history.low(call.start)
        empty = {0}
        for name in node.logs:
            values = self.oracle.history.values(node, name, low, call.moment)
            if values != {None}:
                empty.add(errno.ENOTEMPTY)
            if None not in values:
                return {errno.ENOTEMPTY}
        return empty

    def _renaming(self, call: Call) -> set[int]:
        sources, errors = self._last(call)
        targets, more = self._last(call, 1)
        errors |= more
        for node in sources:
            if node is None:
                errors.add(errno.ENOENT)
                continue
            for over in targets:
                if over is not None and over.is_dir and self._above(over, call):
                    errors.add(errno.ENOTEMPTY)
                if over is None or over is node:
                    errors.add(0)
                elif over.is_dir != node.is_dir:
                    errors.add(errno.ENOTDIR if node.is_dir else errno.EISDIR)
                else:
                    errors |= self._emptiness(over, call) if over.is_dir else {0}
            if node.is_dir:
                errors |= {errno.EINVAL, errno.ENOTEMPTY} if self._nested(call) else set()
        if sources & targets - {None}:
            call.details["changes"] = False
        return errors

    def _above(self, directory: Node, call: Call) -> bool:
        """Whether what is renamed may be below ``directory``: ENOTEMPTY then, of a file as well."""
        for node in self.oracle.reach(call, parent=True):
            while isinstance(node, Node) and node is not directory and node.parent is not node:
                node = node.parent
            if node is directory:
                return True
        return False

    @staticmethod
    def _nested(call: Call) -> bool:
        return True

    # -- names -----------------------------------------------------------------------

    async def mkdir(self, path: str) -> None:
        await self.named(
            "mkdir", (path,), self.kernel.mkdir(self.base, split(path)), self._making, mode=0o755
        )

    async def symlink(self, target: str, path: str) -> None:
        work = self.kernel.symlink(self.base, split(path), target.encode())
        await self.named("symlink", (path,), work, self._making, target=target.encode())

    async def readlink(self, path: str) -> None:
        call = self.begin("readlink", path)
        told, problem = await self.call(call, self.kernel.readlink(self.base, split(path)))
        possible = self.oracle.reach(call)
        if problem is None:
            targets = {node.target for node in possible if isinstance(node, Node) and node.is_link}
            if told not in targets:
                raise Lie(f"{call} shows {told!r}; possible were {sorted(targets) or _named(possible)}")
            return
        kinds = {errno.EINVAL if isinstance(node, Node) and not node.is_link else node for node in possible}
        if problem.errno not in kinds:
            self.oracle.explain(call, problem)

    async def rmdir(self, path: str) -> None:
        await self.named("rmdir", (path,), self.kernel.rmdir(self.base, split(path)), self._removing)

    async def unlink(self, path: str) -> None:
        await self.named("unlink", (path,), self.kernel.unlink(self.base, split(path)), self._removing)

    async def link(self, path: str, new: str) -> None:
        await self.named(
            "link", (path, new), self.kernel.link(self.base, split(path), split(new)), self._linking
        )

    async def rename(self, old: str, new: str) -> None:
        call = self.begin("rename", old, new)
        _, problem = await self.call(call, self.kernel.rename(self.base, split(old), split(new)))
        possible = self._renaming(call)
        if problem is not None:
            if problem.errno not in possible:
                self.oracle.explain(call, problem)
        elif not call.done and call.details.get("changes", True) and not self._looks_done(call):
            raise Lie(f"{call} returned 0 and nothing was done on the server (D1)")

    def _looks_done(self, call: Call) -> bool:
        """Whether the names led to what cannot be told apart. Or the reply of a rename may have been lost of
        a name that another client removed, and what has the new name looks like what had it: nobody can
        tell this from a rename that was done."""
        sources, targets = self._last(call)[0] - {None}, self._last(call, 1)[0] - {None}
        if any(not self.oracle.twins.of(one).isdisjoint(targets) for one in sources):
            return True  # taken for two names of one file, for which there is nothing to do
        if not (self.oracle.cut_within(call) and self.oracle.moved_by_others(call)):
            return False
        return any(looked_alike(one, other) for one in sources for other in targets)

    async def stat(self, path: str) -> None:
        await self._stat(path)

    async def same(self, path: str, other: str) -> None:
        """Names of one file, made here alone, show one inode number (A14)."""
        one, two = await self._stat(path), await self._stat(other)
        if one is None or two is None or one[0] == two[0] or one[1] != two[1]:
            return
        if self.oracle.linked_here(one[1]):
            raise Lie(f"{path} and {other} are names of one file, and inodes {one[0]} and {two[0]} (A14)")

    async def _stat(self, path: str) -> tuple[int, Node] | None:
        """The inode number shown, and of which file it surely is; None where that is not known."""
        call = self.begin("stat", path)
        shown, problem = await self.call(call, self.kernel.stat(self.base, split(path)))
        possible = self.oracle.reach(call)
        if problem is not None:
            if problem.errno not in possible:
                self.oracle.explain(call, problem)
            return None
        reasons = [self._unlike(node, shown, call) for node in possible if isinstance(node, Node)]
        if None not in reasons:
            what = "; ".join(str(reason) for reason in reasons) or f"possible were {_named(possible)}"
            raise Lie(f"{call} shows size {shown.size}, mode {shown.mode:o}: {what}")
        sure = next(iter(possible)) if len(possible) == 1 else None
        return (shown.ino, sure) if isinstance(sure, Node) and sure.is_file else None

    def _unlike(self, node: Node, shown: Any, call: Call) -> str | None:
        """Why ``shown`` cannot be ``node``; None where it can."""
        if stat.S_IFMT(shown.mode) != stat.S_IFMT(node.mode):
            return f"{node} has another type"
        if not node.is_file:
            return None
        track = self.oracle.track(node)
        if track.lossy:
            return None
        if track.exact and track.views:
            reason = track.dates.unlike_set(shown.mtime, call.moment)
            if reason is not None:
                return reason
            sizes = {len(view) for view in track.allowed(call.moment)}
            if shown.size in sizes or track.may_have(shown.size) or self.oracle.may_have_lost(node):
                return None
            return f"{node} has {sorted(sizes)} bytes by what programs wrote"
        if track.written_since(call.start - max(self.oracle.history.lease, UNSENT)):
            return None
        versions = self.oracle.history.versions(node, self.oracle.history.low(call.start))
        if any(version.size == shown.size for version in versions):
            return None
        return f"{node} had {[version.size for version in versions]} bytes"

    async def chmod(self, path: str, mode: int) -> None:
        await self._attribute("chmod", path, self.kernel.chmod(self.base, split(path), mode), mode)

    async def utime(self, path: str, when: int) -> None:
        await self._attribute("utime", path, self.kernel.utime(self.base, split(path), when), when)

    async def _attribute(self, verb: str, path: str, work: Awaitable[Any], value: int) -> None:
        call = self.begin(verb, path, value=value)
        dating = Dating(self.oracle, self._files(call)) if verb == "utime" else None
        _, problem = await self.call(call, work)
        known = self.oracle.modes if verb == "chmod" else self.oracle.times
        possible = self.oracle.reach(call)
        if dating is not None:
            dating.ended(self._files(call), value if problem is None else None)
        for node in possible:
            if isinstance(node, Node):
                known.setdefault(node, set()).add(value)
        if problem is not None and problem.errno not in possible:
            self.oracle.explain(call, problem)
        if problem is None and not any(isinstance(node, Node) for node in possible):
            raise Lie(f"{call} returned 0; possible were {_named(possible)}")

    def _files(self, call: Call) -> set[Node]:
        return {node for node in self.oracle.targets(call) if isinstance(node, Node) and node.is_file}

    async def truncate(self, path: str, size: int) -> None:
        call = self.begin("truncate", path, size=size)
        _, problem = await self.call(call, self.kernel.truncate(self.base, split(path), size))
        if problem is not None:
            possible = {
                errno.EISDIR if isinstance(n, Node) and n.is_dir else n for n in self.oracle.reach(call)
            }
            if problem.errno not in possible:
                self.oracle.explain(call, problem)

    async def list(self, path: str, room: int, pause: float) -> None:
        """Read a directory in pieces of ``room`` bytes, ``pause`` seconds apart."""
        call = self.begin("list", path)
        call.details["began"] = call.start
        told, problem = await self.call(call, self._list(split(path), room, pause, call))
        possible = self.oracle.reach(call)
        if problem is not None:
            kinds = {
                errno.ENOTDIR if isinstance(node, Node) and not node.is_dir else node for node in possible
            }
            gone = any(isinstance(node, Node) and not node.nlink for node in possible)
            if problem.errno not in kinds and not (gone and problem.errno == errno.ESTALE):
                self.oracle.explain(call, problem)
            return
        reasons = [
            self._misread(node, told, call) for node in possible if isinstance(node, Node) and node.is_dir
        ]
        if None not in reasons:
            raise Lie(f"{call}: {'; '.join(map(str, reasons)) or 'there was no such directory'}")

    async def _list(self, parts: list[bytes], room: int, pause: float, call: Call) -> list[bytes]:
        opened = await self.kernel.opendir(self.base, parts)
        told: list[bytes] = []
        try:
            while names := await self.kernel.getdents(opened, room):
                self.count += 1
                told += [name for name, _ in names if name not in (b".", b"..")]
                if pause:
                    await trio.sleep(pause)
                    call.start += pause
        finally:
            with trio.CancelScope(shield=True):
                await self.kernel.closedir(opened)
        return told

    def _misread(self, node: Node, told: list[bytes], call: Call) -> str | None:
        low = self.oracle.history.low(call.details["began"])
        if len(set(told)) < len(told):
            return f"names told twice: {sorted({name for name in told if told.count(name) > 1})[:5]} (N14)"
        missed = []
        for name in node.logs:
            values = self.oracle.history.values(node, name, low, call.moment)
            if name in told and values == {None}:
                return f"{name!r} is told, and was not there (N14)"
            if name not in told and None not in values:
                missed.append(name)
        if missed:
            return f"{len(missed)} of {len(node.names)} names are missed: {sorted(missed)[:5]} (N14)"
        unknown = [name for name in told if name not in node.logs]
        return f"{unknown[:5]} never were there" if unknown else None

    async def chdir(self, path: str) -> None:
        """Work in a directory from now on, wherever it is renamed to."""
        call = self.begin("chdir", path)
        parts = split(path)
        work = self.kernel.retried(lambda reval: self.kernel.walk(self.kernel.root, parts, reval))
        call.bases = {self.root}
        node, problem = await self.call(call, work)
        if problem is not None or not node.is_dir:
            return
        found = {one for one in self.oracle.reach(call) if isinstance(one, Node) and one.is_dir}
        if found:
            node.opens += 1
            self.base.opens -= 1 if self.base is not self.kernel.root else 0
            self.base, self.bases = node, found


def _named(possible: set[Any]) -> str:
    return ", ".join(
        errno.errorcode.get(one, str(one)) if isinstance(one, int) and one else repr(one) for one in possible
    )


OpenWork = Callable[[], Awaitable[Any]]
FLAGS = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "r+": os.O_RDWR,
    "rw": os.O_RDWR | os.O_CREAT,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "x": os.O_RDWR | os.O_CREAT | os.O_EXCL,
    "s": os.O_RDWR | os.O_CREAT | os.O_SYNC,
    "d": os.O_RDWR | os.O_CREAT | os.O_DIRECT,
}
