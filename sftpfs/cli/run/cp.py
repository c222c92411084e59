"""``sftpfs cp SRC… DST``."""

from __future__ import annotations

import os
import threading
import time
from argparse import Namespace

from sftpfs.cli.copy_target import Kept
from sftpfs.cli.copy_walk import Named, Options
from sftpfs.cli.copying import Copying
from sftpfs.cli.pace import Rate, progress
from sftpfs.cli.server_side import ServerSide
from sftpfs.cli.show import ProgressLine, several, size
from sftpfs.errors import Failure, MountError
from sftpfs.interrupts import Interrupts
from sftpfs.logs import printable
from sftpfs.process import to_stderr

LOOK_INTERVAL = 0.2
"""Seconds between two looks at how far it is."""

FAILED_STATUS = 1
"""As cp(1)'s."""


def run(given: Namespace) -> int:
    """Everything was copied when it returns 0."""
    targets, problems = destinations(given.src, given.dst)
    copying = Copying(_options(given))
    copying.problems += problems
    line, rate = ProgressLine(), Rate()
    begun = time.monotonic()
    told = 0
    with Interrupts() as interrupts:
        try:
            copying.start(targets)
            with interrupts.allowed():
                while not copying.finished.wait(LOOK_INTERVAL):
                    told = _tell(copying, told, line)
                    line.show(progress(copying, rate.update(time.monotonic(), copying.bytes_done)))
        finally:
            line.clear()
            copying.stop()
            _tell(copying, told, line)
    if copying.problems:
        return FAILED_STATUS
    if line.terminal:
        taken = time.monotonic() - begun
        print(
            f"{several(copying.files_done, 'file')} and {size(copying.bytes_done)} copied in {taken:.1f} s, "
            f"{size(copying.on_server)} of it on the server"
        )
    return 0


def _options(given: Namespace) -> Options:
    """As cp(1) reads its letters: -a is -dR and -p, and with -r links that are named are copied as links."""
    recursive = given.recursive or given.archive
    links = given.no_dereference or given.archive
    kept = Kept(owners=given.preserve or given.archive, links=links, force=given.force)
    return Options(recursive, follow=not (recursive or links), verbose=given.verbose, kept=kept)


def destinations(sources: list[str], destination: str) -> tuple[list[Named], list[str]]:
    """Where each source goes, and what is to be told of those that go nowhere. Raises MountError(USAGE)."""
    if not _is_directory(destination):
        if len(sources) > 1:
            raise MountError(Failure.USAGE, f"target '{destination}' is not a directory")
        source, path = sources[0], destination.rstrip("/")
        if path != destination and not os.path.isdir(source):
            raise MountError(Failure.USAGE, f"cannot create regular file '{destination}': Not a directory")
        return [Named(source, *os.path.split(path))], []
    targets: dict[str, str] = {}
    problems: list[str] = []
    for source in sources:
        name = os.path.basename(source.rstrip("/"))
        name = name if name not in ("", ".", "..") else "."
        first = targets.setdefault(name, source)
        if first is not source and not _same(first, source):
            path = os.path.join(destination, name)
            problems.append(f"not copied: will not overwrite just-created '{path}' with '{source}'")
    return [Named(source, destination, name) for name, source in targets.items()], problems


def _is_directory(path: str) -> bool:
    """As the server has it: a mount may have taken it for missing before somebody made it."""
    if os.path.isdir(path):
        return True
    above = os.path.dirname(path.rstrip("/"))
    if above in ("", path) or _is_directory(above):
        ServerSide(threading.Event()).refresh(path)
    return os.path.isdir(path)


def _same(first: str, second: str) -> bool:
    """Two words for one source: nothing is lost if it is copied once."""
    try:
        return os.path.samestat(os.lstat(first), os.lstat(second))
    except OSError:
        return False


def _tell(copying: Copying, told: int, line: ProgressLine) -> int:
    """Tell what is new; how many problems were told."""
    new = copying.problems[told:]
    if new or copying.told:
        line.clear()
    while copying.told:
        print(printable(copying.told.popleft()), flush=not copying.told)
    for problem in new:
        to_stderr(problem)
    return told + len(new)
