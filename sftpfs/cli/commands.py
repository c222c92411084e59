"""The one table of commands: dispatch, ``--help``, the README, the man page and completion are made from it.

Owns rows only; what a command does is in ``sftpfs/cli/run/``.
"""

from __future__ import annotations

from sftpfs.cli.command import Argument, Command, Count, Word

_MOUNT = Argument("MNT", "the mountpoint, or any path below it", Word.MOUNTPOINT)
_PATHS = Argument("PATH", "files or directories in a mount", Word.PATH, Count.SOME)

COMMANDS: tuple[Command, ...] = (
    Command(
        "status",
        "how a mount is; without MNT, all mounts of yours",
        "Tells the server, how long it takes to answer, the connections, what is cached, what is "
        "written and not yet on the server, and the last problem.",
        (Argument("MNT", _MOUNT.help, Word.MOUNTPOINT, Count.OPTIONAL),),
    ),
    Command(
        "flush",
        "wait until all that was written is on the server",
        "Sends what was written through the mount and waits until the server has acknowledged it. "
        "Ends with status 74 where something could not be written.",
        (_MOUNT,),
    ),
    Command(
        "refresh",
        "see now what the server has",
        "Believes nothing any more of what is cached about these paths and everything below them, "
        "and makes the kernel forget it too: names, attributes and content. For changes made "
        "elsewhere that shall be seen before the leases end. What was written here and is not on "
        "the server yet is kept.",
        (_PATHS,),
    ),
)
"""In the order the help shows them."""
