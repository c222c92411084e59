"""What must hold of the product's state and, at the end, of all the mount shows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tests.simulation.disk import Node
from tests.simulation.files_oracle import first_difference
from tests.simulation.kernel import KernelCore
from tests.simulation.oracle import Lie

if TYPE_CHECKING:
    from tests.simulation.world import Simulation


def check_tree(tree: Any, kernel: KernelCore) -> None:
    """INVARIANT lines of vfs, and what the kernel holds beside what the tree holds."""
    for number, node in kernel.inodes.items():
        inode = tree.find(number)
        if inode is None:
            raise Lie(f"the kernel holds inode {number}, which the tree has forgotten")
        counted = kernel.under_way or number == 1 or any(one == number for one, _ in kernel.forgotten)
        if not counted and inode.lookups != node.lookups:
            raise Lie(f"inode {number}: {inode.lookups} lookups counted, the kernel has {node.lookups}")
        for parent, name in inode.names():
            if parent.directory is None or parent.directory.children.get(name) is not inode:
                raise Lie(f"inode {number} stands for {name!r} in {parent.number}, which leads elsewhere")
        if inode.directory is not None:
            for name, child in inode.directory.children.items():
                if (inode, name) not in child.names():
                    raise Lie(f"{name!r} in inode {number} leads to an inode that has another name")


async def compare(simulation: Simulation) -> None:
    """After every lease: each directory, file and attribute through the mount is as on the disk."""
    program = simulation.programs["A"]
    kernel = simulation.kernel
    queue: list[tuple[Node, list[bytes]]] = [(simulation.oracle.disk.find(b"/m"), [])]
    for directory, parts in queue:
        opened = await kernel.opendir(kernel.root, parts)
        told: list[bytes] = []
        while names := await kernel.getdents(opened, 32768):
            told += [name for name, _ in names if name not in (b".", b"..")]
        await kernel.closedir(opened)
        if sorted(told) != sorted(directory.names):
            missed, extra = set(directory.names) - set(told), set(told) - set(directory.names)
            raise Lie(
                f"at the end /{b'/'.join(parts).decode()} lacks {sorted(missed)[:5]}, "
                f"shows {sorted(extra)[:5]}"
            )
        for name, node in list(directory.names.items()):
            path = [*parts, name]
            await _compare_one(simulation, node, path)
            if node.is_dir:
                queue.append((node, path))
    simulation._check()
    del program


async def _compare_one(simulation: Simulation, node: Node, path: list[bytes]) -> None:
    kernel = simulation.kernel
    text = b"/".join(path).decode()
    try:
        shown = await kernel.stat(kernel.root, path)
    except OSError as problem:
        raise Lie(f"at the end stat of {text}: {problem}") from None
    if node.is_link and await kernel.readlink(kernel.root, path) != node.target:
        raise Lie(f"at the end {text} leads elsewhere than to {node.target!r}")
    if not node.is_file:
        return
    twins = simulation.oracle.twins.of(node)
    there = {(one.size, one.mode, one.mtime) for one in twins}
    if (shown.size, shown.mode, shown.mtime) not in there:
        raise Lie(
            f"at the end {text} shows size {shown.size}, mode {shown.mode:o}, mtime {shown.mtime}; "
            f"the server has {node.size}, {node.mode:o}, {node.mtime}"
        )
    try:
        file = await kernel.open(kernel.root, path, os.O_RDONLY)
        data = await kernel.read(file, 0, node.size + 1)
        await kernel.close(file)
    except OSError as problem:
        raise Lie(f"at the end a read of {text}: {problem}") from None
    same = any(data == twin.content for twin in twins)
    if not same and not simulation.oracle.track(node).mixed:
        at = first_difference(data, node.content)
        raise Lie(
            f"at the end {text} reads as {data[at : at + 16]!r}… at {at}, "
            f"the server has {node.content[at : at + 16]!r}"
        )
