"""mount.sftpfs and umount.sftpfs under the real mount(8) and umount(8): by root, users, systemd, autofs."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sftpfs.host.daemon import DATA_LOST_STATUS
from tests.harness import processes
from tests.harness.machine import NOBODY, Machine, identity
from tests.harness.waiting import eventually
from tests.sshd import Sshd, free_port

BIG = 64 << 20
USER_ID = 65534
SOMEBODY_ELSE = ("setpriv", "--reuid=1", "--regid=1", "--clear-groups")

SYSTEMD_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
    "LANG": "C.UTF-8",
    processes.MARK: processes.RUN,
}
"""What systemd gives mount(8) in a mount unit: no HOME, no USER, no terminal."""

BARE = {processes.MARK: processes.RUN}
"""Not even PATH."""


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as made:
        assert made.run("/mnt/bin/sftpfs", "install-helpers")[0] == 0
        yield made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    """A server of its own, to be frozen."""
    with Sshd(tmp_path / "sshd") as made:
        yield made


class Exported:
    """Directories on the server, and what an fstab says of them."""

    def __init__(self, machine: Machine, server: Sshd, directory: Path) -> None:
        self.machine = machine
        self.port = server.port
        self.directory = directory / "exported"
        self.directory.mkdir()
        self.options = f"port={server.port},{identity(machine, server.client_key, server.known_hosts)}"
        self.user_options = (
            f"port={server.port},"
            f"{identity(machine, server.client_key, server.known_hosts, USER_ID, 'nobody')}"
        )

    def spec(self, name: str) -> str:
        (self.directory / name).mkdir(exist_ok=True)
        (self.directory / name / "hello").write_text("hello\n")
        return f"root@127.0.0.1:{self.directory / name}"

    def fstab(self, *lines: tuple[str, str, str, str]) -> None:
        text = "".join(f"{spec} {path} {kind} {options} 0 0\n" for spec, path, kind, options in lines)
        self.machine.write("/mnt/fstab", text)


@pytest.fixture
def exported(machine: Machine, server: Sshd, tmp_path: Path) -> Exported:
    return Exported(machine, server, tmp_path)


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def daemons() -> set[int]:
    found = set()
    for pid in processes.ours():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"/mount.sftpfs\0" in command or b"/mount.fuse.sftpfs\0" in command:
            found.add(pid)
    return found


@pytest.mark.parametrize("kind", ["sftpfs", "fuse.sftpfs"])
def test_mount_by_type(machine: Machine, exported: Exported, kind: str) -> None:
    path = machine.directory("/mnt/a")
    words = ["-t", kind, exported.spec("a"), path, "-o", exported.options]
    assert machine.run("mount", *words) == (0, "", "")
    assert machine.mounts() == {path: "fuse.sftpfs"}
    assert machine.outside(f"{path}/hello").read_text() == "hello\n"
    assert machine.run("umount", path) == (0, "", "")
    assert machine.mounts() == {}
    assert daemons() == set(), "umount returned before the mount's process had ended"


FAILURES = [
    (["-o", "reconect"], 1, "unknown option reconect (did you mean reconnect?)"),
    (["-o", "port=1"], 32, "refused the connection"),
]


@pytest.mark.parametrize(("words", "status", "part"), FAILURES, ids=lambda value: str(value))
def test_failures_have_mounts_statuses_and_one_line(
    machine: Machine, exported: Exported, words: list[str], status: int, part: str
) -> None:
    path = machine.directory("/mnt/a")
    got, output, errors = machine.run(
        "mount", "-t", "sftpfs", "-o", exported.options, *words, exported.spec("a"), path
    )
    assert (got, output) == (status, "")
    assert part in errors and errors.count("\n") == 1
    assert machine.mounts() == {}


def test_four_lines_of_fstab_with_a_write_under_way(
    machine: Machine, exported: Exported, server: Sshd, tmp_path: Path
) -> None:
    a, b, c, d = (machine.directory(f"/mnt/{name}") for name in "abcd")
    exported.fstab(
        (exported.spec("a"), a, "fuse.sftpfs", f"user,_netdev,{exported.options}"),
        (exported.spec("b"), b, "sftpfs", f"_netdev,allow_other,{exported.options}"),
        (exported.spec("c"), c, "fuse.sftpfs", f"_netdev,ro,{exported.options}"),
        (
            "root@127.0.0.1:/nowhere",
            d,
            "fuse.sftpfs",
            f"_netdev,nofail,{exported.options},port={free_port()}",
        ),
    )
    status, _, errors = machine.run("mount", "-a")
    assert status == 64, "mount(8): some mounts succeeded"
    assert "refused the connection" in errors and errors.count("\n") == 1
    assert set(machine.mounts()) == {a, b, c}
    with pytest.raises(OSError, match="Read-only"):
        machine.outside(f"{c}/new").touch()

    source = tmp_path / "source"
    source.write_bytes(os.urandom(1 << 20) * (BIG >> 20))
    writer = machine.start("dd", f"if={source}", f"of={b}/big", "bs=1M")
    eventually(lambda: (exported.directory / "b" / "big").exists(), 20, "the write has begun")
    server.freeze()
    assert writer.poll() is None
    status, _, errors = machine.run("umount", "-a", "-t", "fuse.sftpfs")
    server.thaw()
    assert status == 32
    assert "busy" in errors
    assert set(machine.mounts()) == {b}
    with writer:
        assert writer.wait(60) == 0
    assert machine.run("umount", "-a", "-t", "fuse.sftpfs") == (0, "", "")
    assert machine.mounts() == {}
    eventually(lambda: not daemons(), what="its processes gone")
    assert digest(exported.directory / "b" / "big") == digest(source)


@pytest.mark.parametrize("words", [("umount",), ("umount", "-t", "fuse.sftpfs", "-a"), ("umount", "-c")])
def test_umount_waits_for_the_mounts_process(
    machine: Machine, exported: Exported, server: Sshd, words: tuple[str, ...]
) -> None:
    """A server that answers nothing is given half a second for goodbyes, which is when umount returns."""
    path = machine.directory("/mnt/a")
    options = f"{exported.options},timeout=2"  # umount(8) itself asks the mount for its type
    assert machine.run("mount", "-t", "sftpfs", exported.spec("a"), path, "-o", options)[0] == 0
    server.freeze()
    where = [] if "-a" in words else [path]
    assert machine.run(*words, *where) == (0, "", "")
    assert daemons() == set()
    assert machine.mounts() == {}


def test_lazy_umount_does_not_wait(machine: Machine, exported: Exported) -> None:
    path = machine.directory("/mnt/a")
    assert machine.run("mount", "-t", "sftpfs", exported.spec("a"), path, "-o", exported.options)[0] == 0
    with open(machine.outside(f"{path}/hello")) as file:
        assert machine.run("umount", path)[0] == 32
        assert machine.run("umount", "-l", path) == (0, "", "")
        assert machine.mounts() == {}
        assert file.read() == "hello\n"


@pytest.mark.parametrize("word", ["user", "users"])
def test_a_plain_user_mounts_and_unmounts(machine: Machine, exported: Exported, word: str) -> None:
    path = machine.directory("/mnt/a", owner=USER_ID)
    exported.fstab((exported.spec("a"), path, "fuse.sftpfs", f"noauto,{word},{exported.user_options}"))
    bare = dict(BARE)
    assert machine.run("mount", path, user=NOBODY, environment=bare) == (0, "", "")
    assert machine.mounts() == {path: "fuse.sftpfs"}
    (pid,) = daemons() - {p for p in daemons() if processes.table()[p].parent in daemons()}
    assert os.stat(f"/proc/{pid}").st_uid == USER_ID
    shown = machine.run("ls", path, user=NOBODY)
    assert shown == (0, "hello\n", "")
    assert machine.run("umount", path, user=NOBODY, environment=bare) == (0, "", "")
    assert machine.mounts() == {}
    eventually(lambda: not daemons(), what="its processes gone")


def test_another_user_unmounts_with_users_and_not_with_user(machine: Machine, exported: Exported) -> None:
    """umount(8) knows who may; whoever it is waits for the mount's process."""
    for word, allowed in (("user", False), ("users", True)):
        path = machine.directory(f"/mnt/{word}", owner=USER_ID)
        options = f"noauto,{word},{exported.user_options}"
        exported.fstab((exported.spec("a"), path, "fuse.sftpfs", options))
        assert machine.run("mount", path, user=NOBODY) == (0, "", "")
        status, _, errors = machine.run("umount", path, user=SOMEBODY_ELSE)
        if allowed:
            assert (status, errors) == (0, "")
            assert daemons() == set(), "umount returned before the mount's process had ended"
        else:
            assert status == 32 and path in machine.mounts()
            assert machine.run("umount", path, user=NOBODY) == (0, "", "")
    assert machine.mounts() == {}


def test_root_waits_for_another_users_mount_and_not_for_ever(machine: Machine, exported: Exported) -> None:
    """Its process says nothing, and holds the lock on the directory: root's umount goes on without."""
    path = machine.directory("/mnt/a", owner=USER_ID)
    exported.fstab((exported.spec("a"), path, "fuse.sftpfs", f"noauto,user,{exported.user_options}"))
    assert machine.run("mount", path, user=NOBODY) == (0, "", "")
    family = daemons()
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        status, _, errors = machine.run("umount", path)
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)
    assert status == 0
    assert "waiting for process" in errors
    assert machine.mounts() == {}
    eventually(lambda: not daemons(), what="its processes gone")


MAPPED_WRITE = """
import ctypes, mmap, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 4096)
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
address = libc.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
os.close(fd)
ctypes.string_at(address, 1)  # the page is read before the server goes
print("mapped", flush=True)
while not os.path.exists("/mnt/go"):
    time.sleep(0.02)
ctypes.memmove(address, b"never", 5)
"""
"""Writes to a mapping that has no descriptor any more: no close(2) tells the program what becomes of it."""


def test_umount_tells_what_is_lost(
    machine: Machine, exported: Exported, server: Sshd, tmp_path: Path
) -> None:
    path = machine.directory("/mnt/a")
    spec = exported.spec("a")
    there = {**machine.environment, "XDG_STATE_HOME": str(tmp_path / "state")}
    words = ["-t", "sftpfs", spec, path, "-o", f"{exported.options},timeout=3"]
    assert machine.run("mount", *words, environment=there) == (0, "", "")
    with machine.start(sys.executable, "-c", MAPPED_WRITE, f"{path}/file") as program:
        assert program.stdout is not None and program.stdout.readline() == "mapped\n"
        server.stop()
        machine.write("/mnt/go", "")
        assert program.wait(60) == 0
    status, output, errors = machine.run("umount", path)
    assert (status, output) == (DATA_LOST_STATUS, "")
    (saved,) = [each for each in (tmp_path / "state/sftpfs/lost").iterdir() if each.suffix != ".json"]
    assert saved.read_bytes()[:5] == b"never"
    assert errors.startswith(f"sftpfs: not written: {exported.directory}/a/file: ")
    assert errors.endswith(f"; saved in {saved}\n")
    assert machine.mounts() == {}
    eventually(lambda: not daemons(), what="its processes gone")


def test_as_systemd_calls(machine: Machine, exported: Exported) -> None:
    """systemd.mount(5): exec of /bin/mount WHAT WHERE -t TYPE -o OPTIONS, and /bin/umount WHERE -c."""
    path = machine.directory("/mnt/a")
    options = f"_netdev,nofail,x-systemd.automount,{exported.options}"
    words = [exported.spec("a"), path, "-t", "fuse.sftpfs", "-o", options]
    assert machine.run("/bin/mount", *words, environment=SYSTEMD_ENVIRONMENT) == (0, "", "")
    assert machine.mounts() == {path: "fuse.sftpfs"}
    assert machine.run("/bin/umount", path, "-c", environment=SYSTEMD_ENVIRONMENT) == (0, "", "")
    assert machine.mounts() == {}
    eventually(lambda: not daemons(), what="its processes gone")


def test_as_autofs_calls(machine: Machine, exported: Exported) -> None:
    """autofs's mount_generic: /bin/mount -n -t TYPE -s -o OPTIONS WHAT WHERE, without any environment."""
    path = machine.directory("/mnt/net/a")
    options = f"rw,nodev,nonempty,noatime,some_option_of_tomorrow,{exported.options}"
    words = ["-n", "-t", "fuse.sftpfs", "-s", "-o", options, exported.spec("a"), path]
    assert machine.run("/bin/mount", *words, environment=BARE) == (0, "", "")
    assert machine.outside(f"{path}/hello").read_text() == "hello\n"
    assert machine.run("/bin/umount", path, environment=BARE) == (0, "", "")
    assert machine.mounts() == {}
    eventually(lambda: not daemons(), what="its processes gone")


def test_the_helpers_own_letters(machine: Machine, exported: Exported) -> None:
    """mount(8), External helpers: mount.TYPE SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]."""
    path = machine.directory("/mnt/a")
    words = [exported.spec("a"), path, "-f", "-n", "-v", "-o", exported.options, "-t", "fuse.sftpfs"]
    assert machine.run("/sbin/mount.sftpfs", *words) == (0, "", "")
    assert machine.mounts() == {}, "-f is fake"
    assert machine.run("/sbin/mount.sftpfs", *[word for word in words if word != "-f"], "-s")[0] == 0
    assert machine.mounts() == {path: "fuse.sftpfs"}
    assert machine.run("/sbin/umount.sftpfs", path, "-n", "-v", "-t", "fuse.sftpfs") == (0, "", "")
    status, _, errors = machine.run("/sbin/umount.sftpfs", path)
    assert (status, errors) == (32, f"sftpfs: {path} is not mounted\n")


def test_mounts_of_others_are_unmounted_as_ever(machine: Machine, exported: Exported) -> None:
    path = machine.directory("/mnt/a")
    options = exported.options.replace(",", " -o ").split(" ")
    assert machine.run("sshfs", exported.spec("a"), path, "-o", *options) == (0, "", "")
    assert machine.run("umount", path) == (0, "", "")
    assert machine.mounts() == {}


def test_helpers_are_made_once_and_removed(machine: Machine) -> None:
    assert machine.run("/mnt/bin/sftpfs", "install-helpers") == (0, "", ""), "there is nothing to do"
    status, output, _ = machine.run("/mnt/bin/sftpfs", "install-helpers", "--remove")
    assert status == 0 and output.count("removed /sbin/") == 5
    assert not list(machine.outside("/usr/sbin").glob("*mount.*sftpfs"))
    machine.write("/usr/sbin/mount.sftpfs", "#!/bin/sh\n")
    status, _, errors = machine.run("/mnt/bin/sftpfs", "install-helpers")
    assert status == 15 and "/sbin/mount.sftpfs exists and was not made by sftpfs" in errors
    assert machine.run("/mnt/bin/sftpfs", "install-helpers", user=NOBODY)[0] == 15


def test_helpers_need_an_installed_program() -> None:
    words = [sys.executable, "-P", "-c", "import sys; sys.argv[0] = 'x'; from sftpfs.cli import main; "]
    words[-1] += "sys.executable = '/nowhere/python'; sys.exit(main.main(['install-helpers']))"
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    assert done.returncode == 15
    assert "no installed program sftpfs to link to" in done.stderr


def test_a_broken_program_is_in_nobodys_way(machine: Machine, exported: Exported) -> None:
    """Neither another program's FUSE mounts nor ours need it to come off."""
    ours, others = machine.directory("/mnt/o u\trs"), machine.directory("/mnt/others")
    spec = exported.spec("a")
    assert machine.run("mount", "-t", "sftpfs", spec, ours, "-o", exported.options)[0] == 0
    assert (
        machine.run("mount", "-t", "sftpfs", spec, others, "-o", f"{exported.options},subtype=other")[0] == 0
    )
    assert "fuse.other" in machine.mounts().values()
    machine.write("/mnt/bin/sftpfs", "#!/bin/sh\necho no module named sftpfs >&2\nexit 1\n", mode=0o755)
    assert machine.run("umount", others) == (0, "", "")
    status, _, errors = machine.run("umount", ours)
    assert status == 0 and errors == "no module named sftpfs\n"
    assert machine.mounts() == {}
    eventually(lambda: not daemons(), what="its processes gone")


def test_a_mount_made_with_another_runtime_directory_is_found(machine: Machine, exported: Exported) -> None:
    """By its owner without that variable, as under su or cron, and by root."""
    path = machine.directory("/mnt/a", USER_ID)
    runtime = machine.directory("/mnt/run", USER_ID)
    machine.outside(runtime).chmod(0o700)
    there = {**machine.environment, "XDG_RUNTIME_DIR": runtime}
    elsewhere = {name: value for name, value in machine.environment.items() if name != "XDG_RUNTIME_DIR"}
    words = ("/mnt/bin/sftpfs", exported.spec("a"), path, "-o", exported.user_options)
    status, _, errors = machine.run(*words, user=NOBODY, environment=there)
    assert status == 0, errors
    assert machine.outside(f"{runtime}/sftpfs").exists()
    for user in (NOBODY, ()):
        status, output, errors = machine.run(
            "/mnt/bin/sftpfs", "status", path, user=user, environment=elsewhere
        )
        assert status == 0 and f"on {path}" in output, errors
    status, output, _ = machine.run("/mnt/bin/sftpfs", "status", user=NOBODY, environment=elsewhere)
    assert f"on {path}" in output
    assert machine.run("/mnt/bin/sftpfs", "flush", path, environment=elsewhere)[0] == 0
    assert machine.run("/mnt/bin/sftpfs", "umount", path, user=NOBODY, environment=elsewhere)[0] == 0
    eventually(lambda: not daemons(), what="its processes gone")
