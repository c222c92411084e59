"""Which clock is asked for what: only ``sftpfs.clock`` asks ``time``, and each room uses those it may."""

from __future__ import annotations

import ast
import stat
import time
from pathlib import Path

import pytest

import sftpfs
from sftpfs import clock
from sftpfs.config import CacheConfig
from sftpfs.types import Attributes
from sftpfs.vfs.tree.tree import Tree
from tests.harness.server_time import known_clock

ROOT = Path(sftpfs.__file__).parent
DIRECTORY = Attributes(stat.S_IFDIR | 0o755, 4096, 0, 0, 1, 1)

FREE = ("cli", "doctor")
"""Programs of a moment: nothing in them outlives a sleep or a step of the clock."""

OTHERS_CLOCKS = {
    "clock.py": "the seam",
    "transport/worker/streams/channel_fast_path.py": "asyncssh's, with which it is compared",
    "transport/worker/streams/lender.py": "asyncssh's, with which it is compared",
}

ASKING = {"monotonic", "time", "time_ns", "clock_gettime", "perf_counter", "now"}

AGES = {
    "data/content_state.py": "when content was fetched, or written",
    "remote/pool/connection.py": "when the server's clock was looked at",
    "remote/operations/name_changes.py": "when what was made was asked for",
    "remote/requests/read_directory.py": "when the names of a listing were asked for",
    "remote/client.py": "when what was made was asked for",
}
"""Who else counts the time that passes."""

AWAKE = ("data", "host/daemon.py", "remote", "sftp", "transport")
"""What waits, counts the time that this machine is awake; what knows, the time that passes."""

WALL_CLOCK = {
    "data/contents.py": "how long data lingers, as a distance either way",
    "data/writing/setattr_piggyback.py": "the same",
    "data/writing/settle.py": "how long ago the server was asked, as a distance either way",
    "data/writing/writer.py": "the mtime shown while dirty, how long data lingers, as a distance either way",
    "fuse/trace.py": "what people are shown",
    "mount/service.py": "what people are shown",
    "remote/requests/time_trust.py": "whether a server's times are of these days",
    "mount/salvage.py": "what people are shown",
    "server_clock.py": "while nothing is known of the server's, for what is older than a day; times shown",
    "vfs/tree/server_answers.py": "ctime",
    "vfs/tree/attribute_leases.py": "ctime",
    "vfs/tree/inode_table.py": "ctime",
}
"""Where the time of day is asked for, and what for: it may be set back or forth at any moment."""


def _asked(path: Path) -> set[str]:
    """Functions of ``sftpfs.clock`` (``clock.now``) and of ``time`` that a file uses or imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("clock", "time"):
                found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime", "sftpfs.clock"):
            module = node.module.removeprefix("sftpfs.")
            found |= {f"{module}.{name.name}" for name in node.names}
    return found


USED = {
    str(path.relative_to(ROOT)): _asked(path)
    for path in sorted(ROOT.rglob("*.py"))
    if path.relative_to(ROOT).parts[0] not in FREE
}


@pytest.mark.parametrize("name", [name for name in USED if name not in OTHERS_CLOCKS])
def test_time_is_asked_for_in_one_module(name: str) -> None:
    assert not {f"{module}.{one}" for module in ("time", "datetime") for one in ASKING} & USED[name]


def test_the_time_of_day_is_asked_for_nothing_else() -> None:
    assert {name for name, used in USED.items() if used & {"clock.wall", "clock.wall_ns"}} == set(WALL_CLOCK)


def test_a_sleep_ends_leases_and_no_deadline() -> None:
    for name, used in USED.items():
        if name.startswith(AWAKE):
            assert ("clock.now" in used) == (name in AGES), name
        if name.startswith("vfs"):
            assert "clock.awake" not in used, name


def test_what_was_known_before_a_sleep_is_asked_anew_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(b"/srv", DIRECTORY, CacheConfig(), known_clock())
    tree.install(tree.root, b"known", DIRECTORY)
    tree.install_absence(tree.root, b"missing")
    assert tree.root.directory is not None

    def asks(name: bytes) -> bool:
        assert tree.root.directory is not None
        return tree.child(tree.root.directory, tree.root.number, name, clock.now()) is True

    assert not asks(b"known") and not asks(b"missing")
    awake, slept = clock.now(), 3600.0
    monkeypatch.setattr(clock, "now", lambda: awake + slept)
    assert asks(b"known") and asks(b"missing")


def test_the_clock_of_leases_runs_on_in_a_sleep() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= clock.now() <= time.clock_gettime(time.CLOCK_BOOTTIME)
