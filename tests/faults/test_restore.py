"""What the server did not take is known until somebody writes it back or drops it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sftpfs.errors import Failure
from sftpfs.host.daemon import DATA_LOST_STATUS, exit_status
from sftpfs.mount import salvage_store
from sftpfs.mount.salvage_store import Saved
from tests.conftest import MakeMount
from tests.harness.command import Output, say
from tests.harness.counting import CountingProxy
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually

NOT_RESTORED = exit_status(Failure.COMMAND)
MIB = 1 << 20


LOSES = """
import os, sys
with open(sys.argv[1], sys.argv[2], buffering=0) as file:
    file.seek(int(sys.argv[3]), os.SEEK_CUR)
    file.write(sys.stdin.buffer.read())
    os._exit(0)
"""
"""A program that ends with the file open: nobody is told."""


class Full:
    """A mount of a disk that is full until ``room`` is called; what is lost of it is saved in ``lost``."""

    def __init__(self, mount: Mount, lost: Path) -> None:
        self.mount = mount
        self.disk = mount.backing
        self.lost = lost
        mount.expect("could not be written|data lost")

    def fill(self) -> None:
        """There is no room."""
        with suppress(OSError), open(self.disk / "filler", "wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass

    def room(self) -> None:
        """There is room again."""
        (self.disk / "filler").unlink()

    def loses(self, name: str | bytes, data: bytes, mode: str = "wb", at: int = 0) -> None:
        """Write ``data`` to a file, in vain, and tell nobody."""
        before = len(self.saved())
        path = os.path.join(os.fsencode(self.mount.path), os.fsencode(name))
        words = [sys.executable, "-c", LOSES, path, mode, str(at)]
        subprocess.run(words, input=data, check=False, timeout=30)
        eventually(lambda: len(self.saved()) > before, 20, "saved")

    def saved(self) -> list[Saved]:
        """What is in the store."""
        return salvage_store.all_saved(str(self.lost))

    def restore(self, *words: str | Path) -> Output:
        """``sftpfs restore``."""
        return say("restore", *words)


@pytest.fixture
def full(make_mount: MakeMount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Full]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True, timeout=30)
    try:
        with CountingProxy(latency=0.0) as proxy:
            made = Full(make_mount(port=proxy.port, backing=disk), tmp_path / "state/sftpfs/lost")
            made.fill()
            yield made
            if not made.mount.closed:
                say("restore", "--drop", "all")
                made.mount.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True, timeout=30)


def test_many_losses_of_a_file_end_with_the_last(full: Full) -> None:
    """Each range at its place, the earliest first; and nothing speaks of them any more."""
    for number in range(12):
        full.loses("doc", b"%04d" % number * 500)
    shown = say("status", full.mount.path).stdout
    assert "12 pieces of 1 file (23.4 KiB) since the mount" in shown and str(full.lost) in shown
    assert "all is on the server" not in shown
    doctor = say("doctor").stdout
    assert "12 pieces of 1 file could not be written" in " ".join(doctor.split())
    listed = full.restore("--list")
    assert (
        listed.status == 0
        and len(listed.stdout.splitlines()) == 12
        and listed.stdout == full.restore().stdout
    )
    full.room()
    done = full.restore("all")
    assert (done.status, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 12
    assert (full.disk / "doc").read_bytes() == b"0011" * 500
    assert full.saved() == [] and os.listdir(full.lost) == []
    assert "since the mount" not in say("status", full.mount.path).stdout
    assert "could not be written" not in say("doctor").stdout


def test_what_was_written_or_cut_off_after_a_loss_is_not_undone(full: Full) -> None:
    """Of two losses the file's time says that nobody changed it since; between them a program did."""
    full.loses("doc", b"1" * 3000)
    full.loses("doc", b"2" * 2000)  # emptied before: nothing of the first is missing any more
    full.loses("sheet", b"old" * 1000)
    full.room()
    with open(full.mount.path / "sheet", "r+b") as sheet:
        sheet.write(b"new" * 500)
    full.fill()
    full.loses("sheet", b"late", "r+b", at=8192)
    left = [[], [(0, 2000)], [(1500, 3000)], [(8192, 8196)]]
    eventually(lambda: [one.missing for one in full.saved()] == left, 20, "noted")
    full.room()
    done = full.restore("all")
    assert (done.status, done.stderr) == (0, ""), done
    assert (full.disk / "doc").read_bytes() == b"2" * 2000
    assert (full.disk / "sheet").read_bytes()[:3000] == b"new" * 500 + b"old" * 500
    assert (full.disk / "sheet").read_bytes()[8192:] == b"late"


def test_the_documented_dd_writes_back_a_range(full: Full) -> None:
    data = os.urandom(MIB)
    full.loses("big", data, at=4096)
    full.room()
    assert say("flush", full.mount.path).status == DATA_LOST_STATUS
    (one,) = full.saved()
    for start, end in one.ranges:
        words = [f"if={one.base}", f"of={full.mount.path}/big", "bs=1M", f"skip={start}", f"seek={start}"]
        flags = ["iflag=skip_bytes,count_bytes", "oflag=seek_bytes", "conv=notrunc"]
        subprocess.run(
            ["dd", *words, f"count={end - start}", *flags], check=True, timeout=30, capture_output=True
        )
    assert (full.disk / "big").read_bytes() == bytes(4096) + data
    assert say("flush", full.mount.path).status == 0, "written again, it is no loss any more"


def test_by_any_name_and_names_that_are_no_text(full: Full) -> None:
    (full.mount.path / "dir").mkdir()
    for name in (b"dir/\xff\n", b"dir/plain", b"other"):
        full.loses(name, name)
    full.room()
    assert full.restore(full.mount.path / "nothing").status == NOT_RESTORED
    _, second, third = full.saved()
    assert full.restore(os.path.basename(second.base)).status == 0
    assert full.restore(full.mount.path / "dir").status == 0
    assert full.restore(os.fsdecode(third.path)).status == 0
    for name in (b"dir/\xff\n", b"dir/plain", b"other"):
        with open(os.path.join(os.fsencode(full.disk), name), "rb") as file:
            assert file.read() == name
    assert full.saved() == []


def test_appends_are_appended(full: Full) -> None:
    (full.mount.path / "log").touch()
    full.loses("log", b"second\n", "ab")
    full.room()
    (full.disk / "log").write_bytes(b"first\n")
    os.utime(full.disk / "log", (full.saved()[0].until + 60,) * 2)  # others append long after the loss
    assert full.restore("all").status == 0
    assert (full.disk / "log").read_bytes() == b"first\nsecond\n"


def test_what_found_room_is_not_appended_again(full: Full) -> None:
    """A full disk takes the first bytes of a write, and the server refuses it as a whole."""
    full.room()
    (full.mount.path / "log").write_bytes(b"first\n")
    full.fill()
    os.truncate(full.disk / "filler", (full.disk / "filler").stat().st_size - 40960)
    ours = b"".join(b"%07d\n" % number for number in range(12_500))
    full.loses("log", ours, "ab")
    eventually(lambda: full.saved()[0].end, 20, "how far it came")
    assert 6 < (full.disk / "log").stat().st_size < len(ours), "a part of it is there"
    full.room()
    with open(full.mount.path / "log", "ab") as log:
        log.write(b"later\n")
    done = full.restore("all")
    assert (done.status, done.stderr) == (0, "")
    lines = (full.disk / "log").read_bytes().replace(b"later\n", b"")
    assert lines == b"first\n" + ours


APPENDS = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
print(flush=True)
while True:
    os.write(fd, b"theirs\\n")
    time.sleep(0.0005)
"""


def test_what_was_appended_is_found_among_what_others_append(full: Full) -> None:
    """Another client goes on with the log while it is written back."""
    (full.mount.path / "log").touch()
    ours = b"".join(b"%07d\n" % number for number in range(9000))
    full.loses("log", ours, "ab")
    full.room()
    words = [sys.executable, "-c", APPENDS, full.disk / "log"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            done = full.restore("all")
        finally:
            other.kill()
    assert (done.status, done.stderr) == (0, "") and full.saved() == []
    lines = (full.disk / "log").read_bytes().split(b"\n")
    assert b"\n".join(line for line in lines if line != b"theirs") == ours


def test_two_who_write_back_do_it_once(full: Full) -> None:
    for name in ("log", "more"):
        (full.mount.path / name).touch()
        full.loses(name, name.encode() * 50_000, "ab")
    full.room()
    words = [sys.executable, "-m", "sftpfs", "restore", "all"]
    both = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [one.communicate(timeout=60)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    for name in ("log", "more"):
        assert (full.disk / name).read_bytes() == name.encode() * 50_000


def test_a_server_whose_clock_is_ahead(full: Full) -> None:
    """What the file was left as proves that nobody changed it; this machine's time of day does not."""
    full.loses("doc", b"ours", at=4096)
    (one,) = full.saved()
    eventually(lambda: full.saved()[0].left is not None, 20, "what it was left as")
    (one,) = full.saved()
    salvage_store.describe(one._replace(since=one.since - 600, until=one.until - 600))
    full.room()
    done = full.restore("all")
    assert (done.status, done.stderr) == (0, "")


BOTH = """
import os, sys
end = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
anywhere = os.open(sys.argv[1], os.O_WRONLY)
os.write(end, b"appended")
os.pwrite(anywhere, b"at 1 MiB", 1 << 20)
os._exit(0)
"""


def test_what_was_appended_and_what_was_not(full: Full) -> None:
    """Two descriptors of one file lose data together: each piece has its own place."""
    full.room()
    (full.mount.path / "doc").write_bytes(bytes(4096))
    full.fill()
    subprocess.run([sys.executable, "-c", BOTH, full.mount.path / "doc"], check=False, timeout=30)
    eventually(lambda: sorted(one.appended for one in full.saved()) == [False, True], 20, "saved")
    full.room()
    done = full.restore("all")
    assert (done.status, done.stderr) == (0, "")
    with open(full.disk / "doc", "rb") as file:
        assert (
            os.pread(file.fileno(), 8, 4096) == b"appended" and os.pread(file.fileno(), 9, MIB) == b"at 1 MiB"
        )


def test_a_file_that_changed_is_left_alone(full: Full) -> None:
    full.loses("changed", b"ours")
    full.loses("gone", b"ours")
    full.room()
    (full.disk / "changed").write_bytes(b"theirs, and longer")
    os.utime(full.disk / "changed", (full.saved()[0].until + 60,) * 2)
    (full.disk / "gone").unlink()
    refused = full.restore("all")
    assert refused.status == NOT_RESTORED
    assert "changed after the loss" in refused.stderr and "no longer exists" in refused.stderr
    assert (full.disk / "changed").read_bytes() == b"theirs, and longer" and len(full.saved()) == 2
    assert full.restore("--force", "all").status == 0
    assert (full.disk / "changed").read_bytes() == b"oursrs, and longer"
    assert (full.disk / "gone").read_bytes() == b"ours"


def test_a_file_with_an_older_time_is_not_the_one_that_lost_its_bytes(full: Full) -> None:
    """What another client has put there: rsync, cp -p and mv bring a file's own time."""
    full.loses("doc", b"ours", at=4096)
    eventually(lambda: full.saved()[0].left is not None, 20, "what it was left as")
    full.room()
    (full.disk / "new").write_bytes(b"theirs" * 1000)
    os.utime(full.disk / "new", (1_600_000_000,) * 2)
    (full.disk / "new").rename(full.disk / "doc")
    refused = full.restore("all")
    assert refused.status == NOT_RESTORED and "changed after the loss" in refused.stderr
    assert (full.disk / "doc").read_bytes() == b"theirs" * 1000 and len(full.saved()) == 1
    assert full.restore("--force", "all").status == 0


def test_into_a_file_that_is_named(full: Full, tmp_path: Path) -> None:
    """The server may be gone for good."""
    full.loses("doc", b"first")
    full.loses("doc", b"2nd")
    full.loses("more", b"another")
    full.mount.close(clean=False)
    refused = full.restore("all")
    assert refused.status == NOT_RESTORED and "none of your mounts" in refused.stderr
    there = tmp_path / "rescued"
    there.touch()
    os.utime(there, (0, 0))  # before the loss
    assert full.restore("all", "--to", there).status == exit_status(Failure.USAGE)
    assert full.restore(f"{full.disk}/doc", "--to", there).status == 0
    assert there.read_bytes() == b"2nd", "the file was emptied between the two"
    assert full.restore("--drop", f"{full.disk}/more").status == 0
    assert full.saved() == []


def test_a_server_that_still_does_not_take_it(full: Full) -> None:
    full.loses("doc", bytes(9000))
    refused = full.restore("all")
    assert refused.status == NOT_RESTORED and "No space left on device" in refused.stderr
    assert len(full.saved()) == 1, "it is no further loss"


def test_flush_and_umount_tell_until_somebody_acknowledges(full: Full) -> None:
    """Asking again is no acknowledgement, nor is what goes well since."""
    full.loses("doc", b"first")
    full.loses("other", b"other")
    (saved, _) = full.saved()
    for _ in range(2):
        for command in ("flush", "umount"):
            told = say(command, full.mount.path)
            assert told.status == DATA_LOST_STATUS
            assert (
                f"not written: {full.disk}/doc: No space left on device; saved in {saved.base}" in told.stderr
            )
            assert f"not written: {full.disk}/other: " in told.stderr
    assert "stays mounted" in told.stderr
    full.room()
    (full.mount.path / "fine").write_bytes(b"fine")
    assert say("flush", full.mount.path).status == DATA_LOST_STATUS
    assert full.restore("--drop", full.mount.path / "doc").status == 0
    told = say("flush", full.mount.path)
    assert told.status == DATA_LOST_STATUS and "doc" not in told.stderr
    (full.mount.path / "other").write_bytes(b"the same file anew")
    assert say("flush", full.mount.path).status == 0


@pytest.mark.parametrize("way", ["umount", "force", "signal"])
def test_the_end_tells_what_was_lost_before(full: Full, way: str) -> None:
    full.loses("doc", b"lost")
    if way == "umount":
        subprocess.run(["fusermount3", "-u", full.mount.path], check=True, timeout=30)
    elif way == "force":
        told = say("umount", "--force", full.mount.path)
        assert told.status == DATA_LOST_STATUS and f"not written: {full.disk}/doc: " in told.stderr
    else:
        full.mount.process.terminate()
    assert full.mount.process.wait(30) == DATA_LOST_STATUS
    assert f"data lost: {full.disk}/doc: No space left on device; saved in {full.lost}" in full.mount.log()
    full.mount.close(clean=False)


def test_what_lies_under_the_mount_is_not_said_to_be_nothing(
    make_mount: MakeMount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount over a home directory covers the store: no command reaches that, and the mount does."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "mount0/state"))
    with CountingProxy(latency=0.0) as proxy:
        mount = make_mount(port=proxy.port)
        mount.expect("could not be written|data lost")
        assert mount.path == tmp_path / "mount0"
        proxy.spoil("WRITE", "failure")
        with pytest.raises(OSError), open(mount.path / "doc", "wb") as file:
            file.write(b"lost")
        proxy.heal()
        eventually(lambda: "lies under the mount" in say("status", mount.path).stdout, 20, "told")
        for words in ((), ("all",)):
            told = say("restore", *words)
            assert told.status == NOT_RESTORED and f"1 piece of {mount.path} cannot be reached" in told.stderr
        backing = mount.backing
        mount.close(clean=False)
        other = make_mount(port=proxy.port, backing=backing)
        assert "1 range" in say("restore").stdout
        assert say("restore", "all").status == 0
        assert (backing / "doc").read_bytes() == b"lost"
        other.close()
