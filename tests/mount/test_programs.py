"""Programs people run, on a real sshd."""

from __future__ import annotations

import hashlib
import io
import os
import random
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import MakeMount, Place
from tests.harness.waiting import eventually

pytestmark = pytest.mark.limit(300)

QUIET_GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def run(*command: object, cwd: Path | None = None, **environment: str) -> str:
    """stdout of a program that must succeed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Every name below ``root`` → kind, mode, mtime, content or target."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = Path(directory, name)
            status = path.lstat()
            content: object = None
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            mtime = None if path.is_symlink() else int(status.st_mtime)
            found[str(path.relative_to(root))] = (oct(status.st_mode), mtime, content)
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source tree of some 200 files with odd modes, links, old times and an empty directory."""
    root = tmp_path_factory.mktemp("source") / "tree"
    chance = random.Random(7)
    for number in range(200):
        directory = root / f"package{number % 7}" / f"module{number % 3}"
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"file{number}.py"
        path.write_bytes(chance.randbytes(chance.randrange(20_000)).hex().encode())
        path.chmod(chance.choice([0o644, 0o755, 0o600, 0o444]))
        os.utime(path, (1_400_000_000 + number, 1_500_000_000 + number))
    (root / "empty").mkdir()
    (root / "big.bin").write_bytes(chance.randbytes(6 << 20))
    (root / "link").symlink_to("package0/module0")
    (root / "file link").symlink_to("big.bin")
    for directory, _, _ in os.walk(root, topdown=False):
        os.utime(directory, (1_450_000_000, 1_450_000_000))
    return root


def test_tar_extract_and_create(place: Place, source: Path, tmp_path: Path) -> None:
    run("tar", "cf", tmp_path / "a.tar", "-C", source.parent, "tree")
    run("tar", "xf", tmp_path / "a.tar", "-C", place.here)
    assert tree(place.there / "tree") == tree(source)
    run("tar", "cf", tmp_path / "b.tar", "-C", place.here, "tree")
    with tarfile.open(tmp_path / "b.tar") as archive:
        member = archive.extractfile("tree/big.bin")
        assert member is not None
        assert member.read() == (source / "big.bin").read_bytes()
    run("tar", "df", tmp_path / "a.tar", "-C", place.here)


def test_cp_archive_both_ways(place: Place, source: Path, tmp_path: Path) -> None:
    run("cp", "-a", source, place.here / "copy")
    assert tree(place.there / "copy") == tree(source)
    run("cp", "-a", place.here / "copy", tmp_path / "back")
    assert tree(tmp_path / "back") == tree(source)


def test_rsync_twice_copies_nothing_the_second_time(place: Place, source: Path) -> None:
    command = ("rsync", "-a", "--delete", "--itemize-changes", f"{source}/", place.here / "copy")
    (place.there / "copy").mkdir()
    (place.there / "copy" / "superfluous").touch()
    first = run(*command)
    assert "*deleting" in first
    assert tree(place.there / "copy") == tree(source)
    assert run(*command) == ""


def test_git(place: Place, source: Path, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    run("cp", "-a", source, origin)
    run("git", "init", "-q", "-b", "main", origin, **QUIET_GIT)
    run("git", "add", "-A", cwd=origin, **QUIET_GIT)
    run("git", "commit", "-qm", "first", cwd=origin, **QUIET_GIT)
    clone = place.here / "clone"
    run("git", "clone", "-q", origin, clone, **QUIET_GIT)
    assert run("git", "status", "--porcelain", cwd=clone, **QUIET_GIT) == ""
    (clone / "new").write_text("new\n")
    (clone / "package0" / "module0" / "file0.py").write_text("changed\n")
    status = run("git", "status", "--porcelain", cwd=clone, **QUIET_GIT)
    assert sorted(line[:2] for line in status.splitlines()) == [" M", "??"]
    run("git", "add", "-A", cwd=clone, **QUIET_GIT)
    run("git", "commit", "-qm", "second", cwd=clone, **QUIET_GIT)
    run("git", "checkout", "-q", "-b", "branch", "HEAD~1", cwd=clone, **QUIET_GIT)
    run("git", "checkout", "-q", "main", cwd=clone, **QUIET_GIT)
    run("git", "gc", "-q", cwd=clone, **QUIET_GIT)
    run("git", "fsck", "--strict", cwd=clone, **QUIET_GIT)
    assert run("git", "status", "--porcelain", cwd=clone, **QUIET_GIT) == ""
    there = place.there / "clone"
    assert (
        run("git", "-c", "safe.directory=*", "log", "--format=%s", cwd=there, **QUIET_GIT)
        == "second\nfirst\n"
    )


def test_git_clone_within_the_mount(place: Place, source: Path) -> None:
    """A local clone makes hard links and compares inode numbers."""
    origin = place.here / "origin"
    run("git", "init", "-q", "-b", "main", origin, **QUIET_GIT)
    (origin / "f").write_text("content\n")
    run("git", "add", "-A", cwd=origin, **QUIET_GIT)
    run("git", "commit", "-qm", "first", cwd=origin, **QUIET_GIT)
    run("git", "clone", "-q", origin, place.here / "clone", **QUIET_GIT)
    assert (place.there / "clone" / "f").read_text() == "content\n"


def test_sqlite(place: Place) -> None:
    path = place.here / "base.db"
    base = sqlite3.connect(path)
    base.execute("create table t (k integer primary key, v text)")
    for batch in range(5):
        with base:
            base.executemany(
                "insert into t values (?, ?)", [(batch * 200 + n, f"value {n}" * 20) for n in range(200)]
            )
    base.execute("delete from t where k % 3 = 0")
    base.commit()
    base.execute("vacuum")
    assert base.execute("pragma integrity_check").fetchone() == ("ok",)
    count = base.execute("select count(*) from t").fetchone()
    base.close()
    there = sqlite3.connect(place.there / "base.db")
    assert there.execute("pragma integrity_check").fetchone() == ("ok",)
    assert there.execute("select count(*) from t").fetchone() == count
    there.close()


def test_vim_writes_a_file(place: Place) -> None:
    (place.there / "text").write_text("one\ntwo\n")
    os.chmod(place.there / "text", 0o640)
    run("vim", "-u", "NONE", "-N", "-es", "-c", "%s/two/three/", "-c", "wq", place.here / "text")
    assert (place.there / "text").read_text() == "one\nthree\n"
    assert (place.here / "text").read_text() == "one\nthree\n"
    assert (place.there / "text").stat().st_mode & 0o777 == 0o640
    assert os.listdir(place.there) == ["text"]


def test_sed_in_place_and_install(place: Place) -> None:
    (place.here / "f").write_text("a\nb\n")
    run("sed", "-i", "s/b/c/", place.here / "f")
    assert (place.there / "f").read_text() == "a\nc\n"
    run("install", "-D", "-m", "750", place.here / "f", place.here / "x" / "y" / "g")
    assert (place.there / "x" / "y" / "g").stat().st_mode & 0o777 == 0o750


def test_tail_follows_a_file_growing_on_the_server(place: Place) -> None:
    (place.there / "log").write_text("line 0\n")
    command = ["tail", "-n", "+1", "-f", "-s", "0.2", "---disable-inotify", place.here / "log"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tail:
        try:
            assert tail.stdout is not None
            os.set_blocking(tail.stdout.fileno(), False)
            seen = io.BytesIO()

            def grown(text: bytes) -> bool:
                seen.write(tail.stdout.read() or b"")  # type: ignore[union-attr]
                return text in seen.getvalue()

            eventually(lambda: grown(b"line 0\n"), 30)
            for number in (1, 2):
                with open(place.there / "log", "a") as file:
                    file.write(f"line {number}\n")
                eventually(lambda number=number: grown(b"line %d\n" % number), 60)  # type: ignore[misc]
        finally:
            tail.kill()
    assert seen.getvalue() == b"line 0\nline 1\nline 2\n"


def test_find_and_checksums_are_equal_on_both_sides(place: Place, source: Path) -> None:
    run("cp", "-a", source, place.there / "tree")
    script = "find . -type f -print0 | sort -z | xargs -0 sha256sum"
    there = run("sh", "-c", script, cwd=place.there / "tree")
    assert run("sh", "-c", script, cwd=place.here / "tree") == there
    assert len(there.splitlines()) == 201
    listing = "find . -printf '%P %y %m %s %Ts %l\\n' | sort"
    assert run("sh", "-c", listing, cwd=place.here / "tree") == run(
        "sh", "-c", listing, cwd=place.there / "tree"
    )


def check_virtual_environment(here: Path, *options: str) -> None:
    """Make one with pip, import from it, run its pip."""
    run(sys.executable, "-m", "venv", *options, here / "venv")
    python = here / "venv" / "bin" / "python"
    (here / "module.py").write_text("value = 42\n")
    words = run(python, "-c", "import sys, module; print(sys.prefix, module.value)", cwd=here)
    assert words.split() == [str(here / "venv"), "42"]
    assert "pip" in run(python, "-m", "pip", "--version")


def test_a_virtual_environment_inside_the_mount(place: Place) -> None:
    """By copies: links to the interpreter outside the mount are not followed by default."""
    check_virtual_environment(place.here, "--copies")


def test_a_virtual_environment_of_links_to_the_outside(make_mount: MakeMount) -> None:
    check_virtual_environment(make_mount("no_contain_symlinks").path)


def test_shell_redirections(place: Place) -> None:
    script = "echo a > f; echo b >> f; cat f f > g; mv g f; wc -l < f; : > f; test ! -s f"
    assert run("sh", "-ec", script, cwd=place.here).split() == ["4"]
    assert (place.there / "f").stat().st_size == 0


def test_dd_with_odd_sizes_and_fsync(place: Place, source: Path) -> None:
    run("dd", f"if={source}/big.bin", f"of={place.here}/f", "bs=7777", "conv=fsync", "status=none")
    assert (place.there / "f").read_bytes() == (source / "big.bin").read_bytes()
    run(
        "dd",
        f"if={place.here}/f",
        f"of={place.here}/g",
        "bs=1M",
        "oflag=append",
        "conv=notrunc",
        "status=none",
    )
    run("cmp", source / "big.bin", place.here / "g")


def test_deleting_a_tree(place: Place, source: Path) -> None:
    run("cp", "-a", source, place.there / "tree")
    run("rm", "-r", place.here / "tree")
    assert os.listdir(place.there) == []
