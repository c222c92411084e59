"""One connection of a mount goes silent while the others live: a real sshd over a link with a hole in it.

Nothing is lost and nothing ends: what looks is answered by another connection.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeMount
from tests.harness.delay import DelayProxy
from tests.harness.linked import Linked
from tests.harness.mounts import Mount, in_time
from tests.harness.waiting import eventually
from tests.sshd import Sshd

MIB = 1 << 20
TIMEOUT = 60.0
"""Seconds; whoever waited for it would not be through within LIMIT."""
LIMIT = 40.0

LONG = f"timeout={TIMEOUT:g}"
KEPT = "ServerAliveInterval=600"
"""The connection with the hole is not to be given up."""


@pytest.fixture
def link(sshd: Sshd) -> Iterator[DelayProxy]:
    """What the mount's connections go through; the first is for metadata."""
    with DelayProxy(sshd.port) as running:
        yield running


STATISTICS = re.compile("statistics ({.*})\n")
"""In a log: the whole line, which is longer than what is written at once."""


@pytest.fixture
def server(sshd: Sshd, link: DelayProxy, tmp_path: Path) -> Linked:
    """The sshd behind the link."""
    return Linked(sshd, link, tmp_path)


def content(size: int) -> bytes:
    """Bytes that differ everywhere."""
    return random.Random(size).randbytes(size)


def statistics(mount: Mount) -> dict[str, Any]:
    """The pool's counters."""
    seen = len(STATISTICS.findall(mount.log()))
    os.kill(mount.pid, signal.SIGUSR1)
    found = eventually(lambda: STATISTICS.findall(mount.log())[seen:], what="statistics")
    pool: dict[str, Any] = json.loads(found[-1])["pool"]
    return pool


def known_latencies(mount: Mount) -> None:
    """Enough of every kind for what is late to be told from what is usual."""
    for number in range(40):
        name = mount.path / f"s{number:02}"
        os.stat(name)
        os.readlink(mount.path / "link")
        os.statvfs(mount.path)
        with open(name, "rb") as file:
            file.read()
        os.listdir(mount.path / f"d{number:02}")


def fill(backing: Path) -> None:
    """What ``known_latencies`` looks at."""
    (backing / "link").symlink_to("s00")
    (backing / "big").write_bytes(content(8 * MIB))
    for number in range(40):
        (backing / f"s{number:02}").write_bytes(b"small")
        (backing / f"d{number:02}").mkdir()


@pytest.mark.limit(180)
def test_what_looks_is_answered_by_another_connection(
    server: Linked, link: DelayProxy, make_mount: MakeMount, backing: Path
) -> None:
    fill(backing)
    mount = make_mount("dir_cache=no", LONG, KEPT, server=server, backing=backing)
    known_latencies(mount)
    with open(mount.path / "big", "rb", buffering=0) as file:
        assert file.read(4096) == content(8 * MIB)[:4096]
        link.hole(0)
        looks = [
            lambda: os.stat(mount.path / "s01").st_size == 5,
            lambda: os.pread(file.fileno(), MIB, 5 * MIB) == content(8 * MIB)[5 * MIB : 6 * MIB],
            lambda: os.readlink(mount.path / "link") == "s00",
            lambda: (mount.path / "s02").read_bytes() == b"small",
            lambda: len(os.listdir(mount.path)) == 82,
            lambda: os.statvfs(mount.path).f_blocks > 0,
            lambda: not (mount.path / "none").exists(),
        ]
        for number, look in enumerate(looks):
            outcome, _ = in_time(look, LIMIT)
            assert outcome is True, number
        pool = statistics(mount)
        assert pool["reconnects"] == 0 and len(pool["connections"]) >= 2, "the silent one is kept"
        assert pool["stalls"]["answered_first"] >= 2
        assert [one["stalled"] for one in pool["connections"]] == [True, False]
        link.fill(0)
        eventually(lambda: statistics(mount)["connections"][0]["stalled"] is False, what="heard again")
        (mount.path / "new").write_bytes(b"written after")
        assert (backing / "new").read_bytes() == b"written after"
    assert "is lost" not in mount.log()


@pytest.mark.limit(180)
def test_a_reader_goes_on_when_its_bulk_connection_goes_silent(
    server: Linked, link: DelayProxy, make_mount: MakeMount, backing: Path
) -> None:
    size = 192 * MIB
    block = content(MIB)
    whole = hashlib.sha256()
    with open(backing / "big", "wb") as file:
        for number in range(size // MIB):
            data = number.to_bytes(8, "big") + block[8:]
            file.write(data)
            whole.update(data)
    link.set_delay(0.005)  # far enough for content to travel beside metadata
    mount = make_mount(LONG, KEPT, "max_conns=2", server=server, backing=backing)
    got = hashlib.sha256()

    def read_on(file: int, times: int) -> bool:
        for _ in range(times):
            got.update(os.read(file, MIB))
        return True

    eventually(lambda: link.connections() == 2, what="a bulk connection")
    source = os.open(mount.path / "big", os.O_RDONLY)
    try:
        assert in_time(lambda: read_on(source, 60), LIMIT)[0] is True
        link.hole(1)
        assert in_time(lambda: read_on(source, size // MIB - 60 + 1), LIMIT)[0] is True
        pool = statistics(mount)
        assert pool["reconnects"] == 0
        bulk = [one for one in pool["connections"] if one["kind"] == "bulk"]
        assert sum(one["requests"]["read"] for one in bulk) > 100, "it was not the bulk connection's hole"
        assert pool["stalls"]["answered_first"] >= 1
    finally:
        os.close(source)
        link.fill(1)
    assert got.digest() == whole.digest()


@pytest.mark.limit(120)
def test_changes_wait_for_their_own_connection(
    server: Linked, link: DelayProxy, make_mount: MakeMount, backing: Path
) -> None:
    """Sent twice they might be done twice."""
    fill(backing)
    mount = make_mount("dir_cache=no", LONG, KEPT, server=server, backing=backing)
    known_latencies(mount)
    link.hole(0)
    assert in_time(lambda: os.stat(mount.path / "s01").st_size, LIMIT)[0] == 5

    def make() -> str:
        os.mkdir(mount.path / "new")
        return "made"

    with pytest.raises(AssertionError, match="still running"):
        in_time(make, 4.0)
    assert not (backing / "new").exists()
    link.fill(0)
    eventually((backing / "new").is_dir, what="the directory")
    with pytest.raises(OSError) as raised:
        os.mkdir(mount.path / "new")
    assert raised.value.errno == errno.EEXIST
