"""``sftpfs stats [MNT]``."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from sftpfs.cli.everywhere import ask
from sftpfs.cli.prometheus import exposition
from sftpfs.latency import BOUNDS


def run(given: Namespace) -> int:
    """Print the counters of one mount, or of all."""
    found, status = ask("statistics", given.mnt)
    if given.prometheus:
        sys.stdout.write(exposition(found))
    else:
        print(json.dumps({"latency_bounds": BOUNDS, "mounts": found}, indent=2))
    return status
