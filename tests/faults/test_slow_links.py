"""A link of 10 kB/s: a real sshd behind it, three programs at once, none of which is told an error.

A writer, a reader and one that looks and creates have more to move than the deadline allows for together. How
long each takes is the link's affair; that nothing is given up, nobody logs in anew and little is asked for
at once is ours.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.faults.test_stalls import statistics
from tests.harness.delay import DelayProxy
from tests.harness.linked import Linked
from tests.sshd import Sshd

RATE = 10_000.0
SIZE = 100_000
"""Bytes read, and bytes written: ten seconds of the link each way."""
TIMEOUT = 15.0
LIMIT = 120.0

PROGRAMS = {
    "writer": """
import os, sys
file = os.open("written", os.O_CREAT | os.O_WRONLY)
data = open(sys.argv[1], "rb").read()
for at in range(0, len(data), 10000):
    os.write(file, data[at:at + 10000])
os.fsync(file)
os.close(file)
""",
    "reader": """
import sys
assert open("content", "rb").read() == open(sys.argv[1], "rb").read()
""",
    "looker": """
import os
for number in range(12):
    os.stat(f"names/{number}")
    os.close(os.open(f"made{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
""",
}


@pytest.fixture
def link(sshd: Sshd) -> Iterator[DelayProxy]:
    """What the mount's connections go through."""
    with DelayProxy(sshd.port, rate=RATE) as running:
        yield running


@pytest.mark.limit(180)
def test_three_programs_share_a_slow_link(
    make_mount: MakeMount, sshd: Sshd, link: DelayProxy, backing: Path, tmp_path: Path
) -> None:
    content = random.Random(1).randbytes(SIZE)
    local = tmp_path / "local"
    local.write_bytes(content)
    server = Linked(sshd, link, tmp_path)
    (backing / "content").write_bytes(content)
    (backing / "names").mkdir()
    for number in range(12):
        (backing / "names" / str(number)).touch()
    mount = make_mount(f"timeout={TIMEOUT:g}", server=server, backing=backing)
    running = {
        name: subprocess.Popen(
            [sys.executable, "-c", text, str(local)], cwd=mount.path, stderr=subprocess.PIPE, text=True
        )
        for name, text in PROGRAMS.items()
    }
    try:
        told = {name: program.communicate(timeout=LIMIT)[1] for name, program in running.items()}
    finally:
        for program in running.values():
            program.kill()
            program.wait(LIMIT)
    assert told == dict.fromkeys(PROGRAMS, "")
    assert (mount.backing / "written").read_bytes() == content
    assert len(list(mount.backing.glob("made*"))) == 12
    pool = statistics(mount)
    assert pool["link_slow"] and pool["reconnects"] == 0
    assert link.connections() <= 2
