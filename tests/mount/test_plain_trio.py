"""A mount whose descriptors are waited for by trio's public means, as where trio is not the one known."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sftpfs.aio import readiness
from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy

SCRIPT = """
set -e
mkdir d && cp -r /etc/ssh d/ && cp -r d e && diff -r d e && mv e f && rm -r d
head -c 3000000 /dev/urandom > g && cp g h && cmp g h && tar c f g | tar x -C f -f - && diff g f/g
ls -lR . > /dev/null && rm -r f
"""


@pytest.mark.parametrize("plain", [True, False])
def test_programs_work(make_mount: MakeMount, counting_proxy: CountingProxy, plain: bool) -> None:
    """Over a distance, so that tasks wait; and the mount ends by itself, which ``make_mount`` looks at."""
    counting_proxy.set_latency(0.001)
    mount = make_mount(port=counting_proxy.port, environment={readiness.PLAIN: "1"} if plain else {})
    subprocess.run(["bash", "-c", SCRIPT], cwd=mount.path, timeout=60, check=True)
    assert sorted(os.listdir(mount.backing)) == ["g", "h"]
    epolls = [link for link in Path(f"/proc/{mount.pid}/fd").iterdir() if "eventpoll" in os.readlink(link)]
    assert len(epolls) == (1 if plain else 2)
