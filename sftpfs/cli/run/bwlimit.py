"""``sftpfs bwlimit MNT UP[:DOWN]``."""

from __future__ import annotations

import math
from argparse import Namespace

from sftpfs.control.client import connect_to


def run(given: Namespace) -> int:
    """Change the limit."""
    up, down = (None if rate == math.inf else rate for rate in given.limit)
    client, _ = connect_to(given.mnt)
    with client:
        client.ask("bandwidth", up=up, down=down)
    return 0
