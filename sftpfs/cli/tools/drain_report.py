"""What a person reads while a mount writes the rest of its data, and about data it could not write."""

from __future__ import annotations

from sftpfs.cli.tools.human_format import duration, plural, size
from sftpfs.control.client import Client
from sftpfs.control.protocol import Values
from sftpfs.host.daemon import DATA_LOST_STATUS, to_stderr
from sftpfs.host.logs import printable


def what_waits(values: Values) -> str:
    """How much is not on the server yet."""
    text = f"{size(values.get('bytes', 0))} in {plural(values['files'], 'file')} to go"
    if values.get("lost_for") is not None:
        text += f"; the server is out of reach for {duration(values['lost_for'])}"
    return text


def print_kept(client: Client, result: Values) -> None:
    """Says that the mount is off, and that its process goes on."""
    if result.get("kept"):
        to_stderr(
            f"{client.mount.path} is off here; {printable(str(result['kept']))} still has it: "
            f"process {client.pid} goes on until that ends"
        )


def print_failures(result: Values) -> int:
    """Prints a line for each file that could not be written. Returns the exit status."""
    failures = result.get("failures", [])
    for failure in failures:
        to_stderr(f"not written: {printable(str(failure))}")
    more = result.get("failed", 0) - len(failures)
    if more > 0:
        to_stderr(f"and {plural(more, 'further file')}")
    return DATA_LOST_STATUS if failures else 0
