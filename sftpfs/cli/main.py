"""The ``sftpfs`` command: reads argv, mounts or runs a command, and tells a failure in one line.

Called by the name of a helper of mount(8) or umount(8), it is that helper.
"""

from __future__ import annotations

import os
import sys

from sftpfs.cli.arguments import parse_arguments
from sftpfs.cli.dispatch import find_command, run_command
from sftpfs.cli.mount_helper import mount_helper
from sftpfs.cli.start import start
from sftpfs.cli.umount_helper import umount_helper
from sftpfs.process import guarded, to_stderr

HELPERS = {
    "mount.sftpfs": mount_helper,
    "mount.fuse.sftpfs": mount_helper,
    "umount.sftpfs": umount_helper,
    "umount.fuse.sftpfs": umount_helper,
    "umount.fuse": umount_helper,
}
"""Names under which ``sftpfs install-helpers`` links this program."""

BROKEN_PIPE_STATUS = 141
"""What a shell makes of SIGPIPE."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status (see ``sftpfs --help``)."""
    words = sys.argv[1:] if argv is None else argv
    helper = HELPERS.get(os.path.basename(sys.argv[0]))
    if helper is not None:
        return helper(words)
    return guarded(lambda: _run(words), to_stderr, debug="-d" in words)


def _run(argv: list[str]) -> int:
    command = find_command(argv)
    if command is None:
        return start(parse_arguments(argv))
    try:
        return run_command(command, argv[1:])
    except BrokenPipeError:
        # Whoever reads has seen enough ("| head"); Python is not to try again as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE_STATUS
