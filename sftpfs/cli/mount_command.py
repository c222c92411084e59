"""From parsed arguments to the mount: the part that ``sftpfs`` and ``mount.sftpfs`` share."""

from __future__ import annotations

import sys

from sftpfs import __version__
from sftpfs.cli.options.parse import Arguments, explain
from sftpfs.cli.options.to_config import build_config
from sftpfs.mount.start import check, run


def start(arguments: Arguments, only_check: bool = False) -> int:
    """Mounts, or shows what was asked for. Returns the exit status. Raises MountError.

    ``only_check``: ends at the point where the server would be asked first.
    """
    if arguments.show == "--help":
        from sftpfs.cli.docs.help import help_text

        sys.stdout.write(help_text())
        return 0
    if arguments.show == "--version":
        print(f"sftpfs {__version__}")
        return 0
    config = build_config(arguments)
    if only_check:
        check(config)
        return 0
    return run(config, explain(arguments))
