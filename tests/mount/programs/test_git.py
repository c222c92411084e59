"""git on a real sshd: what it does with locks, links, renames, maps and times."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.conftest import Place
from tests.harness.programs import run

pytestmark = pytest.mark.limit(300)

QUIET = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}

COMMITS = 9


def git(repository: Path, *words: object) -> str:
    """Its stdout; of nobody's configuration."""
    return run("git", *words, cwd=repository, **QUIET)


def begin(repository: Path) -> None:
    """An empty repository."""
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main")


def commit(repository: Path, message: str) -> None:
    """Everything there is."""
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", message)


def furnish(directory: Path) -> None:
    """A hundred files of several modes, a big one and a link."""
    chance = random.Random(7)
    for number in range(100):
        path = directory / f"package{number % 7}" / f"module{number % 3}" / f"file{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(chance.randbytes(chance.randrange(20_000)).hex())
        path.chmod(chance.choice([0o644, 0o755]))
    (directory / "big.bin").write_bytes(chance.randbytes(2 << 20))
    (directory / "link").symlink_to("package0/module0")


def test_clone_and_commit(place: Place, tmp_path: Path) -> None:
    origin, clone = tmp_path / "origin", place.here / "clone"
    begin(origin)
    furnish(origin)
    commit(origin, "first")
    git(place.here, "clone", "-q", origin, clone)
    assert git(clone, "status", "--porcelain") == ""
    (clone / "new").write_text("new\n")
    (clone / "package0" / "module0" / "file0.py").write_text("changed\n")
    assert sorted(line[:2] for line in git(clone, "status", "--porcelain").splitlines()) == [" M", "??"]
    commit(clone, "second")
    git(clone, "checkout", "-q", "-b", "branch", "HEAD~1")
    git(clone, "checkout", "-q", "main")
    git(clone, "gc", "-q")
    git(clone, "fsck", "--strict")
    assert git(clone, "status", "--porcelain") == ""
    there = place.there / "clone"
    assert git(there, "-c", "safe.directory=*", "log", "--format=%s") == "second\nfirst\n"


def test_local_clone(place: Place) -> None:
    """It makes hard links and compares inode numbers."""
    origin, clone = place.here / "origin", place.here / "clone"
    begin(origin)
    (origin / "f").write_text("content\n")
    commit(origin, "first")
    git(place.here, "clone", "-q", origin, clone)
    assert (place.there / "clone" / "f").read_text() == "content\n"
    name = next(path for path in (clone / ".git" / "objects").glob("??/*")).relative_to(clone)
    assert os.stat(origin / name).st_ino == os.stat(clone / name).st_ino
    assert os.stat(place.there / "origin" / name).st_nlink == 2


def test_worktree_bisect_rebase_and_gc(place: Place) -> None:
    repository, second = place.here / "repository", place.here / "second"
    begin(repository)
    for number in range(COMMITS):
        (repository / "count").write_text(f"{number}\n")
        (repository / f"file{number}").write_text(f"{number}\n" * 1000)
        commit(repository, f"commit {number}")
    git(repository, "worktree", "add", "-q", "-b", "other", second, f"HEAD~{COMMITS // 2}")
    assert git(second, "status", "--porcelain") == ""
    (second / "another").write_text("another\n")
    commit(second, "on the other")
    git(second, "rebase", "-q", "main")
    git(repository, "worktree", "remove", second)
    assert os.listdir(place.there) == ["repository"]

    git(repository, "bisect", "start", "HEAD", f"HEAD~{COMMITS - 1}")
    found = git(repository, "bisect", "run", "sh", "-c", "test $(cat count) -lt 6")
    assert "commit 6" in found
    git(repository, "bisect", "reset")

    (repository / "count").write_text("stashed\n")
    git(repository, "stash", "-q")
    assert (repository / "count").read_text() == f"{COMMITS - 1}\n"
    git(repository, "stash", "pop", "-q")
    assert (repository / "count").read_text() == "stashed\n"
    git(repository, "gc", "-q", "--prune=now")
    git(repository, "repack", "-adfq")
    git(repository, "fsck", "--strict")
    assert len(git(repository, "log", "--format=%s", "other").splitlines()) == COMMITS + 1
