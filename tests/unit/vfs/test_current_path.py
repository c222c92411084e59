"""Where a file is, as ``remote`` asks: equal for the same file, and found by its path."""

from __future__ import annotations

import stat

import pytest

from sftpfs.config import CacheConfig
from sftpfs.types import Attributes
from sftpfs.vfs.tree.inode import CurrentPath
from sftpfs.vfs.tree.tree import Tree

DIRECTORY = Attributes(stat.S_IFDIR | 0o755, 4096, 0, 0, 1, 1)
FILE = Attributes(stat.S_IFREG | 0o644, 7, 0, 0, 1, 1)


@pytest.mark.parametrize("root", [b"/", b"/srv", b"/srv/deep"])
def test_a_path_leads_to_the_file_it_is_of(root: bytes) -> None:
    tree = Tree(root, DIRECTORY, CacheConfig())
    directory = tree.created(tree.root, b"d", DIRECTORY)
    file = tree.created(directory, b"f", FILE)
    where = tree.current_path(file)
    path = where()
    assert path == root.rstrip(b"/") + b"/d/f"
    found = tree.current_path_at(path)
    assert found == where == tree.current_path(file) and hash(found) == hash(where)
    assert found != tree.current_path(directory)
    tree.renamed(directory, b"f", tree.root, b"g")
    assert where() == root.rstrip(b"/") + b"/g" and tree.current_path_at(path) is None
    tree.removed(tree.root, b"g")
    assert where() is None


@pytest.mark.parametrize(
    "path", [b"/srv", b"/srv/", b"/srvd/f", b"/elsewhere", b"/srv/d/f/below", b"/srv/missing/f"]
)
def test_a_path_of_no_file_here_leads_to_none(path: bytes) -> None:
    tree = Tree(b"/srv", DIRECTORY, CacheConfig())
    tree.created(tree.created(tree.root, b"d", DIRECTORY), b"f", FILE)
    assert tree.current_path_at(path) is None


def test_one_of_a_file_still_being_made_is_nowhere() -> None:
    where = CurrentPath(b"/srv")
    assert where() is None and where != CurrentPath(b"/srv")
