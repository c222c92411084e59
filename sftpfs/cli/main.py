"""The ``sftpfs`` command: reads argv, mounts or runs a command, and tells a failure in one line."""

from __future__ import annotations

import sys

from sftpfs import __version__
from sftpfs.cli.arguments import explain, parse_arguments
from sftpfs.cli.build import build_config
from sftpfs.cli.dispatch import find_command, run_command
from sftpfs.cli.help import help_text
from sftpfs.process import guarded, to_stderr


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status (see ``sftpfs --help``)."""
    words = sys.argv[1:] if argv is None else argv
    return guarded(lambda: _run(words), to_stderr, debug="-d" in words)


def _run(argv: list[str]) -> int:
    command = find_command(argv)
    if command is not None:
        return run_command(command, argv[1:])
    arguments = parse_arguments(argv)
    if arguments.show == "--help":
        sys.stdout.write(help_text())
        return 0
    if arguments.show == "--version":
        print(f"sftpfs {__version__}")
        return 0
    config = build_config(arguments)
    # Late: a wrong option is told at once, without loading the event loop and libfuse.
    from sftpfs.mount import run

    return run(config, explain(arguments))
