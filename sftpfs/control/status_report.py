"""The state of the mount, as values for JSON: counters that their owners keep anyway, read when somebody
asks."""

from __future__ import annotations

import math
import os
from typing import Any

import trio

from sftpfs import __version__
from sftpfs.control.mount_view import MountView
from sftpfs.control.protocol import Values
from sftpfs.host import logs

PING_LIMIT = 2.0
"""Seconds to wait for the server's answer to one request before the server counts as not answering."""


def finite(value: Any) -> Any:
    """``value`` with None for every float that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return value


def statistics(mounted: MountView) -> Values:
    """Every counter, without asking the server."""
    problem = (
        {"at": logs.latest_problem.at, "text": logs.latest_problem.text} if logs.latest_problem.at else None
    )
    values = {
        "version": __version__,
        "pid": os.getpid(),
        "server": str(mounted.config.endpoint),
        "mountpoint": mounted.config.mountpoint,
        "root": os.fsdecode(mounted.filesystem.tree.root_path),
        "since": mounted.since,
        "pool": mounted.connections(),
        "mount": mounted.filesystem.statistics(),
        "misses": mounted.filesystem.misses(),
        "limits": {
            "cached_bytes": mounted.config.data.cache_bytes,
            "dirty_bytes": mounted.config.data.dirty_bytes,
            "timeout": mounted.config.pool.timeout,
        },
        "lost": mounted.losses(),
        "problem": problem,
        "log_level": logs.level(),
    }
    assert isinstance(values, dict)
    return dict(finite(values))


async def status(mounted: MountView) -> Values:
    """As ``statistics``, and how long the server takes to answer now: ``ping``, seconds, or None."""
    ping: float | None = None
    refused = ""
    started = trio.current_time()
    with trio.move_on_after(PING_LIMIT):
        try:
            await mounted.remote.lstat(mounted.filesystem.tree.root_path)
            ping = trio.current_time() - started
        except OSError as error:
            refused = error.strerror or str(error)
    return {**statistics(mounted), "ping": ping, "no_ping": refused}
