"""Where the root is asked for, and what is said when it is not there."""

from __future__ import annotations

import errno

import pytest

from sftpfs.config import Endpoint, MountConfig
from sftpfs.errors import Failure, SessionLostError, Status, StatusError
from sftpfs.mount.remote_root import home_relative, root_error

CONFIG = MountConfig(Endpoint("host", b"dir", "joe"), "/mnt")


@pytest.mark.parametrize(
    ("directory", "asked"),
    [
        (b"", b"."),
        (b"~", b"."),
        (b"~/", b"."),
        (b"~//", b"."),
        (b"~/x/y", b"x/y"),
        (b"x", b"x"),
        (b"/x", b"/x"),
        (b"~joe", b"~joe"),
    ],
)
def test_home_relative(directory: bytes, asked: bytes) -> None:
    assert home_relative(directory) == asked


@pytest.mark.parametrize(
    ("error", "failure", "message"),
    [
        (
            StatusError(Status.NO_SUCH_FILE),
            Failure.REMOTE_DIRECTORY,
            "remote directory dir does not exist on host",
        ),
        (
            OSError(errno.ENOTDIR, ""),
            Failure.REMOTE_DIRECTORY,
            "remote directory dir is not a directory on host",
        ),
        (
            StatusError(Status.PERMISSION_DENIED),
            Failure.REMOTE_DIRECTORY,
            "remote directory dir cannot be entered: permission denied on host",
        ),
        (SessionLostError("x", errno.ETIMEDOUT), Failure.TIMED_OUT, "host did not answer within 30 s"),
        (
            SessionLostError("reset by peer"),
            Failure.TRANSPORT,
            "the connection to host was lost: reset by peer",
        ),
        (OSError(errno.EIO, "odd"), Failure.REMOTE_DIRECTORY, "joe@host:dir: odd"),
    ],
)
def test_what_a_person_reads(error: OSError, failure: Failure, message: str) -> None:
    told = root_error(CONFIG, error)
    assert (told.failure, told.message) == (failure, message)
