"""Looking into a real mount, and telling it to flush and to refresh."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sftpfs.control import client
from sftpfs.control.socket_location import find, socket_name, socket_paths
from sftpfs.errors import Failure
from sftpfs.host.daemon import DATA_LOST_STATUS, exit_status
from sftpfs.host.mountpoint import mounted_at
from sftpfs.vfs.tree.leases import ABSENCE_LEASE
from tests.conftest import MakeMount, server_options
from tests.harness.command import Output, assert_gone, ended, environment, family_of, run, say, started
from tests.harness.counting import CountingProxy
from tests.harness.kernel import opened
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually
from tests.sshd import Sshd

NOT_MOUNTED = exit_status(Failure.MOUNTPOINT)
LONG = "dcache_timeout=600"
"""Seconds no test takes: what is seen before is seen because it was refreshed."""

OLD = 1_600_000_000


def status(path: Path | str) -> str:
    """``sftpfs status`` of one mount."""
    found = say("status", str(path))
    assert found.status == 0, found.stderr
    return found.stdout


# -- status ----------------------------------------------------------------------------------


def test_status_tells_how_the_mount_is(make_mount: MakeMount) -> None:
    mount = make_mount()
    shown = status(mount.path)
    assert f"on {mount.path}" in shown
    assert str(mount.pid) in shown
    assert "answers in" in shown
    # One is enough; a machine that is busy stalls it, and another one is made.
    assert re.search(r"[1-4] of at most 4: .*metadata", shown)
    assert "all is on the server" in shown
    assert "last problem  none" in shown


def test_a_mount_is_found_by_any_path_that_leads_into_it(make_mount: MakeMount, tmp_path: Path) -> None:
    mount = make_mount()
    (mount.path / "a" / "b").mkdir(parents=True)
    (mount.path / "a" / "to b").symlink_to("b")
    link, bound = tmp_path / "link", tmp_path / "bound"
    link.symlink_to(mount.path / "a" / "to b")
    bound.mkdir()
    subprocess.run(["mount", "--bind", mount.path / "a", bound], check=True)
    try:
        for path in (
            mount.path / "a",
            link,
            f"{link}/..",
            f"{mount.path}/",
            bound / "b",
            mount.path / "none",
        ):
            assert f"on {mount.path}" in status(path), path
        (mount.backing / "a" / "b" / "new").touch()
        refreshed = say("refresh", bound / "b", link)
        assert refreshed.status == 0, refreshed.stderr
        assert os.listdir(link) == ["new"]
    finally:
        subprocess.run(["umount", bound], check=True)


def assert_all_well(found: Output, place: Path) -> None:
    """What was said of all mounts tells of no trouble with one below ``place``.

    Mounts of tests that run beside this one may be stuck or killed, and are complained of.
    """
    told = found.stderr.splitlines()
    assert found.status == (exit_status(Failure.COMMAND) if told else 0), found
    for line in told:
        assert line.startswith("sftpfs: the mount on "), line
        assert str(place) not in line, line


def test_all_mounts_are_shown_without_a_name(make_mount: MakeMount, tmp_path: Path) -> None:
    first, second = make_mount(), make_mount()
    found = say("status")
    assert_all_well(found, tmp_path)
    assert f"on {first.path}" in found.stdout
    assert f"on {second.path}" in found.stdout


def test_a_mount_that_is_stuck_does_not_hide_the_others(make_mount: MakeMount) -> None:
    stuck, well = make_mount(), make_mount()
    os.kill(stuck.pid, signal.SIGSTOP)
    try:
        found = say("status")
    finally:
        os.kill(stuck.pid, signal.SIGCONT)
    assert found.status == exit_status(Failure.COMMAND)
    assert f"the mount on {stuck.path} has said nothing for " in found.stderr
    assert f"on {well.path}" in found.stdout


@pytest.mark.parametrize("command", ["status", "flush", "refresh"])
def test_what_is_no_mount_is_told(command: str, make_mount: MakeMount, tmp_path: Path) -> None:
    mount = make_mount()
    for path in (tmp_path, tmp_path / "none", Path("/proc")):
        found = say(command, path)
        assert found.status == NOT_MOUNTED
        assert f"no sftpfs is mounted at {path}; your mounts: " in found.stderr
        assert str(mount.path) in found.stderr
        assert found.stderr.count("\n") == 1


def test_the_socket_goes_with_the_mount(sshd: Sshd, backing: Path, tmp_path: Path) -> None:
    """Of a daemon: it is there when the command returns, and not after the unmount."""
    path = tmp_path / "mnt"
    path.mkdir()
    code, errors = run(f"{sshd.user}@127.0.0.1:{backing}", path, "-o", ",".join(server_options(sshd)))
    assert code == 0, errors
    family = family_of(path)
    at = mounted_at(str(path))
    assert at is not None
    socket = Path("/run/sftpfs") / socket_name(at.device)
    assert socket.is_socket()
    assert f"on {path}" in status(path)
    made = socket.stat()
    subprocess.run(["fusermount3", "-u", path], check=True)
    assert_gone(path, family)
    if socket.exists():  # the next mount may have the number
        left = socket.stat()
        assert (left.st_ino, left.st_ctime_ns) != (made.st_ino, made.st_ctime_ns)


def test_a_mount_whose_process_was_killed_is_told_from_none(make_mount: MakeMount) -> None:
    mount = make_mount()
    mount.kill()
    mount.process.wait(20)
    found = say("status", mount.path)
    assert found.status == NOT_MOUNTED
    assert "does not answer; if its process is gone, unmount it with: fusermount3 -u" in found.stderr
    assert mount.path.name in found.stderr
    assert say("status").status != 0
    mount.close(clean=False)


def test_status_is_told_while_the_server_is_out_of_reach(
    make_mount: MakeMount, counting_proxy: CountingProxy
) -> None:
    mount = make_mount(port=counting_proxy.port)
    mount.expect("the connection to the server is lost|the connection is back")
    counting_proxy.pause()
    assert "connected, but gives no answer" in status(mount.path)
    counting_proxy.resume()
    counting_proxy.refuse()
    counting_proxy.cut()
    eventually(lambda: "out of reach for" in status(mount.path), what="the loss noticed")
    assert "the connection to the server is lost" in status(mount.path)
    counting_proxy.refuse(False)
    eventually(lambda: "made again 1 time" in status(mount.path), what="the connection back")


# -- flush -----------------------------------------------------------------------------------


WRITE_AND_STAY = """
import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
sys.stdin.readline()
os.write(fd, b"x" * int(sys.argv[2]))
print("written", flush=True)
sys.stdin.readline()
try:
    os.fsync(fd)
except OSError as problem:
    print(problem.strerror)
"""


@contextmanager
def writer(path: Path, size: int) -> Iterator[subprocess.Popen[str]]:
    """A program that opens ``path``, writes when it gets a line, and syncs with the next.

    A process of its own: one that forks with the file open flushes it.
    """
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_AND_STAY, str(path), str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            eventually(path.exists, what="opened")
            yield process
        finally:
            process.kill()


def let_write(process: subprocess.Popen[str]) -> None:
    """Have it write now."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "written\n"


def test_flush_waits_until_all_is_on_the_server(make_mount: MakeMount, counting_proxy: CountingProxy) -> None:
    mount = make_mount(port=counting_proxy.port)
    with writer(mount.path / "f", 3 << 20) as program:
        counting_proxy.pause()
        let_write(program)
        assert "3.00 MiB in 1 file not on the server yet" in status(mount.path)
        with started("flush", mount.path) as process:
            assert "3.00 MiB in 1 file" in status(mount.path)
            assert process.poll() is None
            counting_proxy.resume()
            found = ended(process)
        assert found.status == 0, found.stderr
        assert (mount.backing / "f").stat().st_size == 3 << 20
        assert "all is on the server" in status(mount.path)


def test_flush_tells_what_could_not_be_written(
    small_disk: Path, counting_proxy: CountingProxy, make_mount: MakeMount
) -> None:
    mount = make_mount(backing=small_disk, port=counting_proxy.port)
    mount.expect("could not be written and are lost")
    with writer(mount.path / "big", 2 << 20) as program:
        let_write(program)
        found = say("flush", mount.path)
        assert found.status == DATA_LOST_STATUS
        assert "not written: " in found.stderr
        assert "big: No space left on device" in found.stderr
        said, _ = program.communicate("\n", timeout=20)
        assert said == "No space left on device\n"  # the program is told all the same


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory with room for a MiB; to be asked for before the server, which has mounts of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


# -- refresh ---------------------------------------------------------------------------------


def test_refresh_shows_what_the_server_has_now(make_mount: MakeMount, backing: Path) -> None:
    for name in ("gone", "grown", "same second"):
        (backing / name).write_text("version 1")
    (backing / "d" / "old").mkdir(parents=True)
    (backing / "d" / "replaced").mkdir()
    (backing / "link").symlink_to("gone")
    mount = make_mount(LONG, backing=backing)
    begun = time.monotonic()
    see(mount)
    (backing / "gone").unlink()
    (backing / "grown").write_text("version 2 is longer")
    (backing / "same second").write_text("version 2")
    (backing / "d" / "new").write_text("made there")
    (backing / "d" / "old").rmdir()
    (backing / "d" / "replaced").rmdir()
    (backing / "d" / "replaced").write_text("a file now")
    (backing / "link").unlink()
    (backing / "link").symlink_to("grown")
    assert not os.path.exists(mount.path / "d" / "new") or time.monotonic() - begun > ABSENCE_LEASE
    assert os.path.isdir(mount.path / "d" / "replaced")
    found = say("refresh", mount.path)
    assert found == (0, "", "")
    assert not os.path.exists(mount.path / "gone")
    assert (mount.path / "d" / "new").read_text() == "made there"
    assert not os.path.exists(mount.path / "d" / "old")
    assert (mount.path / "d" / "replaced").read_text() == "a file now"
    assert os.stat(mount.path / "grown").st_size == 19
    assert (mount.path / "same second").read_text() == "version 2"
    assert os.readlink(mount.path / "link") == "grown"


def test_refresh_forgets_what_a_listing_has_told_before(make_mount: MakeMount, backing: Path) -> None:
    """That it is gone is known here, but not to the kernel."""
    (backing / "d" / "old").mkdir(parents=True)
    mount = make_mount("cache_timeout=300,dcache_dir_timeout=0", backing=backing)
    assert os.path.isdir(mount.path / "d" / "old")
    (backing / "d" / "old").rmdir()
    assert os.listdir(mount.path / "d") == []
    assert say("refresh", mount.path) == (0, "", "")
    assert not os.path.exists(mount.path / "d" / "old")


def see(mount: Mount) -> None:
    """Look at everything, and at a name that is missing, so that all of it is leased."""
    for directory, names, files in os.walk(mount.path):
        for name in (*names, *files):
            os.lstat(os.path.join(directory, name))
    for name in ("gone", "grown", "same second"):
        (mount.path / name).read_bytes()
    assert os.readlink(mount.path / "link") == "gone"
    assert not os.path.exists(mount.path / "d" / "new")


def test_refresh_of_one_file(make_mount: MakeMount, backing: Path) -> None:
    """An open file too: what the kernel has of it is read again."""
    (backing / "f").write_text("version 1")
    (backing / "other").write_text("x")
    for name in ("f", "other"):
        os.utime(backing / name, (OLD, OLD))  # one just changed has a short lease: it may be growing
    mount = make_mount(LONG, backing=backing)
    with opened(mount.path / "f", os.O_RDONLY) as fd:
        assert os.pread(fd, 100, 0) == b"version 1"
        os.stat(mount.path / "other")
        (backing / "f").write_text("version 2!")
        (backing / "other").write_text("xyz")
        assert os.stat(mount.path / "f").st_size == 9
        assert say("refresh", mount.path / "f").status == 0
        assert os.stat(mount.path / "f").st_size == 10
        assert os.pread(fd, 100, 0) == b"version 2!"
        assert os.stat(mount.path / "other").st_size == 1


def test_refresh_of_a_name_known_to_be_missing(make_mount: MakeMount) -> None:
    mount = make_mount(LONG)
    os.listdir(mount.path)
    assert not os.path.exists(mount.path / "new")
    (mount.backing / "new").touch()
    assert say("refresh", mount.path / "new").status == 0
    assert os.path.exists(mount.path / "new")


def test_refresh_leaves_programs_where_they_are(make_mount: MakeMount) -> None:
    """A directory somebody works in keeps its name, and written data is kept."""
    mount = make_mount(LONG)
    (mount.path / "a" / "b").mkdir(parents=True)
    inside = os.open(mount.path / "a" / "b", os.O_RDONLY)
    try:
        with opened(mount.path / "a" / "f", os.O_CREAT | os.O_RDWR) as fd:
            os.write(fd, b"written")
            assert say("refresh", mount.path).status == 0
            assert os.pread(fd, 100, 0) == b"written"
        assert os.readlink(f"/proc/self/fd/{inside}") == str(mount.path / "a" / "b")
    finally:
        os.close(inside)
    assert (mount.backing / "a" / "f").read_bytes() == b"written"


def test_refresh_tells_what_could_not_be_asked(make_mount: MakeMount, counting_proxy: CountingProxy) -> None:
    mount = make_mount("timeout=1", port=counting_proxy.port)
    mount.expect("the connection to the server is lost|cannot be reached|the connection is back")
    os.listdir(mount.path)
    counting_proxy.refuse()
    counting_proxy.cut()
    found = say("refresh", mount.path)
    assert found.status == exit_status(Failure.COMMAND)
    assert "could not be listed" in found.stderr
    counting_proxy.refuse(False)
    eventually(lambda: say("refresh", mount.path).status == 0, what="refreshed")


AS_NOBODY = """
import os, sys
from sftpfs.cli.main import main
assert main() == 0
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
sys.exit(main())
"""
"""The command, as another user once all it needs is loaded: this checkout may be closed to that one."""


def test_another_users_mount_is_not_looked_into(make_mount: MakeMount) -> None:
    mount = make_mount("allow_other")
    found = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, "status", str(mount.path)],
        env=environment(),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert found.returncode == NOT_MOUNTED, found.stderr
    assert "belongs to user 0: only its owner may look into it" in found.stderr


# -- stats -----------------------------------------------------------------------------------


def test_counters_of_all_connections_there_were(make_mount: MakeMount, counting_proxy: CountingProxy) -> None:
    mount = make_mount("max_conns=1", port=counting_proxy.port)
    mount.expect("the connection to the server is lost|the connection is back")
    (mount.path / "f").write_bytes(b"x" * 100_000)
    before = statistics(mount)
    assert before["pool"]["total"]["bytes_sent"] > 100_000
    assert sum(before["pool"]["total"]["latencies"]["write"]["counts"]) >= 1
    counting_proxy.cut()
    eventually(lambda: statistics(mount)["pool"]["reconnects"] == 1, what="the connection back")
    after = statistics(mount)["pool"]["total"]
    for kind, count in before["pool"]["total"]["requests"].items():
        assert after["requests"][kind] >= count
    assert after["bytes_sent"] > before["pool"]["total"]["bytes_sent"]


def test_all_mounts_while_one_comes_and_goes(make_mount: MakeMount, tmp_path: Path) -> None:
    """One that ended between the look at the table and the question is not an error."""
    steady = make_mount()
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            make_mount().close()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for command in ("status", "stats") * 8:
            found = say(command)
            assert_all_well(found, tmp_path)
            assert str(steady.path) in found.stdout
    finally:
        over.set()
        other.join()


def test_a_mount_that_is_just_being_made_is_waited_for(
    make_mount: MakeMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel shows it a moment before it has its socket."""
    mount = make_mount()
    found = find(str(mount.path)).mount
    (path,) = filter(os.path.exists, socket_paths(found))
    away = f"{path}.away"
    os.rename(path, away)
    monkeypatch.setattr(client.time, "sleep", lambda seconds: os.rename(away, path))
    with client.connect(found) as connection:
        assert connection.ask("status")["mountpoint"] == str(mount.path)


def statistics(mount: Mount) -> dict[str, Any]:
    """``sftpfs stats`` of one mount."""
    found = say("stats", mount.path)
    assert found.status == 0, found.stderr
    values = json.loads(found.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    (only,) = values["mounts"]
    assert isinstance(only, dict)
    return only


SAMPLE = re.compile(r'[a-z_]+{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+} [0-9.e+-]+')


def test_prometheus_takes_the_counters(make_mount: MakeMount, tmp_path: Path) -> None:
    odd = tmp_path / 'a "quoted\\ name'
    odd.mkdir()
    mount = make_mount(backing=odd)
    os.listdir(mount.path)
    found = say("stats", "--prometheus")
    assert_all_well(found, tmp_path)
    names = []
    for line in found.stdout.splitlines():
        if line.startswith("#"):
            assert line.split()[1] in ("HELP", "TYPE")
        else:
            assert SAMPLE.fullmatch(line), line
            names.append(line.partition("{")[0])
    assert "sftpfs_request_duration_seconds_bucket" in names
    assert "sftpfs_dirty_bytes" in names
    assert 'a \\"quoted\\\\ name' in found.stdout
