"""Two clients of one server directory, with the default options, for a module."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import server_options
from tests.harness.mounts import Mount
from tests.sshd import Sshd

ROOMS = 30
"""Directories made before the mounts, one for each test."""


class Clients:
    """One directory as client A, client B and the server have it."""

    def __init__(self, first: Mount, second: Mount, name: str) -> None:
        self.a = first.path / name
        self.b = second.path / name
        self.server = first.backing / name


@pytest.fixture(scope="module")
def two_mounts(sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mount, Mount]]:
    """Two mounts of one directory."""
    base = tmp_path_factory.mktemp("clients")
    backing = base / "backing"
    for number in range(ROOMS):
        (backing / f"room{number}" / "place").mkdir(parents=True)
    made: list[Mount] = []
    try:
        for name in ("a", "b"):
            spec = f"{sshd.user}@127.0.0.1:{backing}"
            made.append(Mount(spec, base / name, backing, server_options(sshd)))
        yield made[0], made[1]
    finally:
        for mount in made:
            mount.close()
        shutil.rmtree(base)


@pytest.fixture(scope="module")
def rooms() -> Iterator[int]:
    """Numbers of the directories not used yet."""
    return itertools.count()


@pytest.fixture
def clients(two_mounts: tuple[Mount, Mount], rooms: Iterator[int], tmp_path: Path) -> Clients:
    """An empty directory of this test, on both mounts."""
    return Clients(*two_mounts, f"room{next(rooms)}/place")
