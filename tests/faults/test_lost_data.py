"""Data that has to be given up is saved, and told of: which file, which bytes, where."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import MakeMount, server_options
from tests.harness.command import Foreground, Terminal
from tests.harness.counting import CountingProxy
from tests.harness.mounts import mountpoints
from tests.harness.waiting import eventually
from tests.sshd import Sshd

MIB = 1 << 20
LOSS = r"the connection to the server is lost|the connection is back after|could not be written|data lost"
OUTAGE = LOSS + r"|the server cannot be reached"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where what is lost in this test is saved."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state/sftpfs/lost"


def saved(state: Path) -> dict[str, tuple[list[list[int]], Path, dict[str, object]]]:
    """By path on the server: the ranges, the file that has them, and all that is said of it."""
    found = {}
    for about in state.glob("*.json"):
        text = json.loads(about.read_text())
        data = about.with_suffix("")
        assert stat.S_IMODE(data.stat().st_mode) == stat.S_IMODE(about.stat().st_mode) == 0o600
        found[text["path"]] = (text["ranges"], data, text)
    return found


def pieces(ranges: list[list[int]], data: Path) -> list[bytes]:
    """The bytes of each range."""
    with open(data, "rb") as file:
        return [os.pread(file.fileno(), end - start, start) for start, end in ranges]


def test_of_a_file_replaced_meanwhile(
    proxy: CountingProxy, make_mount: MakeMount, backing: Path, state: Path
) -> None:
    (backing / "file").write_bytes(b"as it was")
    mount = make_mount("dir_cache=no", port=proxy.port, backing=backing)
    mount.expect(LOSS)
    with open(mount.path / "file", "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"AS", 0)
        os.fsync(file.fileno())  # acknowledged: not lost
        proxy.refuse()
        proxy.cut()
        # Seen before anything is sent: what is under way may have made the file another size.
        eventually(lambda: "connection to the server is lost" in mount.log(), what="the loss noticed")
        os.pwrite(file.fileno(), b"ours", 5)
        os.pwrite(file.fileno(), bytes(MIB), MIB)
        (backing / "file").unlink()
        (backing / "file").write_bytes(b"theirs and longer")
        proxy.refuse(False)
        with pytest.raises(OSError) as raised:
            os.fsync(file.fileno())
        assert raised.value.errno == errno.ESTALE
    eventually(lambda: saved(state), 20, "saved")
    (ranges, data, about) = saved(state)[f"{backing}/file"]
    assert ranges == [[5, 9], [MIB, 2 * MIB]]
    assert pieces(ranges, data) == [b"ours", bytes(MIB)]
    assert about["errno"] == errno.ESTALE and about["server"] == f"127.0.0.1:{backing}"
    line = eventually(lambda: [text for text in mount.log().splitlines() if "could not be written" in text])
    assert len(line) == 1, line
    assert f"{backing}/file on" in line[0] and f"bytes 5 to 9, {MIB} to {2 * MIB}" in line[0]
    assert str(data) in line[0]
    assert (backing / "file").read_bytes() == b"theirs and longer"


def test_of_a_full_disk(sshd: Sshd, make_mount: MakeMount, tmp_path: Path, state: Path) -> None:
    """What fitted is not saved; together they are all there was."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True, timeout=30)
    try:
        # Directly: sshd of the session has a mount namespace of its own and does not see this disk.
        with CountingProxy(latency=0.0) as proxy:
            mount = make_mount(port=proxy.port, backing=disk)
            mount.expect("could not be written")
            data = os.urandom(3 * MIB)
            with pytest.raises(OSError) as raised, open(mount.path / "file", "wb", buffering=0) as file:
                for start in range(0, len(data), MIB):
                    file.write(data[start : start + MIB])
                os.fsync(file.fileno())
            assert raised.value.errno == errno.ENOSPC
            eventually(lambda: f"{disk}/file" in saved(state), 20, "saved")
            mount.close()
            (ranges, kept, _) = saved(state)[f"{disk}/file"]
            whole = bytearray(data[: ranges[-1][1]])
            whole[: disk.joinpath("file").stat().st_size] = disk.joinpath("file").read_bytes()
            for (start, end), piece in zip(ranges, pieces(ranges, kept), strict=True):
                assert piece == data[start:end]
                whole[start:end] = piece
            assert whole == data[: len(whole)]
            assert sum(end - start for start, end in ranges) < 2 * MIB
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True, timeout=30)


class Site:
    """A server to be stopped, and the words to mount it with."""

    def __init__(self, server: Sshd, directory: Path) -> None:
        self.server = server
        self.backing = directory / "server"
        self.path = directory / "mnt"
        self.backing.mkdir()
        self.path.mkdir()
        self.words = [f"root@127.0.0.1:{self.backing}", self.path, "-F", "none"]
        self.words += ["-o", ",".join(server_options(server))]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Sshd(tmp_path / "own-sshd") as server:
        made = Site(server, tmp_path)
        yield made
    assert str(made.path) not in mountpoints()


def test_at_unmount_what_cannot_be_written_is_saved(site: Site, state: Path) -> None:
    data = os.urandom(3 * MIB)
    with Foreground(site.path, *site.words, "-o", "timeout=3") as mount:
        mount.wait_mounted()
        file = os.open(site.path / "name", os.O_WRONLY | os.O_CREAT)
        try:
            os.write(file, b"x" * 100)
            os.fsync(file)
            site.server.stop()
            assert os.pwrite(file, data, 100) == len(data)
            mount.signal(signal.SIGTERM)
            status, told = mount.finish()
        finally:
            with suppress(OSError):  # as it should: the data is lost
                os.close(file)
    assert status == 74, told
    path = f"{site.backing}/name"
    (ranges, kept, _) = saved(state)[path]
    assert ranges == [[100, 100 + len(data)]] and pieces(ranges, kept) == [data]
    (line,) = [text for text in told.splitlines() if "data lost" in text]
    assert path in line and f"saved in {kept}" in line
    assert "Traceback" not in told


def test_whoever_does_not_wait_has_it_saved(site: Site, state: Path) -> None:
    """The third signal ends a mount at once, also one that waits for ever."""
    with Foreground(site.path, *site.words, "-o", "hard") as mount:
        mount.wait_mounted()
        file = os.open(site.path / "name", os.O_WRONLY | os.O_CREAT)
        try:
            site.server.stop()
            os.write(file, b"never acknowledged")
            mount.signal(signal.SIGTERM)
            eventually(lambda: str(site.path) not in mountpoints(), 20, "detached")
            mount.signal(signal.SIGINT)  # not the same one: two that are pending are one
            mount.signal(signal.SIGHUP)
            status, told = mount.finish()
        finally:
            with suppress(OSError):
                os.close(file)
    assert status == 74, told
    (ranges, kept, about) = saved(state)[f"{site.backing}/name"]
    assert pieces(ranges, kept) == [b"never acknowledged"]
    assert "ended before" in str(about["reason"]) and str(kept) in told


def test_the_end_tells_how_much_is_left(site: Site, state: Path) -> None:
    """On a terminal one line, written over and over."""
    words = [*site.words, "-f"]
    with Terminal(*words) as terminal:
        eventually(lambda: str(site.path) in mountpoints(), 30, "mounted")
        file = os.open(site.path / "name", os.O_WRONLY | os.O_CREAT)
        try:
            site.server.freeze()
            os.write(file, bytes(3 * MIB))
            terminal.type("\x03")
            line = "writing 3.0 MiB to 127.0.0.1, 3.0 MiB left"
            terminal.wait_for(f"{line}\r\x1b[K{line}")
            site.server.thaw()
            assert terminal.finish() == 0, terminal.output
        finally:
            with suppress(OSError):
                os.close(file)
    assert not state.exists()
    assert (site.backing / "name").stat().st_size == 3 * MIB
