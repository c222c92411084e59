"""Processes of a mount that die or cannot go on: the mount does, with the right bytes."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import MakeMount, server_options
from tests.harness import processes
from tests.harness.command import Foreground
from tests.harness.link import FaultyLink
from tests.harness.mounts import REPOSITORY, Mount, in_time, mountpoints, unmount_lazily
from tests.harness.outage import LOSS
from tests.harness.waiting import eventually
from tests.sshd import Sshd

pytestmark = pytest.mark.limit(120)

MIB = 1 << 20
LIMIT = 60.0


def workers(mount: Mount) -> list[int]:
    """The processes that hold the mount's connections: the fork server's children."""
    table = processes.table()
    forkers = [pid for pid in processes.descendants([mount.pid], table) if table[pid].parent == mount.pid]
    return sorted(processes.descendants(forkers, table))


def content(size: int) -> bytes:
    """Bytes that differ everywhere."""
    return random.Random(size).randbytes(size)


def copied(mount: Mount, source: Path, target: Path, count: int, trouble: dict[int, object]) -> bool:
    """Copies MiB by MiB through the mount, with ``trouble`` before the numbered ones."""
    with open(source, "rb", buffering=0) as reader, open(target, "wb", buffering=0) as writer:
        for number in range(count):
            if number in trouble:
                action = trouble[number]
                assert callable(action)
                action()
            assert writer.write(reader.read(MIB)) == MIB
    return True


def digest(path: Path) -> str:
    """Checksum of a whole file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_killed_workers_are_not_noticed(make_mount: MakeMount, backing: Path) -> None:
    data = content(32 * MIB)
    (backing / "big").write_bytes(data)
    mount = make_mount("dir_cache=no", backing=backing)
    mount.expect(LOSS)

    def kill() -> None:
        for pid in workers(mount):
            os.kill(pid, signal.SIGKILL)

    done, _ = in_time(
        lambda: copied(mount, mount.path / "big", mount.path / "copy", 32, {8: kill, 20: kill}), LIMIT
    )
    assert done is True
    assert digest(backing / "copy") == hashlib.sha256(data).hexdigest()
    assert mount.log().count("the connection is back") == 2


def test_a_worker_without_memory_gives_up_rather_than_lose_bytes(
    make_mount: MakeMount, backing: Path
) -> None:
    data = content(32 * MIB)
    (backing / "big").write_bytes(data)
    every_packet_needs_more = {"MALLOC_MMAP_THRESHOLD_": "16384"}  # not what was freed: there may be enough
    mount = make_mount("dir_cache=no", backing=backing, environment=every_packet_needs_more)
    mount.expect(LOSS)

    def starve() -> None:
        for pid in workers(mount):
            resource.prlimit(pid, resource.RLIMIT_AS, (0, 0))

    done, _ = in_time(
        lambda: copied(
            mount, mount.path / "big", mount.path / "copy", 32, {0: starve, 8: starve, 20: starve}
        ),
        LIMIT,
    )
    assert done is True
    assert digest(backing / "copy") == hashlib.sha256(data).hexdigest()
    assert "connection is back" in mount.log(), "it had memory enough"


def test_a_log_file_on_a_full_disk_loses_lines_and_nothing_else(make_mount: MakeMount, backing: Path) -> None:
    mount = make_mount("dir_cache=no", "log_file=/dev/full", backing=backing)
    for pid in workers(mount):
        os.kill(pid, signal.SIGKILL)
    (mount.path / "file").write_bytes(b"written after lines were lost")
    assert (backing / "file").read_bytes() == b"written after lines were lost"


def test_a_terminal_that_takes_nothing_stops_nothing(sshd: Sshd, tmp_path: Path, backing: Path) -> None:
    """stderr on a full disk, in the foreground; the status at the end is that of the mount."""
    point = tmp_path / "mnt"
    point.mkdir()
    options = ",".join([*server_options(sshd), "dir_cache=no"])
    spec = f"{sshd.user}@127.0.0.1:{backing}"
    command = [sys.executable, "-m", "sftpfs", spec, str(point), "-f", "-v", "-o", options]
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=full,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            start_new_session=True,
        )
    try:
        eventually(lambda: str(point) in mountpoints() or process.poll() is not None, LIMIT, "mounted")
        (point / "file").write_bytes(b"content")
        assert (backing / "file").read_bytes() == b"content"
        subprocess.run(["fusermount3", "-u", str(point)], check=True, timeout=LIMIT)
        assert process.wait(LIMIT) == 0
    finally:
        if process.poll() is None:
            unmount_lazily(str(point))
            processes.kill_tree(process.pid)
            process.wait(LIMIT)


@pytest.mark.parametrize("command", ["", "ssh_command=ssh"], ids=["built in", "ssh"])
def test_a_signal_to_the_whole_group_ends_no_connection(
    sshd: Sshd, tmp_path: Path, backing: Path, command: str
) -> None:
    """As a service manager stops a unit: what is dirty has to be written, and no new login is let in."""
    size = 8 * MIB
    with FaultyLink(sshd) as link:
        options = [*server_options(link), *([command] if command else [])]  # type: ignore[arg-type]
        words = [f"{link.user}@127.0.0.1:{backing}", str(tmp_path / "mnt"), "-F", "none"]
        (tmp_path / "mnt").mkdir()
        with Foreground(tmp_path / "mnt", *words, "-o", ",".join(options)) as mount:
            mount.wait_mounted()
            file = os.open(tmp_path / "mnt/file", os.O_WRONLY | os.O_CREAT)
            os.fsync(file)
            link.refuse()
            link.pause()
            assert os.write(file, content(size)) == size
            for number in (signal.SIGTERM, signal.SIGHUP):
                processes.kill_tree(mount.process.pid, number)
            link.resume()
            status, told = mount.finish()
            with suppress(OSError):  # the mount it was open on is gone
                os.close(file)
    assert status == 0, told
    assert (backing / "file").read_bytes() == content(size)
