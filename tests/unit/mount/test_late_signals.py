"""A signal that comes when a mount has ended, and its process not yet."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sftpfs.host.daemon import DATA_LOST_STATUS
from sftpfs.mount.service import STOP_SIGNALS

PROGRAM = """
import contextlib, os, sys
from types import SimpleNamespace
import trio
from sftpfs.mount import service

class Service:
    def __init__(self, *_): pass
    async def watch_signals(self, *_): await trio.sleep_forever()
    async def inform_manager(self): await trio.sleep_forever()
    async def run(self, nursery): return int(sys.argv[1])

service._Service = Service
service.mount_lock.claimed = lambda way: contextlib.nullcontext()
status = trio.run(service.serve, None, SimpleNamespace(way=None), None, None)
os.kill(os.getpid(), int(sys.argv[2]))
sys.exit(status)
"""


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_status_stays_what_it_was(number: int) -> None:
    """That data was lost is not to become "killed by a signal"."""
    command = [sys.executable, "-c", PROGRAM, str(DATA_LOST_STATUS), str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (DATA_LOST_STATUS, "")
