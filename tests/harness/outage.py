"""What tests that take a server away from a mount share: the words of its log, and whether it is back."""

from __future__ import annotations

import os

from tests.harness.mounts import Mount, in_time

LOSS = "the connection to the server is lost|the connection is back after"
"""What a mount logs of a loss, to be expected."""
OUTAGE = LOSS + "|the server cannot be reached"


def works(mount: Mount) -> None:
    """The mount answers and takes changes."""
    path = mount.path / "after"
    path.write_bytes(b"after")
    assert (mount.backing / "after").read_bytes() == b"after"
    path.unlink()
    assert "after" not in os.listdir(mount.path)


def answers(mount: Mount, limit: float) -> bool:
    """Whether an operation succeeds within ``limit`` seconds."""
    outcome, _ = in_time(lambda: os.listdir(mount.path), limit)
    return not isinstance(outcome, OSError)
