"""Servers that take a file's content only from front to back, found out by the first other write.

Examples are object stores behind a gateway, and rclone without a cache. Used by
``remote.transfers.write_request``, and by ``remote.operations.open_file`` to decide who else may write the
file. ``data.file_handle`` refuses what is known not to be taken before it is accepted.
"""

from __future__ import annotations

import errno

from sftpfs.errors import Status, StatusError, error
from sftpfs.remote.handles.open_files import OpenInode
from sftpfs.server_traits import ServerTraits, Traits

ANY_ORDER = "writes_in_any_order"
REFUSALS = (Status.FAILURE, Status.OP_UNSUPPORTED)


def judged(traits: ServerTraits, failure: BaseException | None) -> BaseException | None:
    """The error of a write that did not follow the one before and ended with ``failure``: EOPNOTSUPP if it
    was refused for its place, as far as that can be told."""
    if not traits.doubtful(ANY_ORDER):
        return failure
    if failure is None:
        traits.seen([ANY_ORDER])
        return None
    if not isinstance(failure, StatusError) or failure.explicit or failure.status not in REFUSALS:
        return failure
    seen = f"a write that did not follow the one before was refused ({failure.strerror})"
    traits.contradict(ANY_ORDER, seen)
    return error(errno.EOPNOTSUPP, seen)


def check_one_writer(known: Traits, inode: OpenInode | None) -> None:
    """Runs before a file is opened to be written. If the server takes whole files, each CLOSE of one replaces
    what all other handles wrote. Raises EOPNOTSUPP if somebody writes it."""
    if inode is not None and not known.writes_anywhere and any(file.undecided for file in inode.files):
        raise error(errno.EOPNOTSUPP, "this server takes whole files, and somebody writes this one")
