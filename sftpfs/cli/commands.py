"""The one table of commands: dispatch, ``--help``, the README, the man page and completion are made from it.

Owns rows only; what a command does is in ``sftpfs/cli/run/``.
"""

from __future__ import annotations

from sftpfs.cli.command import Command

COMMANDS: tuple[Command, ...] = ()
"""In the order the help shows them."""
