"""Other mount namespaces, a container's for example: an unmount here does not reach their copies."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeMount, server_options
from tests.harness import processes
from tests.harness.command import COMMAND, LIMIT, environment, say
from tests.harness.machine import Machine, identity
from tests.harness.mounts import Mount, mountpoints
from tests.harness.namespaces import apart
from tests.harness.waiting import eventually
from tests.sshd import Sshd


def has(pid: int, path: str) -> bool:
    """Whether ``path`` is mounted as the process sees it, which is another program by now."""
    there = Path(f"/proc/{pid}")
    lines = (there / "mountinfo").read_text().splitlines()
    return (there / "comm").read_text() == "sleep\n" and any(line.split()[4] == path for line in lines)


def test_umount_ends_and_tells_who_keeps_a_copy(make_mount: MakeMount) -> None:
    mount = make_mount()
    path = str(mount.path)
    with open(mount.path / "file", "wb", buffering=0) as file:
        file.write(b"on the server")
    with subprocess.Popen([*apart(keep=path), "sleep", "60"]) as sleeper:
        try:
            eventually(lambda: has(sleeper.pid, path))
            told = say("umount", path)
            assert told.status == 0
            (line,) = told.stderr.splitlines()
            assert f"{path} is off here; another mount namespace, that of sleep ({sleeper.pid})" in line
            assert f"process {mount.pid} goes on until that ends" in line
            assert path not in mountpoints()
            assert mount.process.poll() is None
            assert (mount.backing / "file").read_bytes() == b"on the server"
            inside = Path(f"/proc/{sleeper.pid}/root{path}/file")
            assert inside.read_bytes() == b"on the server"
        finally:
            sleeper.kill()
    assert mount.process.wait(20) == 0


def umount_in(pid: int, path: str) -> tuple[int, str]:
    """``sftpfs umount`` as the process sees mounts: its status, and what it said."""
    command = ["nsenter", f"--mount=/proc/{pid}/ns/mnt", *COMMAND, "umount", path]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=LIMIT, check=False
    )
    return done.returncode, done.stderr


def test_umount_of_a_copy_leaves_the_mount_alone(make_mount: MakeMount) -> None:
    mount = make_mount()
    path = str(mount.path)
    (mount.path / "file").write_bytes(b"here")
    with subprocess.Popen([*apart(keep=path), "sleep", "60"]) as sleeper:
        try:
            eventually(lambda: has(sleeper.pid, path))
            with open(f"/proc/{sleeper.pid}/root{path}/file", "rb"):
                status, told = umount_in(sleeper.pid, path)
                assert status == 11 and "is in use by" in told
                assert has(sleeper.pid, path)
            status, told = umount_in(sleeper.pid, path)
            assert status == 0
            assert f"its process {mount.pid} is in another mount namespace" in told
            assert not has(sleeper.pid, path)
            assert (mount.path / "file").read_bytes() == b"here"
        finally:
            sleeper.kill()


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as made:
        assert made.run("/mnt/bin/sftpfs", "install-helpers")[0] == 0
        yield made


def test_umount_with_the_helpers_ends_too(machine: Machine, sshd: Sshd, tmp_path: Path) -> None:
    """Also where an earlier mount there is kept on, and where it is the copy that is unmounted."""
    options = f"port={sshd.port},{identity(machine, sshd.client_key, sshd.known_hosts)}"
    path = machine.directory("/mnt/point")
    (tmp_path / "exported").mkdir()
    mount = ("mount", "-t", "sftpfs", "-o", options, f"root@127.0.0.1:{tmp_path / 'exported'}", path)
    assert machine.run(*mount) == (0, "", "")
    with machine.start(*apart(keep=path), "sleep", "60") as sleeper:
        try:
            eventually(lambda: has(sleeper.pid, path))
            status, _, told = machine.run("umount", path)
            assert status == 0
            assert f"{path} is off here; another mount namespace, that of sleep ({sleeper.pid})" in told
            assert machine.run(*mount) == (0, "", "")
            assert machine.run("umount", path) == (0, "", "")
            served = {pid for pid in processes.ours() if "mount.sftpfs" in processes.describe(pid)}
            assert len(served - processes.descendants(served, processes.table())) == 1
            status, _, told = machine.run("nsenter", f"--mount=/proc/{sleeper.pid}/ns/mnt", "umount", path)
            assert status == 0 and "is in another mount namespace" in told
            eventually(lambda: not served & processes.table().keys(), 20, "ended with its last copy")
        finally:
            sleeper.kill()
    assert machine.run(*mount) == (0, "", "")
    status, _, told = machine.run(*apart(keep=path), "umount", path)
    assert status == 0 and "is in another mount namespace" in told
    assert machine.run("umount", path) == (0, "", "")


def test_a_namespace_of_the_tests_has_no_mounts_of_others(
    make_mount: MakeMount, sshd: Sshd, tmp_path: Path
) -> None:
    """Whatever their names: tests run side by side."""
    kept = make_mount().path
    odd = Mount(
        f"{sshd.user}@127.0.0.1:{tmp_path}", tmp_path / "a $(touch b) \\ c\n", tmp_path, server_options(sshd)
    )
    try:
        command = [*apart(keep=str(kept)), "cat", "/proc/self/mounts"]
        seen = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True).stdout
    finally:
        odd.close()
    assert [line.split()[1] for line in seen.splitlines() if " fuse." in line] == [str(kept)]
