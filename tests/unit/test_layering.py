"""Who may import whom, and which package may import which library."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "sftpfs"

BASE = {
    "aio",
    "byte_ranges",
    "character_sets",
    "clock",
    "config",
    "errors",
    "histogram",
    "operation",
    "server_clock",
    "server_names",
    "server_traits",
    "types",
    "__init__",
}
"""What any room may import, and what imports no room."""

API = {"remote.api", "remote.wrapper"}
"""What of the server is known to whoever works on a ``Remote``."""

REMOTE = {"remote.api", "remote.paths", "remote.request_sizes", "remote.slots", "sftp"}
"""What every room of ``remote`` stands on."""

ALLOWED: dict[str, set[str]] = {
    "aio": {"types"},
    "byte_ranges": set(),
    "character_sets": {"types"},
    "clock": set(),
    "config": {"types"},
    "errors": set(),
    "histogram": set(),
    "operation": {"clock"},
    "server_clock": {"clock"},
    "server_names": set(),
    "server_traits": set(),
    "types": set(),
    "__init__": {"library", "errors"},
    "__main__": {"cli.main"},
    "host": set(),
    "sftp": set(),
    "transport": {"host"},
    "transport.api": {"transport.messages"},
    "transport.messages": set(),
    "transport.loan": {"transport.messages"},
    "transport.connect_errors": {"transport.messages"},
    "transport.openssh_errors": {"transport.messages"},
    "transport.ssh_config": {"host"},
    "transport.keys": {"host", "transport.messages", "transport.ssh_config"},
    "transport.worker": {
        "host",
        "transport.connect_errors",
        "transport.keys",
        "transport.loan.state",
        "transport.messages",
        "transport.ssh_config",
    },
    "remote.api": set(),
    "remote.paths": set(),
    "remote.request_sizes": set(),
    "remote.slots": {"sftp"},
    "remote.wrapper": {"remote.api"},
    "remote.iconv_names": API | {"remote.paths"},
    "remote.outcome": REMOTE,
    "remote.requests": REMOTE | {"remote.outcome"},
    "remote.pool": REMOTE | {"remote.outcome", "remote.requests", "transport.api"},
    "remote.handles": REMOTE | {"remote.outcome", "remote.requests", "remote.pool"},
    "remote.transfers": REMOTE | {"remote.outcome", "remote.requests", "remote.pool", "remote.handles"},
    "remote.files": REMOTE
    | {"remote.outcome", "remote.requests", "remote.pool", "remote.handles", "remote.transfers"},
    "remote.operations": REMOTE
    | {
        "remote.outcome",
        "remote.requests",
        "remote.pool",
        "remote.handles",
        "remote.transfers",
        "remote.files",
    },
    "remote.client": {"remote", "sftp"},
    "data": API | {"data.writing", "data.buffers"},
    "data.observer": set(),
    "data.writing": API | {"data.observer", "data.content_state", "data.reader", "data.buffers"},
    "data.buffers": set(),
    "vfs": API | {"data"},
    "vfs.tree": {"data"},
    "vfs.mapping": API | {"vfs.tree"},
    "vfs.prefetch": API | {"data", "vfs.tree", "vfs.readdir"},
    "vfs.tree_remove": API | {"vfs.namespace", "vfs.prefetch.background", "vfs.resolver", "vfs.tree"},
    "fuse": API | {"data", "vfs", "host"},
    "control": API | {"host", "vfs"},
    "mount": {
        "control",
        "data.observer",
        "fuse",
        "host",
        "remote.api",
        "remote.client",
        "remote.iconv_names",
        "remote.pool",
        "transport.api",
        "transport.connector",
        "transport.fork_launch",
        "transport.prompter",
    },
    "mount.start": {"host", "mount.service", "transport.fork_launch"},
    "mount.remote_root": API,
    "mount.drain_progress": {"host"},
    "mount.failpoints": set(),
    "mount.salvage": {"data.observer", "host", "mount.failpoints", "mount.salvage_store"},
    "mount.salvage_store": {"host", "mount.failpoints"},
    "doctor": {"host", "mount", "remote.pool", "remote.requests", "sftp", "transport"},
    "cli": {"host", "control", "mount.start", "doctor"},
    "cli.options": {"host"},
    "cli.tools": {"host", "control", "mount.salvage_store", "cli.options"},
    "cli.copy": {"host", "control", "cli.tools"},
    "cli.commands": {"host", "cli.options", "cli.tools"},
    "cli.docs": {"host", "cli.commands", "cli.options"},
    "cli.run": {
        "host",
        "control",
        "doctor",
        "mount.salvage_store",
        "cli.copy",
        "cli.options",
        "cli.tools",
    },
    "library": {"host", "cli.options"},
}
"""Room, or one module of it → what it may import of sftpfs besides ``BASE``: a room with all below it, or one
module. The longest name that fits rules. A room may import itself, one with rooms below them as well."""

LIBRARIES = {
    "pyfuse3": {"fuse"},
    "asyncssh": {"transport.worker", "transport.keys"},
    "uvloop": {"transport.worker"},
    "asyncio": {"transport.worker", "library.any_loop"},
    "cryptography": {"transport.worker", "transport.loan.wire"},
    "cachetools": {"vfs.tree", "data.buffers"},
    "rich": {"cli"},
}

FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """``vfs.tree.tree`` of ``sftpfs/vfs/tree.py``; a package's own file is ``vfs``."""
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


def room_of(module: str) -> str:
    """The longest name in ``ALLOWED`` that ``module`` is, or is in; "" for none."""
    fits = [room for room in ALLOWED if module == room or module.startswith(room + ".")]
    return max(fits, key=len, default="")


def permitted(module: str, imported: str) -> bool:
    room = room_of(module)
    allowed = ALLOWED[room] | {room} | (set() if room in BASE else BASE)
    return any(imported == one or imported.startswith(one + ".") for one in allowed)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_nothing_imports_upward(path: Path) -> None:
    module = module_of(path)
    assert room_of(module) or module == "remote", f"{module} is in no room: add it to the table"
    for imported in inner_imports(path):
        assert permitted(module, imported), f"{module} imports {imported}"


def belongs(module: str, rooms: set[str]) -> bool:
    return any(module == room or module.startswith(room + ".") for room in rooms)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_each_library_stays_in_its_room(path: Path) -> None:
    module = module_of(path)
    for name in imports(path):
        rooms = LIBRARIES.get(name.split(".")[0])
        assert rooms is None or belongs(module, rooms), f"{module} imports {name}"


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

WRAPPER = "vfs.mapping.owner_names_remote"
"""Is a ``Remote`` itself."""

TREE_PATHS = {
    "vfs.tree.path_requests": {"path", "location", "change_on_path"},
    "vfs.tree.inode_table": {"path", "location", "change_on_path"},
    "vfs.open_by_path": {"path"},  # handed over: where an open file is later
    "vfs.resolver": {"path"},  # shown in a link's target; none any more
    "vfs.refresh": {"path"},  # told to a person
    "vfs.prefetch.prefetcher": {"path"},  # none any more
    "vfs.setattr": {"path"},  # none any more
}
"""Module → what it may ask the tree of where an inode is, besides ``vfs.tree.path_requests``, and what
for."""


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
        and node.attr in {"path", "location", "change_on_path"}
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
    assert not permitted("vfs.tree.tree", "fuse.kernel_mount")
    assert not permitted("data.reader", "remote.pool.pool")
    assert not permitted("remote.pool.pool", "transport.connector")
    assert not permitted("vfs.tree.tree", "control.server")
    assert not permitted("vfs.tree.tree", "vfs.resolver")
    assert not permitted("remote.pool.pool", "remote.files.pooled_file")
    assert not permitted("control.requests", "remote.pool.pool")
    assert permitted("remote.pool.pool", "transport.api")
    assert "remote.api" in set.union(*(inner_imports(path) for path in FILES))
