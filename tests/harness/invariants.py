"""The INVARIANT lines of ``vfs.tree.inode``, ``vfs.tree.inode_table`` and ``vfs.tree.leases``, asserted of a
whole tree.

True between any two steps of the loop, whatever is under way; for tests and simulations.
"""

from __future__ import annotations

from sftpfs.vfs.prefetch.traversal_order import sort_key
from sftpfs.vfs.tree.inode import Directory, Inode
from sftpfs.vfs.tree.inode_table import ROOT_NUMBER, bytes_of
from sftpfs.vfs.tree.tree import Tree


def check_invariants(tree: Tree) -> None:
    """AssertionError, with the name or number concerned, where one does not hold."""
    directories = _directories(tree)
    for inode, directory in directories.values():
        _check_directory(tree, inode, directory)
    _check_what_the_kernel_holds(tree)
    held = sum(bytes_of(inode) for inode in tree._by_number.values() if inode is not tree.root)
    assert tree.held_bytes == held, f"{tree.held_bytes} bytes held, should be {held}"
    assert tree.unreferenced == sum(directory.unreferenced for _, directory in directories.values())
    for number, (inode, directory) in directories.items():
        assert (tree._evictable.get(number) is inode) == (directory.unreferenced > 0), (
            f"{inode.name!r}: idle or not"
        )
    for number, name in tree.negatives._cache:
        if number in directories:
            assert name not in directories[number][1].children, f"{name!r} is there and missing"


def _directories(tree: Tree) -> dict[int, tuple[Inode, Directory]]:
    """All that are held, by whatever holds them."""
    found: dict[int, tuple[Inode, Directory]] = {}
    waiting = [tree.root, *tree._by_number.values(), *tree._evictable.values()]
    while waiting:
        inode = waiting.pop()
        if inode.directory is not None and inode.number not in found:
            found[inode.number] = inode, inode.directory
            waiting += inode.directory.children.values()
            if inode.parent is not None:
                waiting.append(inode.parent)
    return found


def _check_directory(tree: Tree, inode: Inode, directory: Directory) -> None:
    for name, child in directory.children.items():
        assert child.linked, f"{name!r} leads to what has no name"
        assert child.names().count((inode, name)) == 1, f"{name!r} is not a name of what it leads to"
        assert child.lookups == 0 or tree._by_number.get(child.number) is child, f"{name!r} cannot be found"
        assert name not in directory.unknown, f"{name!r} is there and unknown"
    unused = sum(child.lookups == 0 for child in directory.children.values())
    assert directory.unreferenced == unused, (
        f"{inode.name!r}: {directory.unreferenced} unused, should be {unused}"
    )
    assert directory.absent_until <= directory.complete_until, f"{inode.name!r} is complete for too short"
    assert directory.open_handles >= 0
    if directory.subdirectories is not None:
        inner = [child for child in directory.children.values() if child.directory is not None]
        listed, by_name, turnover = directory.subdirectories
        here, ordered = list(listed.after()), list(by_name.after())
        assert set(here) == set(ordered) <= set(inner), f"{inode.name!r}: subdirectories"
        if turnover == directory.subdirectory_changes:
            assert len(here) == len(inner), f"{inode.name!r}: subdirectories"
            assert ordered == sorted(inner, key=sort_key), f"{inode.name!r}: subdirectories by name"


def _check_what_the_kernel_holds(tree: Tree) -> None:
    assert tree._by_number[ROOT_NUMBER] is tree.root and tree.root.parent is None
    for number, inode in tree._by_number.items():
        assert inode.number == number
        assert inode.lookups > 0, f"{inode.name!r} is held for a kernel that does not know it"
        assert inode.kernel_attributes is not None or inode is tree.root, (
            f"{inode.name!r}: the kernel was told nothing"
        )
        assert inode.linked or not inode.aliases
        for parent, name in inode.names():
            assert parent.directory is not None
            assert parent.directory.children.get(name) is inode, (
                f"{name!r} does not lead to what is held as it"
            )
