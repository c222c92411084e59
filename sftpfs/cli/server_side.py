"""Asking mounts to copy the content of open files on their servers."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from sftpfs.control.client import RequestFailedError, connect
from sftpfs.control.location import find, our_mounts
from sftpfs.errors import MountError
from sftpfs.mountpoint import MountedAt

FINAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ETIMEDOUT})
"""What copying through here would fail with as well. Anything else is tried that way, which tells more."""

NO_COPY_DATA = "the server has no copy-data (OpenSSH has it since 9.0)"


class StoppedError(Exception):
    """The run was stopped while this was under way."""


class Told(Protocol):
    """Takes the bytes done so far."""

    def __call__(self, done: int, *, on_server: bool) -> None: ...


class ServerSide:
    """The mounts that may be asked, found as they are met. Used by many threads.

    INVARIANT: a mount that said it cannot copy is not asked again.
    """

    def __init__(self, stopped: threading.Event, tell: Callable[[str], None] = lambda line: None) -> None:
        """``tell`` takes a line for each file that a mount of ours has and does not copy, with the reason."""
        self._stopped = stopped
        self._tell = tell
        self._mounts: dict[int, MountedAt | None] = {}
        self._lock = threading.Lock()

    def copy(self, path: str, source: int, destination: int, told: Told) -> int | None:
        """The content of open file ``source``, called ``path``, to ``destination``: its size, bytes.

        None where it is to be copied through here. The destination may have part of it then. Raises
        OSError and StoppedError.
        """
        origin, target = os.fstat(source), os.fstat(destination)
        mount = self._mount(origin.st_dev) if origin.st_dev == target.st_dev else None
        if mount is None:
            return None
        try:
            return self._ask(mount, origin.st_ino, target.st_ino, told)
        except RequestFailedError as failed:
            if failed.errno in FINAL:
                told(0, on_server=True)
                raise OSError(failed.errno, os.strerror(failed.errno)) from None
            if failed.errno in (0, errno.EOPNOTSUPP):
                self._mounts[origin.st_dev] = None
            why = NO_COPY_DATA if failed.errno == errno.EOPNOTSUPP else str(failed)
        except MountError as failed:
            self._mounts[origin.st_dev] = None
            why = str(failed)
        self._tell(f"'{path}' passes through this machine: {why}")
        return None

    def serves(self, device: int) -> bool:
        """Files of ``device`` are those of a mount of ours."""
        return self._mount(device) is not None

    def refresh(self, path: str) -> None:
        """Have the mount ``path`` is in end its leases there: what is seen then is what the server has.

        One round trip for each directory it knows. Of a link, both its name and what it leads to. Where
        the mount cannot be asked, or not its server, whoever looks next meets that.
        """
        if not self._stopped.is_set():
            self.look_again(path)

    def look_again(self, path: str) -> None:
        """As ``refresh``, also where the run was stopped."""
        above, name = os.path.split(path.rstrip("/"))
        if name in ("", ".", "..") or not self._refresh(above or ".", name):
            self._refresh(path or ".", "")
        elif os.path.islink(path):
            self._refresh(path, "")

    def _refresh(self, directory: str, name: str) -> bool:
        """``name`` in ``directory``, or all of that; False where no mount of ours is there."""
        with suppress(OSError, MountError):
            if not self.serves(os.stat(directory).st_dev):
                return False
            found = find(directory)
            with connect(found.mount) as client:
                client.ask("refresh", path=os.path.join(found.inside, name))
        return True

    def _ask(self, mount: MountedAt, source: int, destination: int, told: Told) -> int:
        with connect(mount) as client:
            size = 0
            for values in client.stream("copy", source=source, destination=destination):
                if self._stopped.is_set():
                    told(0, on_server=True)
                    raise StoppedError
                size = int(values["size"] if "size" in values else values.get("bytes") or 0)
                if size:
                    told(size, on_server=True)
            return size

    def _mount(self, device: int) -> MountedAt | None:
        """The mount with device number ``device``, where it is ours to ask."""
        with self._lock:
            if device not in self._mounts:
                number = f"{os.major(device)}:{os.minor(device)}"
                found = [mount for mount in our_mounts() if mount.device == number]
                self._mounts[device] = found[0] if found else None
            return self._mounts[device]
