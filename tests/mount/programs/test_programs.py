"""Programs people run, on a real sshd."""

from __future__ import annotations

import hashlib
import io
import mailbox
import os
import random
import sqlite3
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.conftest import MakeMount, Place
from tests.harness.command import Terminal
from tests.harness.programs import run
from tests.harness.waiting import eventually

pytestmark = pytest.mark.limit(300)


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


WHEEL = {
    "answer.py": "def main():\n    print(42)\n",
    "answer-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: answer\nVersion: 1\n",
    "answer-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "answer-1.dist-info/entry_points.txt": "[console_scripts]\nanswer = answer:main\n",
    "answer-1.dist-info/RECORD": "",
}
"""A package of one program that prints 42."""


def make_virtual_environment(here: Path, *options: str) -> Path:
    """Its directory; imports from beside it."""
    run(sys.executable, "-m", "venv", *options, here / "venv")
    (here / "module.py").write_text("value = 42\n")
    script = "import sys, module; print(sys.prefix, module.value)"
    words = run(here / "venv" / "bin" / "python", "-c", script, cwd=here)
    assert words.split() == [str(here / "venv"), "42"]
    return here / "venv"


def test_pip_installs_into_a_virtual_environment_inside_the_mount(place: Place) -> None:
    """By copies: links to the interpreter outside the mount are not followed by default."""
    environment = make_virtual_environment(place.here, "--copies")
    wheel = place.here / "answer-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in WHEEL.items():
            archive.writestr(name, text)
    pip = (environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-index", wheel)
    assert run(environment / "bin" / "answer", cwd=Path("/")) == "42\n"


def test_a_virtual_environment_of_links_to_the_outside(make_mount: MakeMount) -> None:
    make_virtual_environment(make_mount("no_contain_symlinks").path, "--without-pip")


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


def test_zip_and_unzip(place: Place, source: Path) -> None:
    run("cp", "-a", source, place.here / "tree")
    run("zip", "-q", "-r", "-y", "a.zip", "tree", cwd=place.here)
    run("unzip", "-q", "a.zip", "-d", "out", cwd=place.here)
    run("diff", "-r", "--no-dereference", source, place.there / "out" / "tree")


def test_rsync_keeps_hard_links(place: Place, source: Path, tmp_path: Path) -> None:
    local = tmp_path / "local"
    run("cp", "-a", source, local)
    os.link(local / "big.bin", local / "twin.bin")
    command = ("rsync", "-aHAX", "--numeric-ids", "--itemize-changes", f"{local}/", place.here / "copy")
    run(*command)
    assert tree(place.there / "copy") == tree(local)
    one, other = (os.stat(place.there / "copy" / name) for name in ("big.bin", "twin.bin"))
    assert (one.st_ino, one.st_nlink) == (other.st_ino, 2)
    assert run(*command) == ""


SOURCES = 100

MAKEFILE = """
program: $(patsubst %.c,%.o,$(wildcard *.c))
\tgcc -o $@ $^
%.o: %.c
\tgcc -c -o $@ $<
"""


def test_make_over_many_sources(place: Place) -> None:
    here = place.here
    functions = [f"f{number}" for number in range(SOURCES)]
    for number, name in enumerate(functions):
        (here / f"{name}.c").write_text(f"int {name}(int x) {{ return x + {number}; }}\n")
    lines = [f"int {name}(int); r = {name}(r);" for name in functions]
    main = ["int main(void) { int r = 0;", *lines, f"return r != {sum(range(SOURCES))}; }}"]
    (here / "main.c").write_text("\n".join(main))
    (here / "Makefile").write_text(MAKEFILE)
    assert len(run("make", "-j2", cwd=here).splitlines()) == SOURCES + 2
    run(here / "program")
    run("make", "--question", cwd=here)
    later = os.stat(here / "program").st_mtime + 1
    os.utime(here / "f5.c", (later, later))
    assert "f5.o f5.c" in run("make", "--dry-run", cwd=here)


@pytest.mark.parametrize("kind", [mailbox.mbox, mailbox.Maildir], ids=["mbox", "maildir"])
def test_mailbox(place: Place, kind: type[mailbox.mbox | mailbox.Maildir]) -> None:
    for number in range(9):
        box = kind(place.here / "box", create=True)
        box.lock()
        message = mailbox.mboxMessage(f"Subject: {number}\n\n" + "From a line\n" * number)
        box.add(message)
        box.close()
    box = kind(place.here / "box")
    for key in [key for key in box.keys() if int(box[key]["Subject"]) % 3 == 0]:  # noqa: SIM118
        box.remove(key)
    box.close()
    there = kind(place.there / "box", create=False)
    assert sorted(message["Subject"] for message in there) == ["1", "2", "4", "5", "7", "8"]
    there.close()
    names = [name for _, _, files in os.walk(place.there) for name in files]
    assert not [name for name in names if "lock" in name]


def test_a_web_server_on_the_mount(place: Place, source: Path) -> None:
    run("cp", "-a", source / "big.bin", place.here / "big.bin")
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(
        command, cwd=place.here, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{server.stdout.readline().split()[5]}/"
            with urllib.request.urlopen(url, timeout=60) as page:
                assert b"big.bin" in page.read()
            with urllib.request.urlopen(f"{url}big.bin", timeout=60) as page:
                assert page.read() == (source / "big.bin").read_bytes()
        finally:
            server.kill()


def test_nano_saves_with_backup_and_lock_file(place: Place) -> None:
    (place.there / "text").write_text("one\n")
    os.chmod(place.there / "text", 0o640)
    words = ("--ignorercfiles", "--backup", "--locking", place.here / "text")
    with Terminal(*words, command=("env", "TERM=xterm", "nano")) as nano:
        nano.wait_for("one")
        assert ".text.swp" in os.listdir(place.there)
        nano.type("zero\r")
        nano.type("\x0f\r\x18")
        assert nano.finish() == 0
    assert (place.there / "text").read_text() == "zero\none\n"
    assert (place.there / "text~").read_text() == "one\n"
    assert (place.there / "text").stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(place.there)) == ["text", "text~"]
