"""The recipes in contrib/packaging name this version, and every library that pyproject.toml names."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from sftpfs import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGING = REPOSITORY / "contrib" / "packaging"

VERSIONS = {
    "fedora/sftpfs.spec": r"^Version: +(\S+)$",
    "arch/PKGBUILD": r"^pkgver=(\S+)$",
    "alpine/APKBUILD": r"^pkgver=(\S+)$",
    "nix/default.nix": r'version = "(\S+)";',
    "debian/changelog": r"^sftpfs \(([^-]+)-",
}
LISTS = {"arch/PKGBUILD": "python-{}", "alpine/APKBUILD": "py3-{}", "nix/default.nix": "{}"}
"""Recipes that name the libraries themselves, and how; the others read them from the package."""


@pytest.mark.parametrize("name, pattern", VERSIONS.items(), ids=list(VERSIONS))
def test_the_version(name: str, pattern: str) -> None:
    found = re.search(pattern, (PACKAGING / name).read_text(), re.MULTILINE)
    assert found and found[1] == __version__


@pytest.mark.parametrize("name, form", LISTS.items(), ids=list(LISTS))
def test_the_libraries(name: str, form: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    words = set(re.findall(r"[\w-]+", (PACKAGING / name).read_text()))
    libraries = {re.split(r"[^\w-]", line)[0] for line in project["dependencies"]} | {"bcrypt"}
    assert {form.format(library) for library in libraries} <= words
