"""Runs of ``python -m test`` with everything they write in one directory, and what came of each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MODULES = [
    "test_os",
    "test_shutil",
    "test_posix",
    "test_pathlib",
    "test_tempfile",
    "test_fileio",
    "test_io",
    "test_largefile",
    "test_mmap",
    "test_zipfile",
    "test_tarfile",
    "test_mailbox",
    "test_dbm",
    "test_sqlite3",
    "test_glob",
    "test_filecmp",
    "test_fcntl",
    "test_import",
    "test_importlib",
    "test_genericpath",
    "test_posixpath",
    "test_stat",
    "test_fnmatch",
    "test_unicode_file_functions",
    "test_file",
    "test_fileinput",
    "test_linecache",
    "test_bz2",
    "test_gzip",
    "test_lzma",
    "test_zipapp",
    "test_zipimport",
    "test_dbm_dumb",
    "test_shelve",
    "test_py_compile",
    "test_compileall",
    "test_pkgutil",
    "test_runpy",
    "test_logging",
]
"""Those that use a file system most: a minute or two on a local disk."""

HANGING = 900
"""Seconds for one module before regrtest ends it: on a busy machine some take minutes."""

LIMIT = 3600.0
"""Seconds for a whole run: a mount takes about three times as long as a disk."""


@dataclass(frozen=True, slots=True)
class Results:
    """What came of each test: of those that failed the last line said, of those skipped why."""

    failed: dict[str, str]
    skipped: dict[str, str]
    passed: frozenset[str]


def has_tests(python: str) -> bool:
    """True where interpreter ``python`` has CPython's test package."""
    code = "import test.test_os, test.test_shutil"
    done = subprocess.run([python, "-c", code], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def interpreter() -> str:
    """This interpreter, else another on the path, that has the test package."""
    names = [sys.executable, *(f"python3.{minor}" for minor in range(11, 15)), "python3"]
    for python in filter(None, map(shutil.which, names)):
        if has_tests(python):
            return python
    raise LookupError("no Python here has CPython's tests: install libpython3-testsuite, or name one")


def run(python: str, directory: Path, modules: Sequence[str]) -> Results:
    """Run ``modules`` with the working directory, TMPDIR and all test files below ``directory``."""
    directory.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="conformance-") as elsewhere:
        report = Path(elsewhere, "report.xml")
        command = [python, "-m", "test", "-j1", f"--timeout={HANGING}", f"--tempdir={directory}"]
        command += [f"--junit-xml={report}", *modules]
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, "TMPDIR": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LIMIT,
            check=False,
        )
        if not report.exists():
            raise RuntimeError(f"python -m test ended with {done.returncode}: {done.stdout[-2000:]}")
        results = _read(report)
    # A module that crashed has no line in the report.
    crashed = {m: "crashed" for m in modules if not any(m in n.split(".") for n in names(results))}
    return Results({**results.failed, **crashed}, results.skipped, results.passed)


def names(results: Results) -> set[str]:
    """Every test there was."""
    return {*results.failed, *results.skipped, *results.passed}


def _read(report: Path) -> Results:
    failed: dict[str, str] = {}
    skipped: dict[str, str] = {}
    passed = set()
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("name", "")
        for outcome in case:
            text = (outcome.text or outcome.get("message") or "").strip()
            if outcome.tag in ("failure", "error"):
                failed[name] = text.splitlines()[-1] if text else outcome.tag
            elif outcome.tag == "skipped":
                skipped[name] = text
        if name not in failed and name not in skipped:
            passed.add(name)
    return Results(failed, {n: why for n, why in skipped.items() if n not in failed}, frozenset(passed))
