"""The ``sftpfs`` command: reads argv, mounts or runs a command, and prints a failure as one line.

If it is called by the name of a helper of mount(8) or umount(8), it is that helper.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable

from sftpfs.cli.standard_streams import prepare_streams
from sftpfs.errors import Failure, MountError
from sftpfs.host.daemon import guarded, to_stderr

HELPERS = {
    "mount.sftpfs": "mount_helper",
    "mount.fuse.sftpfs": "mount_helper",
    "umount.sftpfs": "umount_helper",
    "umount.fuse.sftpfs": "umount_helper",
    "umount.fuse": "umount_helper",
}
"""Names under which ``sftpfs install-helpers`` links this program: the module of ``cli``, and its function.

Each way of being called loads its own modules alone: what a mount loads delays the mount.
"""

BROKEN_PIPE_STATUS = 141
"""What a shell makes of SIGPIPE."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status (see ``sftpfs --help``)."""
    prepare_streams()
    words = sys.argv[1:] if argv is None else argv
    helper = HELPERS.get(os.path.basename(sys.argv[0]))
    if helper is not None:
        run: Callable[[list[str]], int] = getattr(importlib.import_module(f"sftpfs.cli.{helper}"), helper)
        return run(words)
    return guarded(lambda: _run(words), to_stderr, debug="-d" in words)


def _run(argv: list[str]) -> int:
    if argv and may_be_command(argv[0]):
        from sftpfs.cli.commands.dispatch import find_command, run_command

        command = find_command(argv)
        if command is not None:
            return _printing(lambda: run_command(command, argv[1:]))
    from sftpfs.cli.mount_command import start
    from sftpfs.cli.options.parse import parse_arguments

    arguments = parse_arguments(argv)
    return _printing(lambda: start(arguments)) if arguments.show else start(arguments)


def may_be_command(word: str) -> bool:
    """Whether ``word`` can be a command's name: a server always has a colon, an option a dash."""
    return word[:1] != "-" and not set(word) & set(":/@")


def _printing(run: Callable[[], int]) -> int:
    """Runs ``run`` and waits until what it printed has left this process. Raises MountError if it could not
    be written."""
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
