"""Asks mounts to copy the content of open files on their servers."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from sftpfs.control.client import RequestFailedError, connect
from sftpfs.control.socket_location import find, our_mounts
from sftpfs.errors import MountError
from sftpfs.host.mountpoint import MountedAt

FINAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ETIMEDOUT})
"""Errors with which copying through this machine would fail as well. After any other error that is tried,
because it shows more."""

NO_COPY_DATA = "the server has no copy-data (OpenSSH has it since 9.0)"


class StoppedError(Exception):
    """The run was stopped while this was under way."""


class Progress(Protocol):
    """Takes the bytes done so far."""

    def __call__(self, done: int, *, on_server: bool) -> None: ...


class CopyOffload:
    """The mounts that may be asked, found as files on them are met. Used by many threads.

    INVARIANT: a mount that said it cannot copy is not asked again.
    """

    def __init__(self, stopped: threading.Event, report: Callable[[str], None] = lambda line: None) -> None:
        """``report`` takes a line for each file that one of our mounts has and does not copy, and why."""
        self._stopped = stopped
        self._report = report
        self._mounts: dict[int, MountedAt | None] = {}
        self._lock = threading.Lock()

    def copy(self, path: str, source: int, destination: int, progress: Progress) -> int | None:
        """Copies the content of open file ``source``, called ``path``, to ``destination``. Returns its size
        in bytes.

        Returns None if it must be copied through this machine; the destination may have part of it then.
        Raises OSError and StoppedError.
        """
        origin, target = os.fstat(source), os.fstat(destination)
        mount = self.mount(origin.st_dev) if origin.st_dev == target.st_dev else None
        if mount is None:
            return None
        try:
            return self._ask(mount, origin.st_ino, target.st_ino, progress)
        except RequestFailedError as failed:
            if failed.errno in FINAL:
                progress(0, on_server=True)
                raise OSError(failed.errno, os.strerror(failed.errno)) from None
            if failed.errno in (0, errno.EOPNOTSUPP):
                self._mounts[origin.st_dev] = None
            why = NO_COPY_DATA if failed.errno == errno.EOPNOTSUPP else str(failed)
        except MountError as failed:
            self._mounts[origin.st_dev] = None
            why = str(failed)
        self._report(f"'{path}' passes through this machine: {why}")
        return None

    def serves(self, device: int) -> bool:
        """Whether files of ``device`` are those of a mount of ours."""
        return self.mount(device) is not None

    def refresh(self, path: str) -> None:
        """Makes the mount that ``path`` is in end its leases there, so that it shows what the server has.

        Costs one round trip for each directory that the mount knows. For a link, refreshes both its name and
        what it leads to. If the mount or its server cannot be asked, the next lookup fails with the reason.
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

    def _ask(self, mount: MountedAt, source: int, destination: int, progress: Progress) -> int:
        with connect(mount) as client:
            size = 0
            for values in client.stream("copy", source=source, destination=destination):
                if self._stopped.is_set():
                    progress(0, on_server=True)
                    raise StoppedError
                size = int(values["size"] if "size" in values else values.get("bytes") or 0)
                if size:
                    progress(size, on_server=True)
            return size

    def mount(self, device: int) -> MountedAt | None:
        """The mount with device number ``device``, where it is ours to ask."""
        with self._lock:
            if device not in self._mounts:
                number = f"{os.major(device)}:{os.minor(device)}"
                found = [mount for mount in our_mounts() if mount.device == number]
                self._mounts[device] = found[0] if found else None
            return self._mounts[device]
