"""``sftpfs doctor``: examines this machine and a server, and says what each finding means."""

from __future__ import annotations

import argparse

from sftpfs.cli.options.parse import parse_arguments
from sftpfs.cli.options.to_config import build_config

TRY = "--try"
NOWHERE = "/nowhere"
"""Stands for the mountpoint: nothing is mounted."""


def run(given: argparse.Namespace) -> int:
    """Prints the findings. Returns 0 if a mount is possible, otherwise the status that the mount would end
    with.

    Raises MountError for wrong words.
    """
    from sftpfs.doctor.examine import examine

    tries = TRY in given.words
    arguments = parse_arguments([word for word in given.words if word != TRY])
    if not arguments.positionals:
        return examine(None)
    if len(arguments.positionals) == 1:
        arguments.positionals.append(NOWHERE)
    return examine(build_config(arguments), tries)
