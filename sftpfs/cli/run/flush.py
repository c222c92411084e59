"""``sftpfs flush MNT``."""

from __future__ import annotations

from argparse import Namespace

from sftpfs.cli.tools.drain_report import print_failures, what_waits
from sftpfs.cli.tools.human_format import ProgressLine
from sftpfs.control.client import Client, connect_to
from sftpfs.control.protocol import Values


def run(given: Namespace) -> int:
    """Returns 0 once everything written so far is on the server."""
    client, _ = connect_to(given.mnt)
    with client:
        return flush(client)


def flush(client: Client) -> int:
    """Waits, and reports what could not be written. Returns the exit status."""
    line = ProgressLine()
    result: Values = {}
    try:
        for result in client.stream("flush"):
            if "files" in result:
                line.show(what_waits(result))
    finally:
        line.clear()
    return print_failures(result)
