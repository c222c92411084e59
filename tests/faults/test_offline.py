"""The server away: what is known is shown at once, also past its lease; what is not is waited for.

Deadlines are long here, so that an answer in time is one nobody waited for.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.mounts import Mount, in_time
from tests.harness.waiting import eventually

pytestmark = pytest.mark.limit(120)

LONG = "timeout=90"
AT_ONCE = 20.0
"""Seconds on a busy machine, a few of them until the server counts as away; far from the deadline."""

SHORT_LEASE = "cache_timeout=0.5"
"""Over before the server counts as away."""

MIB = 1 << 20
OUTAGE = r"the connection to the server is lost|the connection is back|the server cannot be reached"


def go_away(proxy: CountingProxy, hole: str) -> None:
    """Silent: connections stand and nothing comes. Refusing: there are none."""
    if hole == "silent":
        proxy.pause()
    else:
        proxy.refuse()
        proxy.cut()


def come_back(proxy: CountingProxy, hole: str) -> None:
    proxy.resume() if hole == "silent" else proxy.refuse(False)


def at_once(action: Callable[[], object]) -> object:
    """The result of ``action``, or the OSError, in time."""
    return in_time(action, AT_ONCE)[0]


def fill(backing: Path) -> bytes:
    """A tree to look at; the content of its file."""
    data = random.Random(7).randbytes(700_000)
    (backing / "d").mkdir()
    (backing / "d/file").write_bytes(data)
    (backing / "d/empty").touch()
    (backing / "link").symlink_to("d/file")
    (backing / "large").write_bytes(bytes(2 * MIB))  # too large to be fetched ahead
    for path in (backing / "d/file", backing / "d/empty"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return data


def look(mount: Mount) -> dict[str, object]:
    """What a file manager and a shell prompt do, by name of what they do."""
    here = mount.path
    steps: dict[str, Callable[[], object]] = {
        "ls": lambda: sorted(os.listdir(here)),
        "ls d": lambda: sorted(os.listdir(here / "d")),
        "stat": lambda: (os.stat(here / "d/file").st_size, os.stat(here).st_mode),
        "ls -l": lambda: sorted((entry.name, entry.stat().st_size) for entry in os.scandir(here / "d")),
        "cat": lambda: (here / "d/file").read_bytes(),
        "cat empty": lambda: (here / "d/empty").read_bytes(),
        "readlink": lambda: os.readlink(here / "link"),
        "df": lambda: os.statvfs(here).f_blocks,
        "test -r": lambda: os.access(here / "d/file", os.R_OK),
        "git status": lambda: (here / "d/.git").exists(),
        "git status above": lambda: (here / ".git").exists(),
    }
    return {name: at_once(step) for name, step in steps.items()}


@pytest.mark.parametrize("hole", ["silent", "refusing"])
def test_what_is_known_is_shown_and_then_looked_at_again(
    proxy: CountingProxy, make_mount: MakeMount, backing: Path, hole: str
) -> None:
    data = fill(backing)
    mount = make_mount(SHORT_LEASE, LONG, port=proxy.port, backing=backing)
    mount.expect(OUTAGE)
    before = look(mount)
    assert before["cat"] == data and before["git status"] is False
    go_away(proxy, hole)
    (backing / "d/file").write_bytes(b"changed meanwhile")
    (backing / "d/new").write_bytes(b"new")
    for _ in range(2):
        assert look(mount) == before
    come_back(proxy, hole)
    eventually(lambda: "new" in os.listdir(mount.path / "d"), AT_ONCE, "the server is asked again")
    assert (mount.path / "d/file").read_bytes() == b"changed meanwhile"
    assert os.stat(mount.path / "d/file").st_size == len(b"changed meanwhile")


def test_what_is_not_known_fails_at_the_deadline_and_what_is_goes_on(
    proxy: CountingProxy, make_mount: MakeMount, backing: Path
) -> None:
    fill(backing)
    mount = make_mount(SHORT_LEASE, "timeout=4", port=proxy.port, backing=backing)
    mount.expect(OUTAGE)
    before = look(mount)
    go_away(proxy, "refusing")
    for action in (
        lambda: (mount.path / "large").read_bytes(),
        lambda: os.mkdir(mount.path / "d/made"),
        lambda: os.open(mount.path / "d/file", os.O_WRONLY),
        lambda: os.open(mount.path / "d/made", os.O_CREAT | os.O_WRONLY),
    ):
        outcome = at_once(action)
        assert isinstance(outcome, OSError) and outcome.errno in (errno.ETIMEDOUT, errno.EIO)
    assert look(mount) == before
    come_back(proxy, "refusing")
    eventually(lambda: answers(mount), AT_ONCE, "the server is asked again")


def answers(mount: Mount) -> bool:
    """Whether the server takes a change."""
    return not isinstance(at_once(lambda: os.mkdir(mount.path / "made")), OSError)


def test_content_known_to_be_outdated_is_never_shown(
    proxy: CountingProxy, make_mount: MakeMount, backing: Path
) -> None:
    fill(backing)
    mount = make_mount(SHORT_LEASE, "timeout=4", port=proxy.port, backing=backing)
    mount.expect(OUTAGE)
    look(mount)
    (backing / "d/file").write_bytes(b"another version")
    eventually(lambda: os.stat(mount.path / "d/file").st_size == len(b"another version"), 10, "seen")
    go_away(proxy, "refusing")
    outcome = at_once((mount.path / "d/file").read_bytes)
    assert isinstance(outcome, OSError), outcome
    assert os.stat(mount.path / "d/file").st_size == len(b"another version")


def test_without_a_cache_nothing_is_shown(proxy: CountingProxy, make_mount: MakeMount, backing: Path) -> None:
    fill(backing)
    mount = make_mount("dir_cache=no", "timeout=4", port=proxy.port, backing=backing)
    mount.expect(OUTAGE)
    look(mount)
    go_away(proxy, "refusing")
    for name, outcome in look(mount).items():
        assert name in ("git status", "git status above", "test -r") or isinstance(outcome, OSError), name


def test_an_open_file_is_read_from_memory_and_written_into_it(
    proxy: CountingProxy, make_mount: MakeMount, backing: Path
) -> None:
    data = fill(backing)
    mount = make_mount(SHORT_LEASE, LONG, port=proxy.port, backing=backing)
    mount.expect(OUTAGE)
    with (
        open(mount.path / "d/file", "rb", buffering=0) as reader,
        open(mount.path / "written", "wb", buffering=0) as writer,
    ):
        assert reader.read(len(data)) == data
        go_away(proxy, "refusing")
        assert at_once(lambda: os.pread(reader.fileno(), 300_000, 100_000)) == data[100_000:400_000]
        assert at_once(lambda: os.fstat(reader.fileno()).st_size) == len(data)
        for number in range(4):
            assert at_once(lambda at=number * MIB: os.pwrite(writer.fileno(), bytes(MIB), at)) == MIB  # type: ignore[misc]
        assert at_once(lambda: os.fstat(writer.fileno()).st_size) == 4 * MIB
        come_back(proxy, "refusing")
        os.fsync(writer.fileno())
    assert (backing / "written").read_bytes() == bytes(4 * MIB)
