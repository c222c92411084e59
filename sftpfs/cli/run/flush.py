"""``sftpfs flush MNT``."""

from __future__ import annotations

from argparse import Namespace

from sftpfs.cli.show import ProgressLine, duration, several, size
from sftpfs.control.client import Client, connect_to
from sftpfs.control.protocol import Values
from sftpfs.logs import printable
from sftpfs.process import DATA_LOST_STATUS, to_stderr


def run(given: Namespace) -> int:
    """Everything written so far is on the server when it returns 0."""
    client, _ = connect_to(given.mnt)
    with client:
        return flush(client)


def flush(client: Client) -> int:
    """Wait, and tell what could not be written; the exit status."""
    line = ProgressLine()
    result: Values = {}
    try:
        for result in client.stream("flush"):
            if "files" in result:
                line.show(what_waits(result))
    finally:
        line.clear()
    return tell_failures(result)


def what_waits(values: Values) -> str:
    """How much is not on the server yet."""
    text = f"{size(values.get('bytes', 0))} in {several(values['files'], 'file')} to go"
    if values.get("lost_for") is not None:
        text += f"; the server is out of reach for {duration(values['lost_for'])}"
    return text


def tell_kept(client: Client, result: Values) -> None:
    """That the mount is off, and its process goes on."""
    if result.get("kept"):
        to_stderr(
            f"{client.mount.path} is off here; {printable(str(result['kept']))} still has it: "
            f"process {client.pid} goes on until that ends"
        )


def tell_failures(result: Values) -> int:
    """A line for each file that could not be written; the exit status."""
    failures = result.get("failures", [])
    for failure in failures:
        to_stderr(f"not written: {printable(str(failure))}")
    more = result.get("failed", 0) - len(failures)
    if more > 0:
        to_stderr(f"and {several(more, 'further file')}")
    return DATA_LOST_STATUS if failures else 0
