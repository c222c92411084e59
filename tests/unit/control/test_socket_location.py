"""Where a mount's socket is looked for: the usual places, and wherever the kernel says there is one."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import cast

import pytest

from sftpfs.cli.tools import ask_mounts
from sftpfs.control import client, socket_location
from sftpfs.control.client import connect
from sftpfs.control.protocol import Values
from sftpfs.control.socket_location import socket_name, socket_paths
from sftpfs.errors import MountError
from sftpfs.host.mountpoint import MountedAt


def test_a_mount_with_another_runtime_directory_is_found(tmp_path: Path) -> None:
    """Made in a session, asked for by su, cron or root, who have no XDG_RUNTIME_DIR or another."""
    directory = tmp_path / "elsewhere/sftpfs"
    directory.mkdir(0o700, parents=True)
    mount = MountedAt("0:4711", "/somewhere", "fuse.sftpfs", "host:", user_id=os.getuid())
    path = str(directory / socket_name(mount.device))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()
        assert path in socket_paths(mount)
        with connect(mount) as asked:
            assert asked.pid == os.getpid()
        directory.chmod(0o755)
        assert path not in socket_paths(mount), "others could have put it there"
    directory.chmod(0o700)
    assert path not in socket_paths(mount), "nobody listens there"


def test_a_mount_of_ours_without_a_socket_is_no_other_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user made the directory where it belongs: rightly not used, and said so."""
    (tmp_path / "sftpfs").mkdir(mode=0o755)
    monkeypatch.setattr(client, "directories", lambda uid: [str(tmp_path / "sftpfs")])
    monkeypatch.setattr(socket_location, "directories", lambda uid: [str(tmp_path / "sftpfs")])
    mount = MountedAt("0:4712", "/somewhere", "fuse.sftpfs", "host:", user_id=os.getuid())
    with pytest.raises(MountError) as caught:
        connect(mount)
    assert f"no directory for it ({tmp_path}/sftpfs) is one that user {os.getuid()} alone" in str(
        caught.value
    )
    with pytest.raises(MountError, match="no sftpfs is mounted at /somewhere: that is host: of type"):
        connect(mount._replace(type="fuse.sshfs"))


@pytest.mark.parametrize(("owner", "shown"), [(os.geteuid(), "/told"), (os.geteuid() + 1, "/kernel")])
def test_where_another_users_mount_is_the_kernel_tells(owner: int, shown: str) -> None:
    class Telling:
        mount = MountedAt("0:4713", "/kernel", "fuse.sftpfs", "host:", user_id=owner)

        def ask(self, name: str) -> Values:
            return {"mountpoint": "/told"}

    assert ask_mounts._asked(cast(client.Client, Telling()), "status")["mountpoint"] == shown
