"""From parsed arguments to the mount: what ``sftpfs`` and ``mount.sftpfs`` have in common."""

from __future__ import annotations

import sys

from sftpfs import __version__
from sftpfs.cli.arguments import Arguments, explain
from sftpfs.cli.build import build_config
from sftpfs.cli.help import help_text


def start(arguments: Arguments, only_check: bool = False) -> int:
    """Mount, or show what was asked for; the exit status. Raises MountError.

    ``only_check``: end where the server would be asked first.
    """
    if arguments.show == "--help":
        sys.stdout.write(help_text())
        return 0
    if arguments.show == "--version":
        print(f"sftpfs {__version__}")
        return 0
    config = build_config(arguments)
    # Late: a wrong option is told at once, without loading the event loop and libfuse.
    from sftpfs.mount import check, run

    if only_check:
        check(config)
        return 0
    return run(config, explain(arguments))
