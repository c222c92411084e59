"""What is said where the mountpoint's name may lead elsewhere once the mount is there."""

from __future__ import annotations

import threading

import pytest
import trio

from sftpfs.errors import Failure, MountError
from sftpfs.host import mountpoint
from sftpfs.host.mount_directory import Place
from sftpfs.mount.service import _Service


class Looked(Place):
    """A place on ``/mnt`` of which is known what a look at it tells."""

    __slots__ = ("_end", "_shown")

    def __init__(self, shown: bool | None) -> None:
        self.path = "/mnt"
        self._shown = shown
        self._end = threading.Event()

    def is_shown(self) -> bool:
        if self._shown is None:
            self._end.wait(60)  # a file system on the way hangs
        return bool(self._shown)


def said_of(shown: bool | None) -> str:
    place = Looked(shown)
    service = object.__new__(_Service)
    service._place = place
    with pytest.raises(MountError) as raised:
        try:
            trio.run(service._check_place)
        finally:
            place._end.set()
    assert raised.value.failure is Failure.MOUNTPOINT
    return str(raised.value)


def test_another_directory_is_told_from_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "/mnt became another directory" in said_of(False)
    monkeypatch.setattr(mountpoint, "PROBE_LIMIT", 0.1)
    told = said_of(None)
    assert "where /mnt leads by now could not be seen within 0.1 s; nothing is mounted" in told
    assert "became" not in told
