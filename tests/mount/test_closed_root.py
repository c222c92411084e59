"""A root that may be entered but not listed, as providers give it to accounts they confine."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.kernel import fails_with
from tests.harness.mounts import Mount
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
