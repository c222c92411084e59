"""How much the kernel asks for at once when it reads a stream."""

from __future__ import annotations

import os
from pathlib import Path

from sftpfs.fuse.kernel_mount import READ_AHEAD_KIB
from tests.conftest import MakeMount
from tests.harness.waiting import eventually


def kernel_read_ahead(path: Path) -> Path:
    """The kernel's figure for what ``path`` is on, in KiB."""
    device = os.stat(path).st_dev
    return Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")


def test_root_raises_the_kernels_read_ahead(make_mount: MakeMount) -> None:
    figure = kernel_read_ahead(make_mount().path)
    eventually(lambda: int(figure.read_text()) == READ_AHEAD_KIB, 10, "read-ahead raised")
