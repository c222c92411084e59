"""Where a mount's socket is looked for: the usual places, and wherever the kernel says there is one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from sftpfs.control.client import connect
from sftpfs.control.location import socket_name, socket_paths
from sftpfs.mountpoint import MountedAt


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
        with connect(mount) as client:
            assert client.pid == os.getpid()
        directory.chmod(0o755)
        assert path not in socket_paths(mount), "others could have put it there"
    directory.chmod(0o700)
    assert path not in socket_paths(mount), "nobody listens there"
