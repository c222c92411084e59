"""``sftpfs refresh PATH…``."""

from __future__ import annotations

from argparse import Namespace

from sftpfs.cli.show import ProgressLine, several
from sftpfs.control.client import connect
from sftpfs.control.location import find
from sftpfs.control.protocol import Values
from sftpfs.errors import Failure
from sftpfs.logs import printable
from sftpfs.process import exit_status, to_stderr


def run(given: Namespace) -> int:
    """What is seen below each path from now on is what the server has now."""
    line = ProgressLine()
    problems: list[str] = []
    for path in given.path:
        mount, inside = find(path)
        result: Values = {}
        with connect(mount) as client:
            try:
                for result in client.stream("refresh", path=inside):
                    if result.get("of"):
                        line.show(
                            f"{path}: {result.get('done', 0)} of "
                            f"{several(result['of'], 'directory', 'directories')}"
                        )
            finally:
                line.clear()
        problems += result.get("problems", [])
    for problem in problems:
        to_stderr(f"could not be listed: {printable(str(problem))}")
    return exit_status(Failure.COMMAND) if problems else 0
