"""Trees of small files: walked, searched, copied, unpacked, removed; and one huge directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.dataset import (
    NEEDLE,
    NEEDLE_EVERY,
    STATUS,
    Dataset,
    Manifest,
    Sizes,
    git_environment,
    module_names,
)
from tests.bench.steps import Measured, Place, Stopwatch, Workload, run_command

VERSION = ("--version",)
MISSING = 2000
"""Names that ``look_for_missing`` looks for."""


def _timed(words: list[str | Path], **more: object) -> tuple[bytes, Measured]:
    with Stopwatch() as watch:
        output = run_command(words, **more)
    return output, Measured(watch.seconds)


def find(place: Place) -> Measured:
    """Every name, by type: no attributes asked for but what find itself needs."""
    output, measured = _timed(["find", place.here / "tree", "-type", "f"])
    assert output.count(b"\n") == place.data.sizes.files, "find missed files"
    return measured


def list_long(place: Place) -> Measured:
    """``ls -lR``."""
    output, measured = _timed(["ls", "-lR", place.here / "tree"])
    assert sum(line.startswith(b"-") for line in output.splitlines()) == place.data.sizes.files
    return measured


def disk_usage(place: Place) -> Measured:
    """``du``: apparent sizes, for block counts are each system's own."""
    output, measured = _timed(["du", "-a", "--apparent-size", "-B1", place.here / "tree"])
    sizes = {path: int(size) for size, path in (line.split(b"\t") for line in output.splitlines())}
    tree = place.data.local / "tree"
    for path in tree.rglob("*"):
        if path.is_file():
            seen = sizes.get(os.fsencode(place.here / "tree" / path.relative_to(tree)))
            assert seen == path.stat().st_size, f"du says {seen} of {path.name}"
    return measured


def grep(place: Place) -> Measured:
    """``grep -r`` for a word some files hold."""
    output, measured = _timed(["grep", "-r", "-l", NEEDLE, place.here / "tree"])
    wanted = len(range(0, place.data.sizes.files, NEEDLE_EVERY))
    assert output.count(b"\n") == wanted, f"grep did not find {wanted} files"
    return measured


def read_each(place: Place) -> Measured:
    """Every file of the tree, opened, read and closed one after another."""
    names = [path.relative_to(place.data.local) for path in (place.data.local / "tree").rglob("*.*")]
    names = [name for name in names if (place.data.local / name).is_file()]
    with Stopwatch() as watch:
        held = [(place.here / name).read_bytes() for name in names]
    assert sum(map(len, held)) == place.data.tree_bytes, "bytes are missing"
    return Measured(watch.seconds)


def look_for_missing(place: Place) -> Measured:
    """``stat`` of names that are not there, each another."""
    found = 0
    with Stopwatch() as watch:
        for number in range(MISSING):
            found += os.path.exists(place.here / "tree" / f"absent{number}")
    assert not found
    return Measured(watch.seconds)


def copy_out(place: Place) -> Measured:
    """``cp -r`` from the server."""
    _, measured = _timed(["cp", "-r", place.here / "tree", place.out / "tree"])
    check_tree(place, place.out / "tree")
    return measured


def check_tree(place: Place, root: Path, exact: bool = False) -> None:
    """AssertionError unless ``root`` holds the tree; ``exact``: with its modes and times."""
    wanted = place.data.exact if exact else place.data.manifest
    problem = wanted.differences(Manifest.of(root, modes=exact, times=exact))
    assert not problem, problem


def git_status(place: Place) -> Measured:
    """``git status`` where the index knows nothing of the files' times."""
    words = ["git", "-c", "safe.directory=*", "status", "--porcelain"]
    output, measured = _timed([*words], cwd=place.here / "repository", env=git_environment())
    assert output == STATUS, f"git status printed {output[:100]!r}"
    return measured


def _import(place: Place, *options: str) -> Measured:
    names = module_names(place.data.sizes.modules)
    script = f"import sys; sys.path.insert(0, {str(place.here / 'modules')!r}); import {', '.join(names)}; "
    script += f"print(sum(m.NUMBER for n, m in sys.modules.items() if n in {set(names)!r}))"
    output, measured = _timed([sys.executable, "-I", "-S", *options, "-c", script])
    assert int(output) == sum(range(len(names))), "wrong modules"
    return measured


def import_modules(place: Place) -> Measured:
    """``python -c "import …"``: every module is compiled, and what that gave is written beside it."""
    measured = _import(place)
    written = len(list((place.there / "modules").rglob("*.pyc")))
    assert written == place.data.sizes.modules, f"{written} compiled files"
    return measured


def import_only(place: Place) -> Measured:
    """The same, nothing written (``-B``)."""
    return _import(place, "-B")


def unpack(place: Place) -> Measured:
    """``tar x`` as root: modes, owners and times are set."""
    _, measured = _timed(["tar", "xf", place.data.local / "tree.tar", "-C", place.work])
    check_tree(place, place.written / "tree", exact=True)
    return measured


def copy_in(place: Place) -> Measured:
    """``cp -r`` to the server."""
    _, measured = _timed(["cp", "-r", place.data.local / "tree", place.work / "tree"])
    check_tree(place, place.written / "tree")
    return measured


def _put_tree(data: Dataset) -> None:
    subprocess.run(["cp", "-a", data.local / "tree", data.backing / "work" / "tree"], check=True)


def remove(place: Place) -> Measured:
    """``rm -rf``."""
    _, measured = _timed(["rm", "-rf", place.work / "tree"])
    assert not (place.written / "tree").exists(), "the tree is still there"
    return measured


def _list_many(place: Place, *options: str) -> Measured:
    output, measured = _timed(["ls", *options, place.here / "many"])
    assert output.count(b"entry") == place.data.sizes.entries, "ls missed entries"
    return measured


def list_many(place: Place) -> Measured:
    """The names of a huge directory."""
    return _list_many(place, "-f")


def list_many_long(place: Place) -> Measured:
    """``ls -l`` of a huge directory."""
    return _list_many(place, "-l")


def clean(out: Path) -> None:
    """Empty the client's directory."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)


def workloads(sizes: Sizes) -> list[Workload]:
    """The rows of this module."""
    python = ((sys.executable, "-I", "-S", "-B", "-c", "pass"),)
    modules = ("modules",)
    files = sizes.files
    many = f"{sizes.entries:,} entries"

    def program(name: str) -> tuple[tuple[str, ...], ...]:
        return ((name, *VERSION),)

    return [
        Workload("find", "find", find, ("tree",), program("find"), units=files),
        Workload("ls-lR", "ls -lR", list_long, ("tree",), program("ls")),
        Workload("du", "du", disk_usage, ("tree",), program("du")),
        Workload("grep", f"grep -r over {files} files", grep, ("tree",), program("grep"), units=files),
        Workload("cp-out", "cp -r out", copy_out, ("tree",), program("cp")),
        Workload("git-status", "git status, cold index", git_status, ("repository",), program("git")),
        Workload("import", f"python import of {sizes.modules} modules", import_modules, modules, python),
        Workload("import-B", "import, no bytecode written", import_only, modules, python),
        Workload("untar", "tar x of the tree", unpack, (), program("tar"), units=files),
        Workload("cp-in", "cp -r in", copy_in, (), program("cp"), units=files),
        Workload("rm", "rm -rf of the tree", remove, ("work",), program("rm"), _put_tree, units=files),
        Workload("ls-many", f"ls -f of {many}", list_many, ("many",), program("ls"), units=sizes.entries),
        Workload(
            "ls-l-many", f"ls -l of {many}", list_many_long, ("many",), program("ls"), units=sizes.entries
        ),
        Workload("missing", f"stat of {MISSING:,} missing names", look_for_missing, units=MISSING),
        Workload("small-reads", f"read {files} files, one by one", read_each, ("tree",), units=files),
    ]
