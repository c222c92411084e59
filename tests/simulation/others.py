"""Another client, who works on the server's disk itself."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tests.simulation.disk import OTHER, Disk, Node
from tests.simulation.programs import content


class OtherClient:
    """Its changes are atomic; what cannot be done is not done."""

    def __init__(self, disk: Disk, root: Node, where: bytes) -> None:
        self.disk = disk
        self.root = root
        self.where = where

    def do(self, verb: str, *arguments: Any) -> None:
        self.disk.by = OTHER
        with suppress(OSError):
            getattr(self, verb)(*arguments)

    def _path(self, path: str) -> bytes:
        return self.where + b"/" + path.encode()

    def _open(self, path: str, trunc: bool = False) -> Node:
        return self.disk.open(
            self._path(path), write=True, read=True, create=True, exclusive=False, trunc=trunc, mode=0o644
        )

    def mkdir(self, path: str) -> None:
        self.disk.mkdir(self._path(path), 0o755)

    def put(self, path: str, tag: str, size: int) -> None:
        """Empty and write in place."""
        self.disk.write(self._open(path, trunc=True), 0, content("x" + tag, size))

    def poke(self, path: str, tag: str, size: int) -> None:
        """Write into the middle."""
        node = self._open(path)
        self.disk.write(node, node.size // 2, content("x" + tag, size))

    def scribble(self, path: str, offset: int, tag: str, size: int) -> None:
        """Write anywhere."""
        self.disk.write(self._open(path), offset, content("x" + tag, size))

    def append(self, path: str, tag: str, size: int) -> None:
        node = self._open(path)
        self.disk.write(node, node.size, content("x" + tag, size))

    def replace(self, path: str, tag: str, size: int) -> None:
        """A new file under the name."""
        self.put(".new", tag, size)
        self.disk.rename(self._path(".new"), self._path(path))

    def symlink(self, target: str, path: str) -> None:
        """A link under the name, in the place of what was there."""
        self.disk.symlink(target.encode(), self._path(".newlink"))
        self.disk.rename(self._path(".newlink"), self._path(path))

    def remove(self, path: str, *_: Any) -> None:
        self.disk.remove(self._path(path))

    def rename(self, old: str, new: str) -> None:
        self.disk.rename(self._path(old), self._path(new))

    def fill(self, path: str, prefix: str, count: int) -> None:
        """Many small files."""
        for index in range(count):
            self.put(f"{path}/{prefix}{index}", prefix, 20)
