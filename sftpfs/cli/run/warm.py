"""``sftpfs warm PATH…``."""

from __future__ import annotations

import time
from argparse import Namespace

from sftpfs.cli.tools.human_format import ProgressLine, plural, size
from sftpfs.cli.tools.transfer_rate import Rate, progress
from sftpfs.cli.tools.tree_warm import TreeWarm
from sftpfs.control.client import connect_to
from sftpfs.errors import Failure
from sftpfs.host.daemon import exit_status, to_stderr
from sftpfs.host.logs import printable

LOOK_INTERVAL = 0.2
"""Seconds between two updates of the progress."""

MOST_PROBLEMS = 20


def run(given: Namespace) -> int:
    """Returns 0 once everything below the paths was listed and read."""
    for path in given.path:
        client, _ = connect_to(path)
        with client:
            client.ask("statistics")  # it is there and answers
    warming, line, rate = TreeWarm(), ProgressLine(), Rate()
    begun = time.monotonic()
    printed = False
    try:
        warming.start(given.path)
        while not warming.finished.wait(LOOK_INTERVAL):
            line.show(progress(warming, rate.update(time.monotonic(), warming.bytes_done)))
            if warming.listed and not printed:
                printed = True
                line.clear()
                _print_memory_hint(warming.bytes_found)
    finally:
        line.clear()
        warming.stop()
    taken = time.monotonic() - begun
    print(
        f"{plural(warming.files_done, 'file')} and {size(warming.bytes_done)} in "
        f"{plural(warming.directories_done, 'directory', 'directories')} fetched in {taken:.1f} s "
        f"({size(warming.bytes_done / max(taken, 0.001))}/s)"
    )
    return _print_problems(warming)


def _print_memory_hint(found: int) -> None:
    """What is read is kept in memory, as far as there is room."""
    available = _available_memory()
    if found > available:
        to_stderr(
            f"{size(found)} is more than the memory that is free here ({size(available)}): "
            "of what is read first some will be dropped again"
        )


def _available_memory() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 1 << 62


def _print_problems(warming: TreeWarm) -> int:
    for path, problem in warming.problems[:MOST_PROBLEMS]:
        to_stderr(f"not fetched: {printable(path)}: {problem.strerror}")
    more = len(warming.problems) - MOST_PROBLEMS
    if more > 0:
        to_stderr(f"and {plural(more, 'further one')}")
    return exit_status(Failure.COMMAND) if warming.problems else 0
