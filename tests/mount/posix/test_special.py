"""What SFTP cannot make is refused, and nothing is left of the try."""

from __future__ import annotations

import errno
import os
import socket
import stat

import pytest

from tests.conftest import Place
from tests.harness.kernel import fails_with

REFUSED = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_mknod_of_a_special_file_is_refused(place: Place, kind: int) -> None:
    with fails_with(*REFUSED):
        os.mknod(place.here / "special", kind | 0o600, os.makedev(1, 3))
    assert os.listdir(place.there) == []


def test_a_unix_socket_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its relative name: a socket address takes no long path."""
    monkeypatch.chdir(place.here)
    with socket.socket(socket.AF_UNIX) as end, fails_with(*REFUSED):
        end.bind("s")
    assert os.listdir(place.there) == []
