"""Servers that take what is written to a file from front to back only: found out by the first other write.

Object stores behind a gateway, rclone without a cache. Used by ``remote.writes``, and by ``remote.opening``
for who else may write the file; ``data.handle`` refuses what is known not to be taken before it is accepted.
"""

from __future__ import annotations

import errno

from sftpfs.errors import Status, StatusError, error
from sftpfs.remote.open_files import OpenInode
from sftpfs.server_traits import ServerTraits, Traits

ANY_ORDER = "writes_in_any_order"
REFUSALS = (Status.FAILURE, Status.OP_UNSUPPORTED)


def judged(traits: ServerTraits, failure: BaseException | None) -> BaseException | None:
    """What a write came to that did not follow the one before and ended with ``failure``: EOPNOTSUPP where
    it was refused for its place, as far as that can be told."""
    if not traits.doubtful(ANY_ORDER):
        return failure
    if failure is None:
        traits.seen([ANY_ORDER])
        return None
    if not isinstance(failure, StatusError) or failure.explicit or failure.status not in REFUSALS:
        return failure
    told = f"a write that did not follow the one before was refused ({failure.strerror})"
    traits.contradict(ANY_ORDER, told)
    return error(errno.EOPNOTSUPP, told)


def check_one_writer(known: Traits, inode: OpenInode | None) -> None:
    """Before a file is opened to be written: where the server takes whole files, each CLOSE of one puts what
    that handle wrote in the place of all others'. Raises EOPNOTSUPP where somebody writes it."""
    if inode is not None and not known.writes_anywhere and any(file.undecided for file in inode.files):
        raise error(errno.EOPNOTSUPP, "this server takes whole files, and somebody writes this one")
