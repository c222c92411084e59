"""Locks, and the databases that rely on them."""

from __future__ import annotations

import fcntl
import sqlite3
import subprocess
import sys

from tests.conftest import Place
from tests.semantics.statements import states

TRY_LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    try:
        getattr(fcntl, sys.argv[2])(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(3)
"""


@states(
    "K1",
    "`flock` and `fcntl` locks are kept by this machine's kernel: they hold between processes that use this "
    "mount.",
)
def test_locks_hold_between_processes(place: Place) -> None:
    (place.here / "f").touch()
    for how in ("flock", "lockf"):
        command = [sys.executable, "-c", TRY_LOCK, place.here / "f", how]
        with open(place.here / "f", "r+") as file:
            getattr(fcntl, how)(file, fcntl.LOCK_EX)
            assert subprocess.run(command, timeout=30).returncode == 3
            getattr(fcntl, how)(file, fcntl.LOCK_UN)
            assert subprocess.run(command, timeout=30).returncode == 0


WRITER = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for _ in range(20):
    base.execute("begin immediate")
    (value,) = base.execute("select value from counter").fetchone()
    base.execute("update counter set value = ?", (value + 1,))
    base.execute("commit")
base.close()
"""


def count_together(place: Place, mode: str) -> None:
    """Two processes count up in one database; none of their transactions may be lost."""
    path = place.here / "base"
    base = sqlite3.connect(path, timeout=60, isolation_level=None)
    assert base.execute(f"pragma journal_mode={mode}").fetchone() == (mode,)
    base.execute("create table counter (value integer)")
    base.execute("insert into counter values (0)")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path]) for _ in range(2)]
    assert [writer.wait(90) for writer in writers] == [0, 0]
    assert base.execute("select value from counter").fetchone() == (40,)
    assert base.execute("pragma integrity_check").fetchone() == ("ok",)
    base.close()
    there = sqlite3.connect(place.there / "base")
    assert there.execute("select value from counter").fetchone() == (40,)
    there.close()


@states("K3", "SQLite in rollback mode is safe as long as all its users are on one client.")
def test_sqlite_in_rollback_mode(place: Place) -> None:
    count_together(place, "delete")


@states(
    "K4", "SQLite in WAL mode works between processes of one client; its shared memory is a file mapped here."
)
def test_sqlite_in_wal_mode(place: Place) -> None:
    count_together(place, "wal")
