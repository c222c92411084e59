"""``-o bwlimit=`` and ``sftpfs bwlimit`` on a real mount: what went over the line by when is counted."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sftpfs.control.client import connect_to
from sftpfs.errors import Failure
from sftpfs.host.daemon import exit_status
from tests.conftest import MakeMount
from tests.harness.command import say
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually

RATE = 256 << 10
PAST = RATE
"""Bytes that may have gone before the limit held them, with everything beside the content."""


@contextmanager
def beside(source: Path, target: Path) -> Iterator[None]:
    """``source`` is copied to ``target`` beside the block, which ends once it is there.

    By another process: what this one starts would wait for the content as it closes its copy of a descriptor.
    """
    copying = subprocess.Popen(["dd", f"if={source}", f"of={target}", "bs=1M", "conv=fsync", "status=none"])
    try:
        yield
        assert copying.wait(60) == 0
    finally:
        copying.kill()
        copying.wait(60)


def travelled(mount: Mount, way: str) -> int:
    client, _ = connect_to(str(mount.path))
    with client:
        return int(client.ask("statistics")["pool"]["total"][f"bytes_{way}"])


def count_while_limited(mount: Mount, way: str) -> None:
    """While a program moves a large file: no more bytes go than time allows, and some do."""
    start, before = time.monotonic(), travelled(mount, way)
    eventually(lambda: travelled(mount, way) >= before + RATE // 2, 30, "some of it has gone")
    went = travelled(mount, way) - before
    assert went <= RATE * (time.monotonic() - start) + PAST


def change(mount: Mount, limit: str) -> None:
    done = say("bwlimit", mount.path, limit)
    assert (done.status, done.stdout, done.stderr) == (0, "", "")


def test_content_keeps_to_the_limit_and_names_do_not_wait(
    make_mount: MakeMount, backing: Path, tmp_path: Path
) -> None:
    content = os.urandom(16 << 20)
    (backing / "large").write_bytes(content)
    for number in range(40):
        (backing / f"directory{number}").mkdir()
        (backing / f"directory{number}" / "file").touch()
    mount = make_mount("bwlimit=256K", backing=backing)
    assert "limit         256 KiB/s to the server, 256 KiB/s from it" in say("status", mount.path).stdout
    with beside(mount.path / "large", tmp_path / "read"):
        count_while_limited(mount, "received")
        for number in range(40):  # at a piece of the content each, they would take 4 s
            assert os.listdir(mount.path / f"directory{number}") == ["file"]
        assert travelled(mount, "received") < len(content)
        change(mount, "256K:off")
    assert (tmp_path / "read").read_bytes() == content
    with beside(tmp_path / "read", mount.path / "written"):
        count_while_limited(mount, "sent")
        assert travelled(mount, "sent") < len(content)
        change(mount, "off")
    assert (backing / "written").read_bytes() == content
    assert " limit " not in say("status", mount.path).stdout
    refused = say("bwlimit", mount.path, "fast")
    assert refused.status == exit_status(Failure.USAGE)
    assert "expected UP[:DOWN]" in refused.stderr
