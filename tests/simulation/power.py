"""The server's machine loses its power: what of its disk it has when it is back.

As ext4 has it, in the worst that may happen. Names come back as they were at some moment of the last
``JOURNAL`` seconds, all of one moment. A file comes back as it was at some moment since it was last brought
to disk (fsync@openssh.com, or ``WRITEBACK`` seconds); now and then with the times and size of now and pages
of then, which nobody can tell over SFTP.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from tests.simulation.disk import OTHER, Disk, Node, everything
from tests.simulation.nodes import NameChange, Version

JOURNAL = 5.0
"""Seconds after which the journal is written (ext4's commit=)."""

WRITEBACK = 35.0
"""Seconds after which the kernel writes what is dirty (dirty_expire_centisecs, dirty_writeback_centisecs)."""

PAGE = 4096


class Loss(NamedTuple):
    """``node`` came back as ``back``; ``mixed``: with pages of it only."""

    node: Node
    back: Version
    mixed: bool


def lose_power(disk: Disk, seed: int) -> list[Loss]:
    """The disk as it is when the machine is back, and which files lost something."""
    rng = random.Random(seed)
    disk.by = OTHER
    _lose_names(disk, rng)
    losses = [_lose_content(disk, node, rng) for node in everything(disk.root) if node.is_file]
    disk.committed = disk.seq
    return [loss for loss in losses if loss is not None]


def _lose_names(disk: Disk, rng: random.Random) -> None:
    since = disk.now() - JOURNAL
    recent = [
        (directory, name, change)
        for directory in everything(disk.root)
        for name, log in directory.logs.items()
        for change in log
        if change.seq > disk.committed and change.at >= since
    ]
    if not recent or rng.random() < 0.5:
        return
    kept = _before(rng.choice(recent)[2])
    places = {(directory, name): None for directory, name, change in recent if change.seq > kept}
    for directory, name in places:
        then = [change.node for change in directory.logs[name] if change.seq <= kept]
        disk.restore_name(directory, name, then[-1] if then else None)
    disk.count_links()


def _before(change: NameChange) -> int:
    """The number of the last change before ``change``; both of a rename's come and go together."""
    if change.source is not None:
        directory, name = change.source
        taken = [one for one in directory.logs[name] if one.seq < change.seq]
        if taken and taken[-1].node is None and (taken[-1].at, taken[-1].by) == (change.at, change.by):
            return taken[-1].seq - 1
    return change.seq - 1


def _lose_content(disk: Disk, node: Node, rng: random.Random) -> Loss | None:
    old = [version.seq for version in node.versions if version.at < disk.now() - WRITEBACK]
    base = max(node.durable_seq, old[-1] if old else 0)
    back = rng.choice([version for version in node.versions if version.seq >= base])
    mixed = rng.random() < 0.25
    content = back.content
    if mixed:
        content = b"".join(
            (back.content[at : at + PAGE] if rng.random() < 0.5 else b"").ljust(PAGE, b"\0")
            if at >= len(node.content) or rng.random() < 0.5
            else node.content[at : at + PAGE]
            for at in range(0, len(node.content), PAGE)
        )[: len(node.content)]
    if content == node.content and (mixed or back.mtime == node.mtime):
        return None
    disk.restore_content(node, content, node.mtime if mixed else back.mtime)
    return Loss(node, back, mixed)
