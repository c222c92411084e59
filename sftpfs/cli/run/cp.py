"""``sftpfs cp SRC… DST``."""

from __future__ import annotations

import os
import signal
import time
from argparse import Namespace
from types import FrameType

from sftpfs.cli.copying import Copying
from sftpfs.cli.pace import Rate, progress
from sftpfs.cli.show import ProgressLine, several, size
from sftpfs.errors import Failure, MountError
from sftpfs.process import to_stderr

LOOK_INTERVAL = 0.2
"""Seconds between two looks at how far it is."""

FAILED_STATUS = 1
"""As cp(1)'s."""


def run(given: Namespace) -> int:
    """Everything was copied when it returns 0."""
    targets = destinations(given.src, given.dst)
    copying = Copying(recursive=given.recursive or given.archive, owners=given.preserve or given.archive)
    line, rate = ProgressLine(), Rate()
    begun = time.monotonic()
    told = 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        copying.start(targets)
        while not copying.finished.wait(LOOK_INTERVAL):
            told = _tell_problems(copying, told, line)
            line.show(progress(copying, rate.update(time.monotonic(), copying.bytes_done)))
    finally:
        line.clear()
        copying.stop()
        _tell_problems(copying, told, line)
    if copying.problems:
        return FAILED_STATUS
    if line.terminal:
        taken = time.monotonic() - begun
        print(
            f"{several(copying.files_done, 'file')} and {size(copying.bytes_done)} copied in {taken:.1f} s, "
            f"{size(copying.on_server)} of it on the server"
        )
    return 0


def destinations(sources: list[str], destination: str) -> list[tuple[str, str]]:
    """Where each source goes. Raises MountError(USAGE)."""
    if not os.path.isdir(destination):
        if len(sources) > 1:
            raise MountError(Failure.USAGE, f"{destination} is no directory, and there are several to copy")
        return [(sources[0], destination)]
    targets: dict[str, str] = {}
    for source in sources:
        name = os.path.basename(source.rstrip("/"))
        target = os.path.join(destination, name) if name not in ("", ".", "..") else destination
        if target in targets:
            raise MountError(Failure.USAGE, f"{targets[target]} and {source} would both become {target}")
        targets[target] = source
    return [(source, target) for target, source in targets.items()]


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell_problems(copying: Copying, told: int, line: ProgressLine) -> int:
    """Tell those that are new; how many were told."""
    new = copying.problems[told:]
    if new:
        line.clear()
    for problem in new:
        to_stderr(f"not copied: {problem}")
    return told + len(new)
