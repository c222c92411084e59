"""Starts the fork server's process, before the front has loaded what it runs on.

Both load libraries for some tenths of a second, and each needs its own: started side by side they take the
time of one. So this imports nothing of trio. Used by the composition root, and by ``transport.fork_client``
for a fork server that takes the place of one that died.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import sftpfs
from sftpfs.host import covered_files
from sftpfs.transport import messages

PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from sftpfs.transport.worker.fork_server import main; main()"
)


@cache
def search_path() -> str:
    """Where the fork server finds what it imports, for PROGRAM: the same places as this process.

    It is started with -I. What PYTHONPATH, PYTHONHOME or the current directory would add is in this list if
    this process heeds it, and otherwise must not be. Looked up once, before the mount, because whoever serves
    the kernel looks nothing up by name.
    """
    root = str(Path(sftpfs.__file__).resolve().parent.parent)
    found = [path for path in sys.path if os.path.isabs(path)]
    return json.dumps(found if root in found else [root, *found])


class Launched(NamedTuple):
    """A fork server that was started: its process, and our end of its control socket. It ends with that."""

    process: subprocess.Popen[bytes]
    control: socket.socket


def launch() -> Launched:
    """Starts a fork server. Raises OSError."""
    ours, theirs = messages.socketpair()
    try:
        with theirs:
            return Launched(_start_process(theirs.fileno()), ours)
    except BaseException:
        ours.close()
        raise


def _start_process(fd: int) -> subprocess.Popen[bytes]:
    """It has no stderr: whose that is may be waiting for its end, which would come only with the mount's."""
    covered = covered_files.held()
    words, descriptors = [str(fd)], [fd]
    if covered is not None:
        words += [str(covered.fd), covered.path]
        descriptors.append(covered.fd)
    return subprocess.Popen(
        [sys.executable, "-I", "-c", PROGRAM, search_path(), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=descriptors,
        start_new_session=True,
        cwd="/",
    )
