"""``sftpfs stats [MNT]``."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from sftpfs.cli.everywhere import ask
from sftpfs.cli.prometheus import exposition
from sftpfs.cli.run.status import summary
from sftpfs.latency import BOUNDS


def run(given: Namespace) -> int:
    """Print the counters of one mount, or of all."""
    found, status = ask("statistics", given.mnt)
    if given.prometheus:
        sys.stdout.write(exposition(found))
    else:
        mounts = [{"summary": summary(values), **values} for values in found]
        print(json.dumps({"mounts": mounts, "latency_bounds": BOUNDS}, indent=2))
    return status
