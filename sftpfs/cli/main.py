"""The ``sftpfs`` command: reads argv, mounts or runs a command, and tells a failure in one line.

Called by the name of a helper of mount(8) or umount(8), it is that helper.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from sftpfs.cli.arguments import parse_arguments
from sftpfs.cli.dispatch import find_command, run_command
from sftpfs.cli.mount_helper import mount_helper
from sftpfs.cli.start import start
from sftpfs.cli.streams import prepare_streams
from sftpfs.cli.umount_helper import umount_helper
from sftpfs.errors import Failure, MountError
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
    prepare_streams()
    words = sys.argv[1:] if argv is None else argv
    helper = HELPERS.get(os.path.basename(sys.argv[0]))
    if helper is not None:
        return helper(words)
    return guarded(lambda: _run(words), to_stderr, debug="-d" in words)


def _run(argv: list[str]) -> int:
    command = find_command(argv)
    if command is not None:
        return _printing(lambda: run_command(command, argv[1:]))
    arguments = parse_arguments(argv)
    return _printing(lambda: start(arguments)) if arguments.show else start(arguments)


def _printing(run: Callable[[], int]) -> int:
    """``run``, until what it printed has left us. Raises MountError where that has no room."""
    try:
        status = run()
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _print_no_more()
        return BROKEN_PIPE_STATUS
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _print_no_more()
        message = f"cannot write to standard output: {error.strerror}"
        raise MountError(Failure.COMMAND, message) from None


def _print_no_more() -> None:
    """Python would try again as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
