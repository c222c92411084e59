"""What is read, copied and searched: made from a fixed seed, so that every run has the same bytes."""

from __future__ import annotations

import hashlib
import math
import os
import random
import shutil
import subprocess
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
BLOCK = MIB
SEED = 20
DAY = 86400
DEEPEST = 6
NEEDLE = "needle_in_the_tree"
NEEDLE_EVERY = 40
READERS = 4
PLACES = 40
FILES_PER_PLACE = 25
PACKAGES = 6
MEDIAN_SIZE, SPREAD = 8_000, 1.1
"""Of a file in the tree, lognormal: most between 1 and 30 KB, as in a source tree."""
SMALLEST, LARGEST = 200, 400_000
MEAN_SIZE = 13_000_000 / 858

_VOCABULARY = """
account archive buffer cache channel client codec command config control cursor device driver
encoder engine event export field filter format frame gateway handler header index input kernel
layout ledger lexer library loader logger manager matrix memory message model module monitor network
node object output packet parser patch pipeline plugin policy pool process profile protocol proxy
query queue reader record registry report request resolver router runtime schema scheduler search
sensor server session signal socket source stream string symbol system table target template thread
token tracker transport vector view worker writer
"""
WORDS = _VOCABULARY.split()
ENDINGS = (".py", ".c", ".h", ".rst", ".txt", ".json", ".go", ".md")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything. Bytes where not counts."""

    read: int = 256 * MIB
    write: int = 128 * MIB
    small_writes: int = 16 * MIB
    random_reads: int = 300
    files: int = 858
    directories: int = 55
    modules: int = 60
    saves: int = 50
    transactions: int = 30
    entries: int = 100_000


FULL = Sizes()
CPU = Sizes(read=1024 * MIB, random_reads=2000)
"""For processor time: what takes milliseconds is too little to compare."""
QUICK = Sizes(
    read=64 * MIB,
    write=32 * MIB,
    small_writes=4 * MIB,
    random_reads=60,
    files=60,
    directories=8,
    modules=18,
    saves=6,
    transactions=6,
    entries=10_000,
)

_base = random.Random(SEED).randbytes(BLOCK)
_tail = _base[8:]


def block(number: int) -> bytes:
    """Block ``number`` of every big file: BLOCK bytes, no two blocks the same."""
    return number.to_bytes(8, "big") + _tail


def is_block(data: bytes, number: int) -> bool:
    """Whether ``data`` is block ``number``; makes no copy."""
    return len(data) == BLOCK and data.startswith(number.to_bytes(8, "big")) and data.endswith(_tail)


def write_blocks(path: Path, size: int, first: int = 0) -> None:
    """A file of ``size`` bytes, blocks from ``first`` on."""
    with open(path, "wb") as file:
        for number in range(size // BLOCK):
            file.write(block(first + number))


class Manifest(dict[str, tuple[object, ...]]):
    """What a tree holds: relative path → kind, permissions, times where asked for, content's sha256."""

    @classmethod
    def of(cls, root: Path, *, modes: bool = False, times: bool = False) -> Manifest:
        """Read the tree at ``root``."""
        found = cls()
        for path in sorted(root.rglob("*")):
            status = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
            mode = status.st_mode & 0o7777 if modes else None
            when = int(status.st_mtime) if times else None
            found[str(path.relative_to(root))] = (content, mode, when)
        return found

    def differences(self, other: Manifest) -> str:
        """The first few, for a message; empty where there are none."""
        names = [name for name in sorted({*self, *other}) if self.get(name) != other.get(name)]
        return f"{len(names)} of {len(self)} entries differ: {names[:3]}" if names else ""


def _directories(rng: random.Random, root: Path, count: int) -> list[Path]:
    """``root`` and ``count`` below it, at most DEEPEST deep."""
    found = [root]
    while len(found) <= count:
        parent = rng.choice(found)
        path = parent / rng.choice(WORDS)
        if len(path.relative_to(root).parts) < DEEPEST and path not in found:
            found.append(path)
    return found[1:]


def _lengths(rng: random.Random, count: int) -> list[int]:
    drawn = [rng.lognormvariate(math.log(MEDIAN_SIZE), SPREAD) for _ in range(count)]
    scale = MEAN_SIZE * count / sum(drawn)
    return [int(min(max(size * scale, SMALLEST), LARGEST)) for size in drawn]


def _text(rng: random.Random, size: int) -> str:
    """A pool of source-like lines to cut files from."""
    parts, length = [], 0
    while length < size:
        line = "    " * rng.randrange(4) + " ".join(rng.choices(WORDS, k=rng.randrange(2, 11))) + "\n"
        parts.append(line)
        length += len(line)
    return "".join(parts)


def make_tree(root: Path, files: int, directories: int) -> None:
    """A source tree: ``files`` in ``directories`` below ``root``, a day old."""
    rng = random.Random(SEED)
    text = _text(rng, 2 * LARGEST)
    places = _directories(rng, root, directories)
    for place in places:
        place.mkdir(parents=True)
    taken: set[Path] = set()
    for number, length in enumerate(_lengths(rng, files)):
        place = places[number] if number < len(places) else rng.choice(places)
        path = place
        while path in taken or path == place:
            path = place / f"{rng.choice(WORDS)}_{rng.choice(WORDS)}{rng.choice(ENDINGS)}"
        taken.add(path)
        head = f"# {number} {path.name}{' ' + NEEDLE if number % NEEDLE_EVERY == 0 else ''}\n"
        start = rng.randrange(LARGEST)
        path.write_text((head + text[start : start + length])[: max(length, len(head))])
    age(root)


def age(root: Path, seconds: float = DAY) -> None:
    """Make everything below ``root`` that old."""
    when = int(time.time() - seconds)
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, (when, when), follow_symlinks=False)
    os.utime(root, (when, when))


def git(repository: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run git without anybody's configuration. Raises CalledProcessError."""
    return subprocess.run(
        ["git", "-C", str(repository), *words], env=git_environment(), check=True, capture_output=True
    )


def git_environment() -> dict[str, str]:
    """Nobody's configuration, a fixed author."""
    who = {
        f"GIT_{role}_{part}": "bench@localhost"
        for role in ("AUTHOR", "COMMITTER")
        for part in ("NAME", "EMAIL")
    }
    return {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


CHANGED, UNTRACKED = "changed_here.txt", "untracked_here.txt"
STATUS = f" M {CHANGED}\n?? {UNTRACKED}\n".encode()
"""What ``git status --porcelain`` must print."""


def make_repository(tree: Path, root: Path) -> None:
    """A packed repository of ``tree`` whose index is of no use: git must read every file."""
    shutil.copytree(tree, root)
    (root / CHANGED).write_text("before\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "all")
    git(root, "gc", "-q")
    (root / CHANGED).write_text("after!\n")
    (root / UNTRACKED).write_text("new\n")
    age(root, DAY / 2)
    shutil.copyfile(root / ".git" / "index", root.with_name(root.name + "-index"))


def make_modules(root: Path, count: int) -> None:
    """``count`` Python modules in packages, their ``__init__`` counted."""
    rng = random.Random(SEED)
    each = count // PACKAGES
    for package in range(PACKAGES):
        place = root / f"package{package}"
        place.mkdir(parents=True)
        for number in range(each):
            name = "__init__" if number == 0 else f"module{number:02}"
            lines = [f"NUMBER = {package * each + number}\n"]
            for function in range(rng.randrange(10, 60)):
                words = rng.choices(WORDS, k=4)
                lines.append(f"\n\ndef {words[0]}_{function}({words[1]}, other=None):\n")
                lines.append(f'    """{" ".join(words)}."""\n    return {words[1]}, other, {function}\n')
            (place / f"{name}.py").write_text("".join(lines))
    age(root)


def module_names(count: int) -> list[str]:
    """The modules of ``make_modules``, in order of import."""
    each = count // PACKAGES
    return [f"package{p}" + (f".module{n:02}" if n else "") for p in range(PACKAGES) for n in range(each)]


class Dataset:
    """Everything the server holds, below ``backing``, and its originals on the client's side.

    ``backing`` is read only to the workloads but for ``work``, made anew for every step.
    """

    def __init__(self, directory: Path, sizes: Sizes) -> None:
        self.sizes = sizes
        self.backing = directory / "backing"
        self.local = directory / "local"
        for place in (self.backing, self.local):
            place.mkdir()
        make_tree(self.local / "tree", sizes.files, sizes.directories)
        with tarfile.open(self.local / "tree.tar", "w") as archive:
            archive.add(self.local / "tree", "tree")
        self.manifest = Manifest.of(self.local / "tree")
        self.exact = Manifest.of(self.local / "tree", modes=True, times=True)
        self.tree_bytes = sum(
            path.stat().st_size for path in (self.local / "tree").rglob("*") if path.is_file()
        )
        subprocess.run(["cp", "-a", self.local / "tree", self.backing / "tree"], check=True)
        make_repository(self.local / "tree", self.backing / "repository")
        make_modules(self.backing / "modules", sizes.modules)
        self._make_files()

    def _make_files(self) -> None:
        sizes, backing = self.sizes, self.backing
        write_blocks(backing / "big", sizes.read)
        for reader in range(READERS):
            write_blocks(backing / f"part{reader}", sizes.read // READERS, reader * sizes.read)
        with open(backing / "endless", "wb") as file:
            file.truncate(1 << 40)
        for number in range(PLACES):
            place = backing / "places" / f"place{number:02}"
            place.mkdir(parents=True)
            for entry in range(FILES_PER_PLACE):
                (place / f"entry{entry:02}").write_bytes(b"x" * entry)
        (backing / "many").mkdir()
        for number in range(sizes.entries):
            os.close(os.open(backing / "many" / f"entry{number:06}", os.O_CREAT | os.O_WRONLY, 0o644))
        age(backing / "places")
        (backing / "work").mkdir()

    def fresh_work(self) -> Path:
        """Everything as before any step: ``work`` empty, the index as first made, nothing compiled."""
        work = self.backing / "work"
        shutil.rmtree(work)
        work.mkdir()
        repository = self.backing / "repository"
        (repository / ".git" / "index.lock").unlink(missing_ok=True)
        shutil.copyfile(self.backing / "repository-index", repository / ".git" / "index")
        for compiled in (self.backing / "modules").rglob("__pycache__"):
            shutil.rmtree(compiled)
            age(compiled.parent)
        return work

    def warm(self, names: tuple[str, ...]) -> None:
        """Have the server's kernel hold these: its disk is not what is compared."""
        for name in names:
            top = self.backing / name
            for path in [top] if top.is_file() else sorted(top.rglob("*")):
                if path.is_file():
                    with open(path, "rb", buffering=0) as file:
                        while file.read(BLOCK):
                            pass
                else:
                    path.lstat()


def drop_caches() -> None:
    """Have the kernel forget clean pages, names and inodes."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")
