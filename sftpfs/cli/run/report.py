"""``sftpfs report [MNT]``: one archive for a bug report."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
import time
from argparse import Namespace
from contextlib import suppress

from sftpfs.cli.run import report_contents
from sftpfs.cli.tools.human_format import plural
from sftpfs.control.socket_location import find, our_mounts
from sftpfs.errors import Failure, MountError
from sftpfs.host.logs import printable

CONTENTS = (
    "It holds versions, what doctor finds on this machine, and of each mount options, status, counters,\n"
    "log and mountinfo. Secrets are left out; names of hosts, users and files may be in it: look before you\n"
    "publish it."
)


def run(given: Namespace) -> int:
    """Write the archive; print its name and what it holds."""
    mounts = [find(given.mnt).mount] if given.mnt else our_mounts()
    name = time.strftime("sftpfs-report-%Y%m%d-%H%M%S")
    texts = {"versions.txt": report_contents.versions(), "doctor.txt": report_contents.machine()}
    silent = []
    for place, mount in enumerate(mounts, 1):
        found = report_contents.of_mount(mount)
        silent += [found[report_contents.SILENT].strip()] if report_contents.SILENT in found else []
        texts.update({f"mount-{place}/{file}": text for file, text in found.items()})
    # Not the working directory: that may be in the mount that gives no answer.
    path = given.to or os.path.join(tempfile.gettempdir(), f"{name}.tar.gz")
    _write(path, _archive(name, texts))
    print(printable(path))
    for line in silent:
        print(printable(f"Told from outside only: {line}"))
    print(f"{plural(len(mounts), 'mount')}. {CONTENTS}")
    return 0


def _archive(name: str, texts: dict[str, str]) -> bytes:
    """The tar.gz with a directory ``name`` in it."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        for file, text in texts.items():
            data = text.encode("utf-8", "backslashreplace")
            entry = tarfile.TarInfo(f"{name}/{file}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    return written.getvalue()


def _write(path: str, data: bytes) -> None:
    """Writes a new file that only its owner may read, complete or not at all. Raises MountError."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise MountError(Failure.COMMAND, f"the report cannot be made as {path}: {error.strerror}") from None
    try:
        with open(fd, "wb") as file:
            file.write(data)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(path)
        if isinstance(error, OSError):
            problem = f"the report cannot be written to {path}: {error.strerror}; --to names another place"
            raise MountError(Failure.COMMAND, problem) from None
        raise
