"""Connections lost under a mount: what is open goes on, what is asked ends in time, nobody mounts again.

Every test shows the right bytes or an errno within the deadline, and that the mount works afterwards;
``nothing_left_behind`` shows that nothing remains.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.mounts import Mount, in_time
from tests.harness.outage import LOSS, OUTAGE, answers, works
from tests.harness.waiting import eventually

pytestmark = pytest.mark.limit(120)

TIMEOUT = 3.0
SLACK = 12.0
"""Seconds on top of a deadline on a busy machine: what is tested is that operations end."""

MIB = 1 << 20

AT_ONCE = "dir_cache=no"
"""What is tested is the server's answer, not a lease."""


Make = Callable[..., Mount]


@pytest.fixture
def make(proxy: CountingProxy, make_mount: MakeMount, backing: Path) -> Make:
    """A mount over the proxy, gone before it."""

    def mounted(*options: str, expect: str = LOSS) -> Mount:
        mount = make_mount(AT_ONCE, *options, port=proxy.port, backing=backing)
        mount.expect(expect)
        return mount

    return mounted


def content(size: int) -> bytes:
    """Bytes that differ everywhere."""
    return random.Random(size).randbytes(size)


def digest(path: Path) -> str:
    """Checksum of a whole file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_reading_goes_on_over_resets(proxy: CountingProxy, make: Make, backing: Path) -> None:
    size = 256 * MIB
    block = content(MIB)
    with open(backing / "big", "wb") as file:
        for number in range(size // MIB):
            file.write(number.to_bytes(8, "big") + block[8:])
    mount = make()
    proxy.cut_at("READ", carried_out=True)
    proxy.cut_at("READ", carried_out=False)
    with open(mount.path / "big", "rb", buffering=0) as file:
        for number in range(size // MIB):
            if number in (60, 61, 140, 220):
                proxy.cut()
            got = file.read(MIB)
            assert got == number.to_bytes(8, "big") + block[8:], f"wrong bytes in MiB {number}"
        assert file.read(1) == b""
    assert proxy.cuts_left() == 0
    works(mount)


def test_writing_goes_on_over_resets(proxy: CountingProxy, make: Make) -> None:
    mount = make()
    block = content(MIB)
    proxy.cut_at("WRITE", carried_out=True)
    proxy.cut_at("WRITE", carried_out=False)
    expected = hashlib.sha256()
    with open(mount.path / "new", "wb", buffering=0) as file:
        for number in range(64):
            if number in (20, 21, 40):
                proxy.cut()
            data = number.to_bytes(8, "big") + block[8:]
            expected.update(data)
            assert file.write(data) == MIB
    assert digest(mount.backing / "new") == expected.hexdigest(), "close acknowledged it"
    assert proxy.cuts_left() == 0
    works(mount)


@pytest.mark.parametrize("carried_out", [False, True], ids=["before", "after"])
def test_each_step_of_saving_a_file_survives(proxy: CountingProxy, make: Make, carried_out: bool) -> None:
    """As an editor saves: create, write, fsync, rename over; then the listing."""
    mount = make()
    (mount.backing / "text").write_bytes(b"the old text")
    for name in ("OPEN", "WRITE", "FSTAT", "fsync@openssh.com", "posix-rename@openssh.com"):
        text = f"saved over a loss at {name}".encode()
        proxy.cut_at(name, carried_out=carried_out)
        with open(mount.path / "text.tmp", "xb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(mount.path / "text.tmp", mount.path / "text")
        assert (mount.backing / "text").read_bytes() == text
        assert (mount.path / "text").read_bytes() == text
        assert proxy.cuts_left() == 0, name
    assert os.listdir(mount.path) == ["text"]
    works(mount)


@pytest.mark.parametrize("carried_out", [False, True], ids=["before", "after"])
def test_names_are_changed_once(proxy: CountingProxy, make: Make, carried_out: bool) -> None:
    mount = make()
    here = mount.path
    steps: list[tuple[str, Callable[[], object]]] = [
        ("MKDIR", lambda: os.mkdir(here / "d")),
        ("OPEN", lambda: os.close(os.open(here / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY))),
        ("hardlink@openssh.com", lambda: os.link(here / "f", here / "g")),
        ("SYMLINK", lambda: os.symlink("f", here / "l")),
        ("posix-rename@openssh.com", lambda: os.rename(here / "f", here / "d/f")),
        ("FSETSTAT", lambda: os.chmod(here / "g", 0o600)),  # of several names by a handle
        ("SETSTAT", lambda: os.chmod(here / "d", 0o700)),
        ("REMOVE", lambda: os.unlink(here / "d/f")),
        ("RMDIR", lambda: os.rmdir(here / "d")),
    ]
    for name, step in steps:
        proxy.cut_at(name, carried_out=carried_out)
        step()
        assert proxy.cuts_left() == 0, name
    assert sorted(os.listdir(mount.backing)) == sorted(os.listdir(here)) == ["g", "l"]
    works(mount)


@pytest.mark.parametrize("request_name", ["OPENDIR", "READDIR"])
def test_listing_goes_on_over_a_reset(
    proxy: CountingProxy, make: Make, backing: Path, request_name: str
) -> None:
    names = {f"name {number}" for number in range(1500)}
    for name in names:
        (backing / name).touch()
    mount = make()
    for carried_out in (False, True):
        proxy.cut_at(request_name, carried_out=carried_out)
        assert set(os.listdir(mount.path)) == names
        assert proxy.cuts_left() == 0
    works(mount)


def test_appending_goes_on_over_resets(proxy: CountingProxy, make: Make) -> None:
    mount = make()
    log = mount.path / "log"
    for number in range(20):
        if number % 5 == 1:
            proxy.cut_at("WRITE", carried_out=number % 2 == 0)
        with open(log, "ab", buffering=0) as file:
            for part in range(20):
                file.write(b"line %d.%d\n" % (number, part))
    assert proxy.cuts_left() == 0
    expected = b"".join(b"line %d.%d\n" % (a, b) for a in range(20) for b in range(20))
    assert (mount.backing / "log").read_bytes() == expected


def test_a_file_open_over_the_loss_is_read_and_written(proxy: CountingProxy, make: Make) -> None:
    mount = make()
    (mount.backing / "file").write_bytes(b"as it was")
    with open(mount.path / "file", "r+b", buffering=0) as file:
        assert file.read(2) == b"as"
        proxy.cut()
        assert os.fstat(file.fileno()).st_size == 9
        assert os.pwrite(file.fileno(), b"AS", 0) == 2
        os.fsync(file.fileno())
        proxy.cut()
        os.ftruncate(file.fileno(), 5)
        assert os.pread(file.fileno(), 100, 0) == b"AS it"
    assert (mount.backing / "file").read_bytes() == b"AS it"


@pytest.mark.parametrize("how", ["unlinked", "renamed over"])
def test_a_file_that_loses_its_name_here_after_the_loss_goes_on(
    proxy: CountingProxy, make: Make, how: str
) -> None:
    """It is opened again while it has a name; what was not sent yet is not lost."""
    mount = make()
    with open(mount.path / "file", "w+b", buffering=0) as file:
        file.write(b"as it was")
        os.fsync(file.fileno())
        proxy.cut()
        os.pwrite(file.fileno(), b"AS", 0)
        if how == "unlinked":
            os.unlink(mount.path / "file")
        else:
            (mount.path / "new").write_bytes(b"new")
            os.rename(mount.path / "new", mount.path / "file")
        os.fsync(file.fileno())
        assert os.pread(file.fileno(), 100, 0) == b"AS it was"
    works(mount)


@pytest.mark.parametrize("how", ["replaced", "removed", "unlinked here"])
def test_a_file_that_went_meanwhile_is_stale(
    proxy: CountingProxy, make: Make, backing: Path, how: str
) -> None:
    """Never another file's bytes, and no end of file either."""
    (backing / "file").write_bytes(content(8 * MIB))
    mount = make()
    with open(mount.path / "file", "rb", buffering=0) as file:
        assert len(file.read(4096)) == 4096
        if how == "unlinked here":
            os.unlink(mount.path / "file")
            os.pread(file.fileno(), 4096, 5 * MIB)
        proxy.refuse()
        proxy.cut()
        if how == "replaced":
            (backing / "new").write_bytes(bytes(8 * MIB))
            os.utime(backing / "new", (1, 1))
            os.rename(backing / "new", backing / "file")
        elif how == "removed":
            (backing / "file").unlink()
        proxy.refuse(False)
        for _ in range(2):
            outcome, _ = in_time(lambda: os.pread(file.fileno(), 4096, 7 * MIB), TIMEOUT + SLACK)
            assert isinstance(outcome, OSError) and outcome.errno == errno.ESTALE
    works(mount)


def test_dirty_data_of_a_file_replaced_meanwhile_is_reported(
    proxy: CountingProxy, make: Make, backing: Path
) -> None:
    (backing / "file").write_bytes(b"as it was")
    mount = make(expect=LOSS + "|could not be written|data lost")
    with open(mount.path / "file", "r+b", buffering=0) as file:
        proxy.refuse()
        proxy.cut()
        file.write(b"ours")
        (backing / "file").unlink()
        (backing / "file").write_bytes(b"theirs and longer")
        proxy.refuse(False)
        with pytest.raises(OSError) as raised:
            os.fsync(file.fileno())
        assert raised.value.errno == errno.ESTALE
    assert (backing / "file").read_bytes() == b"theirs and longer"
    works(mount)


@pytest.mark.parametrize("hole", ["silent", "refusing"])
def test_an_outage_within_the_deadline_is_waited_out(
    proxy: CountingProxy, make: Make, backing: Path, hole: str
) -> None:
    (backing / "file").write_bytes(b"as it was")
    mount = make("timeout=30")
    with open(mount.path / "file", "r+b", buffering=0) as file:
        if hole == "silent":
            proxy.pause()
        else:
            proxy.refuse()
            proxy.cut()
        end = threading.Timer(2.0, proxy.resume if hole == "silent" else lambda: proxy.refuse(False))
        end.start()
        try:
            file.write(b"AS")
            os.fsync(file.fileno())
            assert sorted(os.listdir(mount.path)) == ["file"]
        finally:
            end.join()
    assert (backing / "file").read_bytes() == b"AS it was"


@pytest.mark.parametrize("hole", ["silent", "refusing"])
def test_an_outage_beyond_the_deadline_ends_in_an_errno_and_is_recovered_from(
    proxy: CountingProxy, make: Make, backing: Path, hole: str
) -> None:
    (backing / "file").write_bytes(content(MIB))
    mount = make(f"timeout={TIMEOUT:g}", expect=OUTAGE)
    with open(mount.path / "file", "rb", buffering=0) as file:
        if hole == "silent":
            proxy.pause()
        else:
            proxy.refuse()
            proxy.cut()
        for _ in range(2):
            outcome, _ = in_time(lambda: os.stat(mount.path / "file"), TIMEOUT + SLACK)
            assert isinstance(outcome, OSError)
            assert outcome.errno in (errno.ETIMEDOUT, errno.EIO)
        outcome, _ = in_time(lambda: os.pread(file.fileno(), 4096, 4096), TIMEOUT + SLACK)
        assert isinstance(outcome, OSError), "never an end of file"
        failing_since = time.monotonic()
        outcome, _ = in_time(lambda: os.stat(mount.path / "file"), SLACK)
        assert isinstance(outcome, OSError)
        assert time.monotonic() - failing_since < SLACK
        proxy.resume() if hole == "silent" else proxy.refuse(False)
        eventually(lambda: answers(mount, TIMEOUT + SLACK), SLACK, what="the mount back")
        assert os.pread(file.fileno(), 4096, 4096) == content(MIB)[4096:8192], "the file survived it"
    works(mount)


def test_without_reconnect_open_files_end_and_new_ones_go_on(
    proxy: CountingProxy, make: Make, backing: Path
) -> None:
    (backing / "file").write_bytes(content(MIB))
    mount = make("no_reconnect")
    with open(mount.path / "file", "rb", buffering=0) as file:
        proxy.cut()
        with pytest.raises(OSError) as raised:
            os.pread(file.fileno(), 4096, 4096)
        assert raised.value.errno == errno.EIO
    assert (mount.path / "file").read_bytes() == content(MIB)


def test_hard_waits_beyond_the_deadline(proxy: CountingProxy, make: Make, backing: Path) -> None:
    (backing / "file").write_bytes(b"as it was")
    mount = make(f"timeout={TIMEOUT:g}", "hard", expect=OUTAGE)
    with open(mount.path / "file", "rb", buffering=0) as file:
        proxy.refuse()
        proxy.cut()
        end = threading.Timer(TIMEOUT + 1.5, lambda: proxy.refuse(False))
        end.start()
        try:
            assert file.read() == b"as it was"
            assert os.stat(mount.path / "file").st_size == 9
        finally:
            end.join()
