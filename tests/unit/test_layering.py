"""Who may import whom, and which package may import which library."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "sftpfs"

BASE = {
    "clock",
    "server_clock",
    "server_traits",
    "operation",
    "types",
    "errors",
    "aio",
    "config",
    "latency",
    "beneath",
    "names",
    "character_sets",
    "account",
    "ranges",
    "__init__",
}
API = {"remote.api", "remote.in_front"}

ALLOWED: dict[str, set[str]] = {
    "types": set(),
    "errors": set(),
    "clock": set(),
    "server_clock": {"clock"},
    "server_traits": set(),
    "operation": {"clock"},
    "aio": set(),
    "config": set(),
    "latency": set(),
    "beneath": set(),
    "names": set(),
    "character_sets": {"types"},
    "account": set(),
    "ranges": set(),
    "covering": BASE,
    "__init__": set(),
    "sftp": BASE,
    "transport": BASE,
    "remote": BASE | {"sftp", "transport.api"},
    "data": BASE | API,
    "vfs": BASE | API | {"data"},
    "fuse": BASE | API | {"vfs", "data", "place"},
    "logs": BASE,
    "process": BASE | {"logs"},
    "mountpoint": BASE,
    "place": BASE | {"mountpoint"},
    "interrupts": set(),
    "root": BASE | API,
    "salvage": BASE | {"data.lost", "store"},
    "store": BASE,
    "progress": BASE,
    "service_manager": set(),
    "claim": BASE | {"mountpoint"},
    "kept": BASE | {"mountpoint"},
    "control": BASE | API | {"logs", "mountpoint", "vfs"},
    "mount": BASE
    | API
    | {
        "control",
        "logs",
        "process",
        "mountpoint",
        "root",
        "service_manager",
        "claim",
        "place",
        "kept",
        "covering",
        "salvage",
        "store",
        "progress",
        "fuse",
        "remote",
        "transport",
    },
    "doctor": BASE
    | {
        "interrupts",
        "store",
        "logs",
        "process",
        "mount",
        "mountpoint",
        "root",
        "remote",
        "sftp",
        "transport",
    },
    "cli": BASE
    | {"interrupts", "control", "logs", "mount", "mountpoint", "process", "claim", "kept", "store", "doctor"},
    "__main__": {"cli"},
}
"""Room → what it may import of sftpfs: a room, or one module of it. A room may import itself."""

LIBRARIES = {
    "pyfuse3": {"fuse"},
    "asyncssh": {"transport"},
    "uvloop": {"transport"},
    "asyncio": {"transport"},
    "cryptography": {"transport"},
    "cachetools": {"vfs", "data"},
    "rich": {"cli"},
}

FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """``vfs.tree`` of ``sftpfs/vfs/tree.py``; a package's own file is ``vfs``."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    if len(parts) > 1 and parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def imports(path: Path) -> Iterator[str]:
    """Absolute names of what is imported anywhere in the file, functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_module(name: str) -> bool:
    base = PACKAGE.parent / Path(*name.split("."))
    return base.with_suffix(".py").is_file() or base.is_dir()


def inner_imports(path: Path) -> set[str]:
    """Modules of sftpfs the file imports, ``sftpfs.`` taken off."""
    names = {name for name in imports(path) if name.split(".")[0] == "sftpfs" and is_module(name)}
    # "from sftpfs.remote import pool" names the package on the way to the module
    deepest = {name for name in names if not any(other.startswith(name + ".") for other in names)}
    return {name.removeprefix("sftpfs").removeprefix(".") or "__init__" for name in deepest}


def permitted(module: str, imported: str) -> bool:
    room = module.split(".")[0]
    target = imported.split(".")[0]
    return target == room or target in ALLOWED[room] or imported in ALLOWED[room]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_nothing_imports_upward(path: Path) -> None:
    module = module_of(path)
    assert module.split(".")[0] in ALLOWED, f"{module} is in no room: add it to the table"
    for imported in inner_imports(path):
        assert permitted(module, imported), f"{module} imports {imported}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_each_library_stays_in_its_room(path: Path) -> None:
    room = module_of(path).split(".")[0]
    for name in imports(path):
        library = name.split(".")[0]
        assert room in LIBRARIES.get(library, {room}), f"{module_of(path)} imports {library}"


BY_PATH = {
    "fetch",
    "link",
    "list_directory",
    "lstat",
    "lstat_many",
    "mkdir",
    "open",
    "open_copy",
    "open_whole",
    "readlink",
    "remove",
    "rename",
    "rmdir",
    "setattr",
    "symlink",
}
"""Methods of ``remote.api.Remote`` that take a path of the tree."""

WRAPPER = "vfs.naming"
"""Is a ``Remote`` itself."""

TREE_PATHS = {
    "vfs.in_place": {"path", "place", "under_way"},
    "vfs.inventory": {"path", "place", "under_way"},
    "vfs.files": {"path"},  # handed over: where an open file is later
    "vfs.resolver": {"path"},  # shown in a link's target; none any more
    "vfs.refresh": {"path"},  # told to a person
    "vfs.ahead": {"path"},  # none any more
    "vfs.attributes": {"path"},  # none any more
}
"""Module → what it may ask the tree of where an inode is, besides ``vfs.in_place``, and what for."""


def parameters(node: ast.AST) -> set[str]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return set()
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return {one.arg for one in every} | ({arguments.vararg.arg} if arguments.vararg else set())


def paths_made_here(tree: ast.AST) -> Iterator[str]:
    """Requests by path whose path is neither a parameter of the function that sends them, nor the root's."""

    def visit(node: ast.AST, given: set[str]) -> Iterator[str]:
        given = given | parameters(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in BY_PATH:
            of = node.func.value
            remote = isinstance(of, ast.Attribute) and of.attr == "_remote"
            names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
            root = any(isinstance(one, ast.Attribute) and one.attr == "root_path" for one in ast.walk(node))
            if remote and not (names & given - {"self"}) and not root:
                yield ast.unparse(node)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, given)

    yield from visit(tree, set())


def places_asked(tree: ast.AST) -> set[str]:
    """What is asked of where an inode is, as ``tree.place(…)``."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in {"path", "place", "under_way"}
        and ast.unparse(node.value).split(".")[-1] in {"tree", "_tree"}
    }


VFS = [path for path in FILES if module_of(path).startswith("vfs.")]


@pytest.mark.parametrize("path", VFS, ids=module_of)
def test_paths_are_computed_where_requests_are_sent_in_place(path: Path) -> None:
    """What computes a path itself meets a rename of ours that is under way."""
    parsed = ast.parse(path.read_text(encoding="utf-8"))
    assert places_asked(parsed) <= TREE_PATHS.get(module_of(path), set())
    if module_of(path) != WRAPPER:
        assert not list(paths_made_here(parsed))


def test_the_test_of_paths_would_notice() -> None:
    made = "async def f(self, inode):\n    return await self._remote.lstat(self._tree.path(inode))"
    kept = "class C:\n    def f(self):\n        path = self.where\n        self._remote.mkdir(path, 0)"
    assert places_asked(ast.parse(made)) == {"path"}
    assert list(paths_made_here(ast.parse(kept))) == ["self._remote.mkdir(path, 0)"]
    assert not list(paths_made_here(ast.parse("lambda path: self._remote.mkdir(path, 0)")))


def test_the_test_would_notice() -> None:
    assert not permitted("vfs.tree", "fuse.mount")
    assert not permitted("data.reader", "remote.pool")
    assert not permitted("remote.pool", "transport.connector")
    assert not permitted("vfs.tree", "control.server")
    assert not permitted("control.requests", "remote.pool")
    assert permitted("remote.pool", "transport.api")
    assert "remote.api" in set.union(*(inner_imports(path) for path in FILES))
