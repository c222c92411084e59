"""``sftpfs stats [MNT]``."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from sftpfs.cli.prometheus import exposition
from sftpfs.control.client import connect
from sftpfs.control.location import find, our_mounts
from sftpfs.errors import Failure, MountError
from sftpfs.latency import BOUNDS
from sftpfs.process import exit_status, to_stderr


def run(given: Namespace) -> int:
    """Print the counters of one mount, or of all."""
    mounts = [find(given.mnt).mount] if given.mnt else our_mounts()
    found: list[dict[str, Any]] = []
    status = 0
    for mount in mounts:
        try:
            with connect(mount) as client:
                found.append(client.ask("statistics"))
        except MountError as error:
            if given.mnt:
                raise
            to_stderr(error.message)  # the others are told all the same
            status = exit_status(Failure.COMMAND)
    if given.prometheus:
        sys.stdout.write(exposition(found))
    else:
        print(json.dumps({"latency_bounds": BOUNDS, "mounts": found}, indent=2))
    return status
