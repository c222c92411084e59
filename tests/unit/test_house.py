"""Where things are: how much a folder holds, that what is named exists, and who writes to an inode."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType

import pytest

from sftpfs.vfs.tree.inode import Directory, Inode
from tests.unit.test_layering import FILES, PACKAGE, module_of

ROOT = PACKAGE.parent
MODULES = {module_of(path) for path in FILES}
ROOMS = {module.partition(".")[0] for module in MODULES if "." in module}

MOST = 12
"""Modules in one folder, besides what makes it a package."""

MORE = {"cli.run"}
"""A module for each command, named after it: nobody has to read the others to find one."""


def test_no_folder_holds_more_than_a_dozen_modules() -> None:
    held = Counter(path.parent for path in FILES if not path.name.startswith("__"))
    large = {".".join(folder.relative_to(PACKAGE).parts) for folder, count in held.items() if count > MOST}
    assert large == MORE


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_each_package_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def named(text: str, ticks: str) -> Iterator[str]:
    """What is named as a module of a room: ``room.module``, and what may follow."""
    for found in re.finditer(rf"(?<!`){ticks}([a-z_]+(?:\.\w+)+){ticks}(?!`)", text):
        name = found[1]
        if name.partition(".")[0] in ROOMS and not name.endswith(".py"):
            yield name


def exists(name: str) -> bool:
    """It is a module, or something of one by a public or private name."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        module = ".".join(parts[:count])
        if module in MODULES:
            return count == len(parts) or (count > 1 and _holds(module, parts[count]))
    return False


def _holds(module: str, name: str) -> bool:
    path = PACKAGE / Path(*module.split("."))
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    text = file.read_text(encoding="utf-8")
    return re.search(rf"^(?:async )?(?:def |class )?{name}\b", text, re.MULTILINE) is not None


NOT_OURS = {
    "fuse.program",
    "fuse.sftpfs",
    "fuse.sshfs",
    "mount.TYPE",
    "mount.fuse",
    "mount.fuse.sftpfs",
    "mount.sftpfs",
}
"""Types of mounts and mount(8)'s helpers."""


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_what_a_module_names_exists(path: Path) -> None:
    gone = {name for name in named(path.read_text(encoding="utf-8"), "``") if not exists(name)}
    assert not gone - NOT_OURS


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "SEMANTICS.md", "SECURITY.md"])
def test_what_the_documents_name_exists(name: str) -> None:
    text = (PACKAGE / name).read_text(encoding="utf-8")
    assert not {one for one in named(text, "`") if not exists(one)} - NOT_OURS


@cache
def _members() -> dict[str, set[str]]:
    """Class → the names that it and its bases define, as far as they are written in this package."""
    bases: dict[str, set[str]] = {}
    found: dict[str, set[str]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                above = {ast.unparse(base).partition("[")[0].split(".")[-1] for base in node.bases}
                bases.setdefault(node.name, set()).update(above - {node.name})
                found.setdefault(node.name, set()).update(filter(None, map(_defined, ast.walk(node))))
    return {
        name: found[name].union(*(found.get(base, set()) for base in _above(name, bases))) for name in found
    }


def _above(name: str, bases: dict[str, set[str]]) -> set[str]:
    """Every class that ``name`` inherits from."""
    above, waiting = set[str](), list(bases.get(name, ()))
    while waiting:
        if (base := waiting.pop()) not in above:
            above.add(base)
            waiting += bases.get(base, ())
    return above


def _defined(node: ast.AST) -> str | None:
    """What a statement of a class defines: a method, a field, an attribute of ``self``."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return node.attr
    return node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else None


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "SEMANTICS.md", "SECURITY.md"])
def test_members_and_files_that_are_named_exist(page: str) -> None:
    text = (PACKAGE / page).read_text(encoding="utf-8")
    members = _members()
    named = re.findall(r"`([A-Z]\w+)\.([a-z_]\w*)`", text)
    assert named or page != "ARCHITECTURE.md"
    assert [f"{owner}.{name}" for owner, name in named if name not in members.get(owner, set())] == []
    files = [name for name in re.findall(r"`((?!tests)[a-z]+/[a-z_/]+\.py)`", text) if "test_" not in name]
    assert [name for name in files if not (PACKAGE / name).is_file()] == []


def test_the_test_of_names_would_notice() -> None:
    assert list(named("by ``vfs.resolver`` and ``data.x``", "``")) == ["vfs.resolver", "data.x"]
    assert exists("vfs.resolver") and exists("vfs.resolver.Resolver") and not exists("vfs.resolvers")


def written(tree: ast.AST) -> Iterator[str]:
    """Fields of an inode or a directory that are assigned to, of another object than ``self``."""
    for node in ast.walk(tree):
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AugAssign | ast.AnnAssign)
            else []
        )
        for target in targets:
            for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(one, ast.Attribute) and one.attr in FIELDS and ast.unparse(one.value) != "self":
                    yield one.attr


FIELDS = {*Inode.__slots__, *Directory.__slots__}
OUTSIDE = [path for path in FILES if re.match(r"(vfs|fuse|control)\.(?!tree\.)", module_of(path))]


@pytest.mark.parametrize("path", OUTSIDE, ids=module_of)
def test_only_the_tree_writes_to_an_inode(path: Path) -> None:
    assert list(written(ast.parse(path.read_text(encoding="utf-8")))) == []


def test_the_test_of_inodes_would_notice() -> None:
    assert list(written(ast.parse("inode.lease = 1\nself.name = 2\na, b.expires = c"))) == [
        "lease",
        "expires",
    ]


MANY_MEANINGS = re.compile(r"(?:^|_)(?:told|untold|tell|tells|telling)(?:_|$)")
"""A word that was the name of a notification, an answer, an error and a line of text: each has its own."""


def identifiers(code: CodeType) -> Iterator[str]:
    yield from (code.co_name, *code.co_names, *code.co_varnames, *code.co_cellvars)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from identifiers(inner)


def test_no_identifier_has_a_word_of_many_meanings() -> None:
    found = {
        f"{module_of(path)}: {name}"
        for path in FILES
        for name in identifiers(compile(path.read_bytes(), path, "exec"))
        if MANY_MEANINGS.search(name)
    }
    assert found == set()


@pytest.mark.parametrize(
    "page", ["README.md", "sftpfs/ARCHITECTURE.md", "sftpfs/SEMANTICS.md", "sftpfs/SECURITY.md"]
)
def test_tests_that_are_named_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    there = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py")]
    named = set(re.findall(r"[\w/]*test_[a-z_0-9]+\.py", text))
    assert [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in there)] == []


def test_what_the_text_of_programs_imports_exists() -> None:
    """Tests run some with a module altered: a linter sees no import in them."""
    missing = []
    for path in (ROOT / "tests").rglob("*.py"):
        for module, names in re.findall(
            r"^\s*from (sftpfs[.\w]*) import ([\w, ]+)$", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            found = importlib.import_module(module)
            for name in names.split(","):
                word = name.split()[0]
                if not hasattr(found, word) and importlib.util.find_spec(f"{module}.{word}") is None:
                    missing.append(f"{path}: from {module} import {word}")
    assert missing == []
