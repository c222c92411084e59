"""One random program of system calls, for the model of the kernel beside the real one: the same outcomes?"""

from __future__ import annotations

import errno
import json
import os
import random
import stat
from typing import Any

from tests.simulation.disk import failure
from tests.simulation.programs import content, split

LINKS = ("l", "d/l", "m")
"""Names of symbolic links: the model does not follow them, so that only these calls use them, and list."""
NAMES = ("a", "b", "d", "d/a", "d/e", "d/e/f", "a/x", "missing/x")
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
VERBS = (
    "mkdir mkdir rmdir unlink rename rename link stat stat list open open open close pwrite pwrite pwrite "
    "pread pread ftruncate truncate fsync fstat chmod symlink readlink readlink"
)

Call = tuple[str, list[Any]]


def program(seed: int, count: int) -> list[Call]:
    """The calls of ``seed``."""
    rng = random.Random(seed)
    calls: list[Call] = []
    for index in range(count):
        verb = rng.choice(VERBS.split())
        name, other, slot = rng.choice(NAMES), rng.choice(NAMES), rng.choice("12")
        offset, size = rng.choice((0, 10, 5000, 200_000)), rng.choice((0, 1, 100, 5000, 70_000))
        arguments: dict[str, list[Any]] = {
            "rename": [name, other],
            "link": [name, other],
            "open": [slot, name, rng.choice(sorted(FLAGS))],
            "close": [slot],
            "fsync": [slot],
            "fstat": [slot],
            "pwrite": [slot, offset, str(index), size],
            "pread": [slot, offset, 100_000],
            "ftruncate": [slot, offset],
            "truncate": [name, offset],
            "chmod": [name, rng.choice((0o755, 0o700))],
            "symlink": [rng.choice(("a", "nowhere")), rng.choice(LINKS)],
            "readlink": [rng.choice((*LINKS, name))],
        }
        calls.append((verb, arguments.get(verb, [name])))
    return calls


class Local:
    """The calls on this machine's kernel, below ``root``."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.slots: dict[str, int] = {}

    def do(self, verb: str, arguments: list[Any]) -> Any:
        """The outcome: something to compare, or the errno."""
        try:
            return getattr(self, verb)(*arguments)
        except OSError as problem:
            return f"errno {problem.errno}"

    def finish(self) -> None:
        """Close what is open."""
        for fd in self.slots.values():
            os.close(fd)

    def at(self, name: str) -> str:
        return f"{self.root}/{name}"

    def mkdir(self, name: str) -> None:
        os.mkdir(self.at(name))

    def rmdir(self, name: str) -> None:
        os.rmdir(self.at(name))

    def unlink(self, name: str) -> None:
        os.unlink(self.at(name))

    def rename(self, old: str, new: str) -> None:
        os.rename(self.at(old), self.at(new))

    def link(self, old: str, new: str) -> None:
        os.link(self.at(old), self.at(new))

    def symlink(self, target: str, name: str) -> None:
        os.symlink(target, self.at(name))

    def readlink(self, name: str) -> str:
        return os.readlink(self.at(name))

    def chmod(self, name: str, mode: int) -> None:
        os.chmod(self.at(name), mode)

    def truncate(self, name: str, size: int) -> None:
        os.truncate(self.at(name), size)

    def stat(self, name: str) -> Any:
        return _shown(os.lstat(self.at(name)))

    def list(self, name: str) -> Any:
        return sorted(os.listdir(self.at(name)))

    def open(self, slot: str, name: str, how: str) -> None:
        self.close(slot)
        fd = os.open(self.at(name), FLAGS[how], 0o644)
        if stat.S_ISDIR(os.fstat(fd).st_mode):  # the model reads directories by opendir only
            os.close(fd)
            raise failure(errno.EISDIR)
        self.slots[slot] = fd

    def close(self, slot: str) -> None:
        if slot in self.slots:
            os.close(self.slots.pop(slot))

    def fsync(self, slot: str) -> None:
        if slot in self.slots:
            os.fsync(self.slots[slot])

    def fstat(self, slot: str) -> Any:
        return _shown(os.fstat(self.slots[slot])) if slot in self.slots else None

    def pwrite(self, slot: str, offset: int, tag: str, size: int) -> Any:
        return os.pwrite(self.slots[slot], content(tag, size), offset) if slot in self.slots else None

    def pread(self, slot: str, offset: int, size: int) -> Any:
        return _digest(os.pread(self.slots[slot], size, offset)) if slot in self.slots else None

    def ftruncate(self, slot: str, size: int) -> None:
        if slot in self.slots:
            os.ftruncate(self.slots[slot], size)


class Simulated:
    """The same on the model."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.root = kernel.root
        self.slots: dict[str, Any] = {}

    async def do(self, verb: str, arguments: list[Any]) -> Any:
        """As ``Local.do``."""
        try:
            if verb in ("mkdir", "rmdir", "unlink", "rename", "link"):
                await getattr(self.kernel, verb)(self.root, *map(split, arguments))
                return None
            if verb in ("chmod", "truncate"):
                await getattr(self.kernel, verb)(self.root, split(arguments[0]), arguments[1])
                return None
            return await getattr(self, verb)(*arguments)
        except OSError as problem:
            return f"errno {problem.errno}"

    async def symlink(self, target: str, name: str) -> None:
        await self.kernel.symlink(self.root, split(name), target.encode())

    async def readlink(self, name: str) -> str:
        return (await self.kernel.readlink(self.root, split(name))).decode()

    async def stat(self, name: str) -> Any:
        shown = await self.kernel.stat(self.root, split(name))
        return _short(shown.mode, shown.size, shown.nlink)

    async def list(self, name: str) -> Any:
        opened = await self.kernel.opendir(self.root, split(name))
        told = []
        while names := await self.kernel.getdents(opened, 4096):
            told += [entry.decode() for entry, _ in names if entry not in (b".", b"..")]
        await self.kernel.closedir(opened)
        return sorted(told)

    async def open(self, slot: str, name: str, how: str) -> None:
        await self.close(slot)
        self.slots[slot] = await self.kernel.open(self.root, split(name), FLAGS[how])

    async def close(self, slot: str) -> None:
        if slot in self.slots:
            await self.kernel.close(self.slots.pop(slot))

    async def fsync(self, slot: str) -> None:
        if slot in self.slots:
            await self.kernel.fsync(self.slots[slot])

    async def fstat(self, slot: str) -> Any:
        if slot not in self.slots:
            return None
        shown = await self.kernel.fstat(self.slots[slot])
        return _short(shown.mode, shown.size, shown.nlink)

    async def pwrite(self, slot: str, offset: int, tag: str, size: int) -> Any:
        if slot not in self.slots:
            return None
        return await self.kernel.write(self.slots[slot], offset, content(tag, size))

    async def pread(self, slot: str, offset: int, size: int) -> Any:
        if slot not in self.slots:
            return None
        return _digest(await self.kernel.read(self.slots[slot], offset, size))

    async def ftruncate(self, slot: str, size: int) -> None:
        file = self.slots.get(slot)
        if file is not None:
            if file.flags & os.O_ACCMODE == os.O_RDONLY:
                raise failure(errno.EINVAL)
            await self.kernel.ftruncate(file, size)


def _shown(found: os.stat_result) -> list[int]:
    return _short(found.st_mode, found.st_size, found.st_nlink)


def _short(mode: int, size: int, links: int) -> list[int]:
    """What has to agree: of a directory its size and links are the server's own."""
    directory = stat.S_ISDIR(mode)
    return [mode, 0 if directory else size, 0 if directory else links]


def _digest(data: bytes) -> list[Any]:
    return [len(data), sum(data) % 65521, data[:16].decode("latin-1")]


def as_json(outcomes: list[Any]) -> str:
    """For another process."""
    return json.dumps(outcomes)
