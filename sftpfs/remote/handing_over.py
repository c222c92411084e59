"""What the server says to the CLOSE of a file that was written: there some decide about it.

Used by ``remote.file``. A quota, a gateway's upload, a new file's rename to its name: what cannot be done is
told in that answer alone. OpenSSH has said everything before; nobody waits for it there.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable

from sftpfs.aio import Slot
from sftpfs.errors import Status, StatusError, error
from sftpfs.remote.waiting import pass_on, when_done
from sftpfs.types import Attributes

logger = logging.getLogger(__name__)


def nobody_told(failure: OSError) -> None:
    """``RemoteFile.refused`` before somebody owns the file."""
    logger.error("the server refused what was written as the file was closed: %s", failure.strerror)


def watch(closing: Slot[None], refused: Callable[[OSError], None]) -> None:
    """``refused`` is called where the answer to the CLOSE of a file that was written is a refusal."""

    def answered(slot: Slot[None]) -> None:
        if isinstance(slot.error, StatusError):
            refused(slot.error)

    when_done(closing, answered)


def closed_and_seen(closing: list[Slot[None]], look: Callable[[], Slot[Attributes]]) -> Slot[Attributes]:
    """The answer to ``look`` once all of ``closing`` are answered; what the first refused, where one did."""
    result: Slot[Attributes] = Slot()
    left = len(closing)
    failure: BaseException | None = None

    def closed(slot: Slot[None]) -> None:
        nonlocal left, failure
        left -= 1
        failure = failure or slot.error
        if left:
            return
        if failure is not None:
            result.fail(failure)
        else:
            when_done(look(), seen)

    def seen(slot: Slot[Attributes]) -> None:
        if isinstance(slot.error, StatusError) and slot.error.status == Status.NO_SUCH_FILE:
            result.fail(error(errno.EIO, "the server closed the file, and has none of its name"))
        else:
            pass_on(slot, result)

    for slot in closing:
        when_done(slot, closed)
    return result


def kept(attributes: Attributes, least: int) -> OSError | None:
    """None where a file of ``attributes`` may have the ``least`` bytes that were acknowledged."""
    if attributes.size >= least:
        return None
    told = f"the server has {attributes.size:,} of the {least:,} bytes it had acknowledged"
    return error(errno.EIO, f"{told}, as the file is closed")
