"""``python -m tests.servers [--server NAME…] [--check NAME…] [--contestant NAME] [--install [FOLDER]]``.

Runs the core over each server through a real mount and prints what comes of it; status 1 where there was a
lie or a hang. ``--install`` fetches what is not on the machine: into a folder that is kept, or into one that
goes at the end. Needs root.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from tests.harness import processes
from tests.servers.packages import Store
from tests.servers.table import Row, print_row, print_table
from tests.servers.trial import CONTESTANTS, NAMES, Trial, local_accounts
from tests.servers.zoo import SERVERS

TEMPORARY = "temporary"


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers", description="One core of checks on every server"
    )
    parser.add_argument("--server", nargs="+", choices=list(SERVERS), default=list(SERVERS), metavar="NAME")
    parser.add_argument("--check", nargs="+", choices=list(NAMES), default=list(NAMES), metavar="NAME")
    parser.add_argument("--contestant", choices=list(CONTESTANTS), default="sftpfs")
    parser.add_argument(
        "--install", nargs="?", const=TEMPORARY, metavar="FOLDER", help="fetch servers (into FOLDER)"
    )
    parser.add_argument("--list", action="store_true", help="only say which servers and checks there are")
    return parser.parse_args()


ending: list[int] = []
"""The signal that ends us, once there was one."""

ENDED = 2
"""Our status then."""


def end(number: int, _frame: FrameType | None) -> None:
    """Leave, by way of everything that has to be ended."""
    ending.append(number)
    sys.exit(ENDED)


def run(options: argparse.Namespace, folder: Path) -> list[Row]:
    """A row for each server that is there."""
    store = Store(
        folder / "packages" if options.install in (None, TEMPORARY) else Path(options.install).resolve()
    )
    local = local_accounts(folder / "local", options.check)
    rows = []
    for name in options.server:
        kind = SERVERS[name]
        if options.install and not kind.there(store):
            store.install(kind.packages)
        if not kind.there(store):
            print(f"{name}: not here; --install fetches it", flush=True)
            continue
        trial = Trial(kind, options.contestant, folder / name.replace(",", "+"), store)  # of -o options
        try:
            row = Row(name, dict(trial.run(options.check, local)))
        except AssertionError as problem:
            if ending:  # what was ended in the middle complained in its place
                sys.exit(ENDED)
            print(f"{name}: {problem}\n", flush=True)
            row = Row(name, {})
        else:
            print_row(row)
        rows.append(row)
    return rows


def main() -> int:
    """Run, print, and end everything on any signal."""
    options = arguments()
    if options.list:
        print("servers:", *SERVERS, "\nchecks:", *NAMES)
        return 0
    processes.mark_run()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    with tempfile.TemporaryDirectory(prefix="sftpfs-servers-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        os.environ["XDG_STATE_HOME"] = f"{folder}/state"  # what a mount could not write is nobody's loss here
        rows = run(options, Path(folder))
    print_table(rows, options.contestant)
    return int(any(row.bad() for row in rows))


if __name__ == "__main__":
    sys.exit(main())
