"""What editors and databases do: many small steps that each wait for the one before."""

from __future__ import annotations

import os
import sqlite3
import sys

from tests.bench.dataset import Sizes
from tests.bench.steps import Measured, Place, Stopwatch, Workload, run_command

ROW = "x" * 100

TRANSACTIONS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, text TEXT)")
for number in range(int(sys.argv[2])):
    connection.execute("BEGIN")
    connection.execute("INSERT INTO rows VALUES (?, ?)", (number, sys.argv[3]))
    connection.execute("COMMIT")
connection.close()
"""


def save(place: Place) -> Measured:
    """What an editor does to be safe: a new file, fsync, renamed over the old one, then stat."""
    document = place.work / "document.txt"
    document.write_text("first\n")
    with Stopwatch() as watch:
        for number in range(place.data.sizes.saves):
            text = f"version {number}\n".encode() * 100
            new = place.work / f".document.txt.{number}"
            fd = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            try:
                os.write(fd, text)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(new, document)
            assert os.stat(document).st_size == len(text), f"wrong size after save {number}"
    assert (place.written / "document.txt").read_bytes() == text, "wrong bytes"
    assert os.listdir(place.written) == ["document.txt"]
    return Measured(watch.seconds)


def transact(place: Place) -> Measured:
    """Insert rows with SQLite's defaults, a transaction each."""
    count = place.data.sizes.transactions
    words = [sys.executable, "-I", "-c", TRANSACTIONS, place.work / "rows.db", str(count), ROW]
    with Stopwatch() as watch:
        run_command(words)
    with sqlite3.connect(place.written / "rows.db") as connection:
        rows = connection.execute("SELECT number, text FROM rows ORDER BY number").fetchall()
    connection.close()
    assert rows == [(number, ROW) for number in range(count)], f"{len(rows)} rows of {count}"
    return Measured(watch.seconds)


def workloads(sizes: Sizes) -> list[Workload]:
    """The rows of this module."""
    python = ((sys.executable, "-I", "-c", "import sqlite3"),)
    return [
        Workload("saves", f"{sizes.saves} atomic saves", save, units=sizes.saves),
        Workload("sqlite", f"{sizes.transactions} SQLite transactions", transact, (), python),
    ]
