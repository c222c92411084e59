"""A root that may be entered but not listed, as providers give it to accounts they confine."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sftpfs.errors import Failure
from tests.harness.command import run
from tests.harness.counting import CountingProxy
from tests.harness.kernel import fails_with
from tests.harness.machine import NOBODY, Machine
from tests.harness.mounts import Mount, mountpoints
from tests.sshd import Sshd


@pytest.fixture
def place() -> Iterator[Path]:
    """Where sshd accepts a ChrootDirectory, and may read keys as somebody else than root."""
    made = Path(tempfile.mkdtemp(dir="/run", prefix="sftpfs-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def test_a_root_that_cannot_be_listed_is_mounted_all_the_same(tmp_path: Path, place: Path) -> None:
    closed = place / "closed"
    (closed / "inside").mkdir(parents=True)
    shutil.chown(closed / "inside", "nobody")
    closed.chmod(0o711)
    extra = f"ChrootDirectory {closed}\nForceCommand internal-sftp"
    with Sshd(place / "sshd", config_extra=extra, subsystem="internal-sftp") as server:
        server.user = "nobody"
        options = [f"port={server.port}", *(f"{word}={value}" for word, value in server.ssh_options())]
        with Mount(f"{server.host}:/", tmp_path / "mnt", closed, options) as mount:
            with fails_with(errno.EACCES):
                os.listdir(mount.path)
            (mount.path / "inside" / "f").write_text("as nobody")
            assert os.listdir(mount.path / "inside") == ["f"]
            assert (closed / "inside" / "f").read_text() == "as nobody"


def test_a_root_that_can_be_neither_listed_nor_entered_is_refused(tmp_path: Path, place: Path) -> None:
    locked = place / "locked"
    (locked / "inside").mkdir(parents=True)
    locked.chmod(0o700)
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    with Sshd(place / "sshd", subsystem="internal-sftp") as server:
        server.user = "nobody"
        options = ",".join([f"port={server.port}", *(f"{w}={v}" for w, v in server.ssh_options())])
        words = (f"{server.host}:{locked}", mountpoint, "-F", "none", "-o")
        status, errors = run(*words, options)
        assert status == Failure.REMOTE_DIRECTORY.value
        assert f"{locked} cannot be read: Permission denied" in errors and errors.count("\n") == 1
        assert str(mountpoint) not in mountpoints()
        try:
            assert run(*words, f"{options},no_check_root") == (0, "")
            with fails_with(errno.EACCES):
                os.listdir(mountpoint)
        finally:
            subprocess.run(["umount", str(mountpoint)], check=True, timeout=30)


def test_a_mount_that_may_not_be_written_to_is_named_to_who_mounts_over_it(backing: Path) -> None:
    """fusermount3 wants the mountpoint writable: of a plain user's mount that is the root on the server."""
    backing.chmod(0o755)
    with CountingProxy() as proxy, Machine() as machine:
        path = "/mnt/home"
        machine.directory(path, 65534)
        option = f"directport={proxy.port}"
        source = f"127.0.0.1:{backing}"
        assert machine.run("/mnt/bin/sftpfs", source, path, "-o", option, user=NOBODY)[0] == 0
        try:
            words = ("/mnt/bin/sftpfs", "127.0.0.1:/usr", path, "-o", option)
            status, _, errors = machine.run(*words, user=NOBODY)
            assert status == Failure.MOUNTPOINT.value
            assert source in errors and "already" in errors and f"with: sftpfs umount {path}" in errors
        finally:
            assert machine.run("/mnt/bin/sftpfs", "umount", path, user=NOBODY)[0] == 0
