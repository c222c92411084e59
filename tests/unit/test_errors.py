"""What a status says: the codes of version 3, those of later versions, and the server's own words."""

from __future__ import annotations

import errno
import os

import pytest

from sftpfs.errors import LATER_STATUS_TO_ERRNO, MESSAGE_TO_ERRNO, Status, StatusError


@pytest.mark.parametrize(
    ("status", "message", "number", "explicit"),
    [
        (Status.FAILURE, "Failure", errno.EIO, False),
        (Status.FAILURE, "", errno.EIO, False),
        (Status.FAILURE, "Disk quota exceeded", errno.EDQUOT, True),
        (Status.FAILURE, "No space left on device.", errno.ENOSPC, True),
        (Status.FAILURE, "the file exists somewhere", errno.EIO, False),
        (Status.FAILURE, "rename /a: b /c: file exists", errno.EEXIST, True),
        (Status.PERMISSION_DENIED, "Read-only file system", errno.EACCES, False),
        (Status.NO_SUCH_FILE, "No such file", errno.ENOENT, False),
        (14, "", errno.ENOSPC, True),
        (15, "over", errno.EDQUOT, True),
        (99, "", errno.EIO, False),
    ],
)
def test_a_status_and_its_message(status: int, message: str, number: int, explicit: bool) -> None:
    failure = StatusError(status, message)
    assert (failure.errno, failure.status, failure.explicit) == (number, status, explicit)


def test_messages_are_those_of_the_system() -> None:
    assert {os.strerror(number).lower(): number for number in MESSAGE_TO_ERRNO.values()} == MESSAGE_TO_ERRNO


def test_later_codes_do_not_touch_those_of_version_3() -> None:
    assert min(LATER_STATUS_TO_ERRNO) > max(Status)
