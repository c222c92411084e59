"""``sftpfs cp SRC… DST``."""

from __future__ import annotations

import os
import threading
import time
from argparse import Namespace

from sftpfs.cli.copy.offload import CopyOffload
from sftpfs.cli.copy.target import Preserve
from sftpfs.cli.copy.tree_copy import TreeCopy
from sftpfs.cli.copy.walk import NamedSource, Options
from sftpfs.cli.tools.human_format import ProgressLine, plural, size
from sftpfs.cli.tools.transfer_rate import Rate, progress
from sftpfs.errors import Failure, MountError
from sftpfs.host.daemon import to_stderr
from sftpfs.host.interrupts import Interrupts
from sftpfs.host.logs import printable

LOOK_INTERVAL = 0.2
"""Seconds between two updates of the progress."""

FAILED_STATUS = 1
"""As cp(1)'s."""


def run(given: Namespace) -> int:
    """Returns 0 once everything was copied."""
    targets, problems = destinations(given.src, given.dst)
    copying = TreeCopy(_options(given))
    copying.problems += problems
    line, rate = ProgressLine(), Rate()
    begun = time.monotonic()
    printed = 0
    with Interrupts() as interrupts:
        try:
            copying.start(targets)
            with interrupts.allowed():
                while not copying.finished.wait(LOOK_INTERVAL):
                    printed = _print_news(copying, printed, line)
                    line.show(progress(copying, rate.update(time.monotonic(), copying.bytes_done)))
        finally:
            line.clear()
            copying.stop()
            _print_news(copying, printed, line)
    if copying.problems:
        return FAILED_STATUS
    if line.terminal:
        taken = time.monotonic() - begun
        print(
            f"{plural(copying.files_done, 'file')} and {size(copying.bytes_done)} copied in {taken:.1f} s, "
            f"{size(copying.on_server)} of it on the server"
        )
    return 0


def _options(given: Namespace) -> Options:
    """As cp(1) reads its letters: -a is -dR and -p, and with -r links that are named are copied as links."""
    recursive = given.recursive or given.archive
    links = given.no_dereference or given.archive
    kept = Preserve(owners=given.preserve or given.archive, links=links, force=given.force)
    return Options(recursive, follow=not (recursive or links), verbose=given.verbose, kept=kept)


def destinations(sources: list[str], destination: str) -> tuple[list[NamedSource], list[str]]:
    """Where each source goes, and what to report of those that go nowhere. Raises MountError(USAGE)."""
    if not _is_directory(destination):
        if len(sources) > 1:
            raise MountError(Failure.USAGE, f"target '{destination}' is not a directory")
        source, path = sources[0], destination.rstrip("/")
        if path != destination and not os.path.isdir(source):
            raise MountError(Failure.USAGE, f"cannot create regular file '{destination}': Not a directory")
        return [NamedSource(source, *os.path.split(path))], []
    targets: dict[str, str] = {}
    problems: list[str] = []
    for source in sources:
        name = os.path.basename(source.rstrip("/"))
        name = name if name not in ("", ".", "..") else "."
        first = targets.setdefault(name, source)
        if first is not source and not _same(first, source):
            path = os.path.join(destination, name)
            problems.append(f"not copied: will not overwrite just-created '{path}' with '{source}'")
    return [NamedSource(source, destination, name) for name, source in targets.items()], problems


def _is_directory(path: str) -> bool:
    """Whether it is a directory on the server; a mount may have taken it for missing before somebody made
    it."""
    if os.path.isdir(path):
        return True
    above = os.path.dirname(path.rstrip("/"))
    if above in ("", path) or _is_directory(above):
        CopyOffload(threading.Event()).refresh(path)
    return os.path.isdir(path)


def _same(first: str, second: str) -> bool:
    """Whether two words name one source; copying it once loses nothing."""
    try:
        return os.path.samestat(os.lstat(first), os.lstat(second))
    except OSError:
        return False


def _print_news(copying: TreeCopy, printed: int, line: ProgressLine) -> int:
    """Prints what is new. Returns how many problems were printed so far."""
    new = copying.problems[printed:]
    if new or copying.lines:
        line.clear()
    while copying.lines:
        print(printable(copying.lines.popleft()), flush=not copying.lines)
    for problem in new:
        to_stderr(problem)
    return printed + len(new)
