"""``sftpfs cp`` against cp(1) over random trees, onto destinations where every kind of thing is in the way.

A tree is its seed. What differs is what SEMANTICS tells (Y5): names that are hard links become files of
their own, mode and times are kept without -p as well, which cp is told to do here.
"""

from __future__ import annotations

import os
import random
import stat
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import MakeMount
from tests.harness.command import say

OLD = 1_500_000_000
ODD = (
    "a b",
    "new\nline",
    os.fsdecode(b"\xff\xfe"),
    "quote'\"",
    "*",
    "-r",
    "ü" * 100,
    "n" * 255,
    ".hidden",
    "\\x",
)
SIZES = (0, 1, 4096, 131_072, 131_073, 300_001)
MODES = (0o644, 0o600, 0o755, 0o400, 0o000, 0o666, 0o4755, 0o2711, 0o1644)
OWNERS = ((0, 0), (0, 0), (12345, 54321))


class Sides(NamedTuple):
    """Where the same tree and the same destination stand twice: for cp, and for sftpfs."""

    source: Path
    destination: Path


class Maker:
    """A random tree; made twice from one seed it is the same tree."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0

    def name(self, used: set[str]) -> str:
        choice = self.random.choice(ODD)
        if self.random.random() < 0.6 or choice in used:
            self.count += 1
            choice = f"n{self.count}"
        used.add(choice)
        return choice

    def source(self, top: Path, depth: int = 0) -> None:
        """Files, links of each sort, hard links, directories; modes, owners and times."""
        top.mkdir()
        used: set[str] = set()
        files: list[Path] = []
        for _ in range(self.random.randrange(1, 7)):
            path = top / self.name(used)
            kind = self.random.random()
            if kind < 0.3 and depth < 4:
                self.source(path, depth + 1)
            elif kind < 0.45:
                path.symlink_to(self.random.choice(["nowhere", "..", ".", "n1", "/nonexistent/x", "../n2"]))
                os.utime(path, (OLD, OLD + self.random.randrange(1000)), follow_symlinks=False)
            elif kind < 0.55 and files:
                os.link(self.random.choice(files), path)
            else:
                path.write_bytes(self.random.randbytes(self.random.choice(SIZES)))
                files.append(path)
                self.dress(path)
        self.dress(top, 0o700)

    def dress(self, path: Path, at_least: int = 0) -> None:
        os.chown(path, *self.random.choice(OWNERS))
        os.chmod(path, self.random.choice(MODES) & (0o777 if at_least else 0o7777) | at_least)
        os.utime(path, (OLD, OLD + self.random.randrange(100_000)))

    def destination(self, source: Path, top: Path, outside: Path) -> None:
        """What stands in the way of some of ``source``: each name has another thing behind it."""
        top.mkdir()
        for name in sorted(os.listdir(source)):
            found = (source / name).lstat()
            directory = stat.S_ISDIR(found.st_mode)
            if not directory and found.st_nlink > 1:
                continue  # -a of cp makes a link of it
            what = self.random.randrange(9)
            path = top / name
            if what == 0 or (what < 4 and directory):
                self.destination(source / name, path, outside) if directory else path.mkdir()
            elif what == 1:
                path.write_bytes(b"old" * self.random.choice((1, 200_000)))
            elif what == 2:
                path.symlink_to("nowhere at all")
            elif what in (3, 4):
                self.count += 1
                there = outside / f"o{self.count}"
                there.write_bytes(b"outside" * 30_000) if what == 3 else there.mkdir()
                path.symlink_to(os.path.relpath(there, top))
            elif what == 5:
                self.count += 1
                (outside / f"o{self.count}").write_bytes(b"linked" * 30_000)
                os.link(outside / f"o{self.count}", path)
            if os.path.lexists(path):  # made twice, and not in one second
                os.utime(path, (OLD, OLD), follow_symlinks=False)
        os.utime(top, (OLD, OLD))


def made(seed: int, source: Path, destination: Path) -> Sides:
    maker = Maker(seed)
    maker.source(source / "tree")
    outside = destination / "outside"
    outside.mkdir()
    (destination / "to").mkdir()
    maker.destination(source / "tree", destination / "to" / "tree", outside)
    return Sides(source / "tree", destination)


def described(top: Path, owners: bool) -> dict[str, object]:
    """Everything below ``top`` that a copy keeps."""
    found: dict[str, object] = {}
    for path in (top, *top.rglob("*")):
        seen = path.lstat()
        kept: list[object] = [stat.S_IFMT(seen.st_mode)]
        if owners:
            kept += [seen.st_uid, seen.st_gid]
        if stat.S_ISLNK(seen.st_mode):
            kept.append(os.readlink(path))
        else:
            kept += [oct(stat.S_IMODE(seen.st_mode) & (0o7777 if owners else 0o1777))]
            in_the_way = path.name in ("outside", "to") or path.parent.name == "outside"
            kept += [] if in_the_way else [int(seen.st_mtime)]
        if stat.S_ISREG(seen.st_mode):
            kept.append(hash(path.read_bytes()))
        found[str(path.relative_to(top))] = tuple(kept)
    return found


def complaints(text: str, prefix: str) -> list[str]:
    """What was said, without names."""
    return sorted(
        line.removeprefix(prefix).split("'")[0].split("$")[0].split('"')[0] for line in text.splitlines()
    )


@pytest.mark.parametrize("archive", [False, True], ids=["-r", "-a"])
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
@pytest.mark.parametrize("way", ["local to local", "local to mount", "mount to mount", "mount to local"])
def test_as_cp(way: str, seed: int, archive: bool, make_mount: MakeMount, tmp_path: Path) -> None:
    for place in ("by cp", "backing", "local"):
        (tmp_path / place).mkdir()
    by_cp = made(seed, tmp_path / "by cp", tmp_path / "by cp")
    from_mount, to_mount = way.startswith("mount"), way.endswith("mount")
    backing, local = tmp_path / "backing", tmp_path / "local"
    ours = made(seed, backing if from_mount else local, backing if to_mount else local)
    options = ["-a"] if archive else ["-r", "--preserve=mode,timestamps"]
    expected = subprocess.run(
        ["cp", *options, by_cp.source, by_cp.destination / "to"],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    source, destination = ours.source, ours.destination / "to"
    if from_mount or to_mount:
        mount = make_mount("no_contain_symlinks", backing=backing)
        source = mount.path / source.relative_to(backing) if from_mount else source
        destination = mount.path / "to" if to_mount else destination
    found = say("cp", "-a" if archive else "-r", source, destination)
    assert found.status == expected.returncode, (found, expected)
    assert complaints(found.stderr, "sftpfs: not copied: ") == complaints(expected.stderr, "cp: ")
    for part in ("to", "outside"):
        assert described(ours.destination / part, archive) == described(by_cp.destination / part, archive)
    if to_mount:
        assert described(destination, archive) == described(by_cp.destination / "to", archive)
    assert described(ours.source, True) == described(by_cp.source, True)
