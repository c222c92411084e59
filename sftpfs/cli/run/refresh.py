"""``sftpfs refresh PATH…``."""

from __future__ import annotations

from argparse import Namespace

from sftpfs.cli.tools.human_format import ProgressLine, plural
from sftpfs.control.client import connect
from sftpfs.control.protocol import Values
from sftpfs.control.socket_location import find
from sftpfs.errors import Failure
from sftpfs.host.daemon import exit_status, to_stderr
from sftpfs.host.logs import printable


def run(given: Namespace) -> int:
    """From now on each path shows what the server has now."""
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
                            f"{plural(result['of'], 'directory', 'directories')}"
                        )
            finally:
                line.clear()
        problems += result.get("problems", [])
    for problem in problems:
        to_stderr(f"could not be listed: {printable(str(problem))}")
    return exit_status(Failure.COMMAND) if problems else 0
