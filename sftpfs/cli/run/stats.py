"""``sftpfs stats [MNT]``."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from sftpfs.cli.run.status import summary
from sftpfs.cli.tools.ask_mounts import ask
from sftpfs.cli.tools.prometheus import exposition
from sftpfs.control.protocol import Values
from sftpfs.histogram import BOUNDS


def run(given: Namespace) -> int:
    """Print the counters of one mount, or of all."""
    found, status = ask("statistics", given.mnt)
    if given.prometheus:
        sys.stdout.write(exposition(found))
    else:
        print(as_json(found))
    return status


def as_json(found: list[Values]) -> str:
    """The answers of mounts as ``--json`` prints them."""
    mounts = [{"summary": summary(values), **values} for values in found]
    return json.dumps({"mounts": mounts, "latency_bounds": BOUNDS}, indent=2)
