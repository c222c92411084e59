"""``sftpfs bench``: a short measurement of mounts of the user's own server."""

from __future__ import annotations

import argparse

from sftpfs.cli.options import value_parsers
from sftpfs.cli.options.parse import parse_arguments, usage_error
from sftpfs.cli.options.to_config import build_config
from sftpfs.cli.run.doctor import NOWHERE
from sftpfs.host.interrupts import Interrupts

DEFAULT_SIZE = "64"


def run(given: argparse.Namespace) -> int:
    """Prints a row for each measure. Returns 0, or the mount's status. Raises MountError."""
    words, size = take_size(given.words)
    arguments = parse_arguments(words)
    if len(arguments.positionals) != 1:
        raise usage_error("usage: sftpfs bench [user@]host:[directory] [--size MIB] [options]")
    arguments.positionals.append(NOWHERE)
    config = build_config(arguments)
    from sftpfs.doctor.bench import MountFailedError, bench

    def show(row: tuple[str, str]) -> None:
        print(f"{row[0]:<26} {row[1]}", flush=True)

    try:
        with Interrupts() as interrupts:
            bench(config, size, show, interrupts)
    except MountFailedError as failed:
        return failed.status
    return 0


def take_size(words: list[str]) -> tuple[list[str], int]:
    """``words`` without ``--size MIB``, and that. Raises MountError(USAGE)."""
    at = next((at for at, word in enumerate(words) if word.partition("=")[0] == "--size"), None)
    if at is None:
        return words, int(DEFAULT_SIZE)
    _, joined, text = words[at].partition("=")
    rest = words[:at] + words[at + (1 if joined else 2) :]
    text = text if joined else "".join(words[at + 1 : at + 2])
    try:
        return rest, value_parsers.integer(1, 65536)(text)
    except ValueError as error:
        raise usage_error(f"option --size: expected {error}, not {text!r}") from None
