"""Inodes of the simulated server's file system, and the records of what became of them."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

LOGIN = 1000
"""The uid and gid of the session at the server."""

OTHER = "other"
"""Who changes what is not the mount."""


class NameChange(NamedTuple):
    """One name of a directory began to lead to ``node``; None: to nothing."""

    seq: int
    at: float
    by: str
    node: Node | None
    source: tuple[Node, bytes] | None = None
    """The name it was renamed or linked from: who believed something of that believes it of this."""


class Version(NamedTuple):
    """What a node was from ``seq`` on."""

    seq: int
    at: float
    by: str
    mode: int
    size: int
    mtime: int
    content: bytes


class Node:
    """An inode. ``names`` of a directory lead to others; ``logs`` is the history of each name it ever had."""

    __slots__ = (
        "atime",
        "content",
        "durable",
        "durable_seq",
        "gid",
        "logs",
        "mode",
        "mtime",
        "names",
        "nlink",
        "number",
        "parent",
        "target",
        "uid",
        "versions",
    )

    def __init__(self, number: int, mode: int, now: int) -> None:
        self.number = number
        self.mode = mode
        self.uid = self.gid = LOGIN
        self.atime = self.mtime = now
        self.nlink = 2 if stat.S_ISDIR(mode) else 1
        self.content = b""
        self.durable: tuple[bytes, int] = (b"", now)
        self.durable_seq = 0
        """The version that FSYNC brought to disk."""
        self.target = b""
        self.parent: Node | None = None
        self.names: dict[bytes, Node] = {}
        self.logs: dict[bytes, list[NameChange]] = {}
        self.versions: list[Version] = []

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def size(self) -> int:
        if self.is_dir:
            return 4096
        return len(self.target) if self.is_link else len(self.content)

    def __repr__(self) -> str:
        return f"#{self.number}"


def everything(root: Node) -> list[Node]:
    """All that has a name below ``root``, each once."""
    found: dict[int, Node] = {}
    queue = [root]
    for node in queue:
        if node.number not in found:
            found[node.number] = node
            queue.extend(node.names.values())
    return list(found.values())


def failure(number: int) -> OSError:
    """An OSError as the system would raise it."""
    return OSError(number, os.strerror(number))
