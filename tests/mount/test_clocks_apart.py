"""A server whose clock is not this machine's: nothing is taken for proven that is not.

The clocks are apart by moved times in a real sftp-server's packets (tests/harness/shifted.py). What is known
of the server's is learned from its /proc as the session begins, or from a name that is made. ``hidden``: it
has no /proc.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually

ABSENCE_LIMIT = 19.0
"""Seconds until a name made on the server is found, two at first, and a slow machine: less than the longest
lease."""

apart = pytest.mark.parametrize("ahead", [0, -10, -3600, 10, 3600])
hidden = pytest.mark.parametrize("hidden", [False, True], ids=["proc", "no-proc"])

MakeApart = Callable[..., Mount]


@pytest.fixture
def make_apart(make_mount: MakeMount, counting_proxy: CountingProxy) -> MakeApart:
    """A mount of ``backing`` on a server whose clock is ``ahead`` seconds ahead."""

    def make(backing: Path, ahead: int, hidden: bool) -> Mount:
        counting_proxy.set_clock(ahead)
        if hidden:
            counting_proxy.spoil("LSTAT", "permission denied", about="/proc/")
        mount = make_mount("max_conns=1", backing=backing, port=counting_proxy.port)
        assert counting_proxy.heal() == hidden
        return mount

    return make


def change(path: Path, content: str, at: float) -> None:
    """``content``, of the same size as before, in the same second as before."""
    path.write_text(content)
    os.utime(path, (at, at))


PLACES = [f"place{number:02}" for number in range(40)]
"""More than enough to look at one within the second, as ``within_the_second`` does."""


def within_the_second(change: Callable[[str, int], None], look: Callable[[str], None]) -> tuple[str, int]:
    """The first of ``PLACES`` that was looked at in the very second of its change, and that second.

    A busy machine comes too late to some: what was changed a second before is rightly believed.
    """
    for place in PLACES:
        time.sleep(1 - time.time() % 1)
        now = int(time.time())
        change(place, now)
        look(place)
        if int(time.time()) == now:
            return place, now
    raise AssertionError("no look took less than a second")


@apart
@hidden
def test_a_change_within_the_second_is_seen_by_the_next_open(
    make_apart: MakeApart, backing: Path, ahead: int, hidden: bool
) -> None:
    for place in PLACES:
        (backing / place).mkdir()
        (backing / place / "f").touch()
    mount = make_apart(backing, ahead, hidden)

    def look(place: str) -> None:
        assert (mount.path / place / "f").read_text() == "first"

    place, now = within_the_second(lambda place, now: change(backing / place / "f", "first", now), look)
    change(backing / place / "f", "other", now)
    assert (mount.path / place / "f").read_text() == "other"


@apart
@hidden
def test_a_name_made_within_the_second_of_the_listing_is_found(
    make_apart: MakeApart, backing: Path, ahead: int, hidden: bool
) -> None:
    for place in PLACES:
        (backing / place).mkdir()
        (backing / place / "first").touch()
    mount = make_apart(backing, ahead, hidden)

    def look(place: str) -> None:
        assert os.listdir(mount.path / place) == ["first"]

    place, now = within_the_second(lambda place, now: os.utime(backing / place, (now, now)), look)
    (backing / place / "second").touch()
    os.utime(backing / place, (now, now))

    def found() -> bool:
        os.path.exists(
            mount.path / place / "nobody made this"
        )  # who looks for several names, as make and git do
        return os.path.exists(mount.path / place / "second")

    eventually(found, ABSENCE_LIMIT)


@apart
def test_a_time_to_come_proves_nothing_of_other_files(
    make_apart: MakeApart, counting_proxy: CountingProxy, backing: Path, ahead: int
) -> None:
    """Anybody may set a file's times to tomorrow: it is not what the server's clock shows."""
    (backing / "f").touch()
    (backing / "tomorrow").touch()
    mount = make_apart(backing, ahead, hidden=True)
    now = int(time.time())
    os.utime(backing / "tomorrow", (now + 86400, now + 86400))
    change(backing / "f", "first", now)
    assert (mount.path / "tomorrow").read_bytes() == b""
    assert (mount.path / "f").read_text() == "first"
    change(backing / "f", "other", now)
    assert (mount.path / "f").read_text() == "other"


@apart
@pytest.mark.parametrize("learn", ["proc", "a name made", "nothing"])
def test_an_older_version_is_proven_once_the_servers_clock_is_known(
    make_apart: MakeApart, counting_proxy: CountingProxy, backing: Path, ahead: int, learn: str
) -> None:
    change(backing / "f", "first", time.time() - 20)
    mount = make_apart(backing, ahead, hidden=learn != "proc")
    if learn == "a name made":
        (mount.path / "mine").touch()
    assert (mount.path / "f").read_text() == "first"
    counting_proxy.reset()
    assert (mount.path / "f").read_text() == "first"
    assert counting_proxy.read().requests.get("READ", 0) == (learn == "nothing")


def test_a_server_set_back_is_noticed_by_a_name_made(
    make_apart: MakeApart, counting_proxy: CountingProxy, backing: Path
) -> None:
    for place in PLACES:
        (backing / place).mkdir()
        (backing / place / "f").touch()
    mount = make_apart(backing, 0, hidden=False)
    (mount.path / "mine").touch()
    counting_proxy.set_clock(-30)
    (mount.path / "another").touch()

    def look(place: str) -> None:
        assert (mount.path / place / "f").read_text() == "first"

    place, now = within_the_second(lambda place, now: change(backing / place / "f", "first", now), look)
    change(backing / place / "f", "other", now)
    assert (mount.path / place / "f").read_text() == "other"


@apart
def test_a_directory_changed_here_has_the_servers_time(
    make_apart: MakeApart, backing: Path, ahead: int
) -> None:
    (backing / "d").mkdir()
    os.utime(backing / "d", (1, 1))
    mount = make_apart(backing, ahead, hidden=False)
    assert os.listdir(mount.path / "d") == []
    (mount.path / "d" / "mine").touch()
    assert abs(os.stat(mount.path / "d").st_mtime - os.stat(mount.path / "d" / "mine").st_mtime) <= 2
