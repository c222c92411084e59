"""What a mount loads before its fork server runs: little, for what comes then is loaded beside it."""

from __future__ import annotations

import subprocess
import sys

import pytest

MOUNT = "import sftpfs.cli.main, sftpfs.cli.options.parse, sftpfs.cli.mount_command"
SHOW = "; import sys; print(*sys.modules)"


def loaded(program: str) -> set[str]:
    """The modules that ``program`` loads."""
    done = subprocess.run(
        [sys.executable, "-c", program + SHOW], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "late",
    ["trio", "pyfuse3", "asyncssh", "asyncio", "argparse", "sftpfs.cli.commands", "sftpfs.mount.service"],
)
def test_what_a_mount_needs_later_is_loaded_later(late: str) -> None:
    assert late not in loaded(MOUNT)


def test_the_fork_server_loads_nothing_of_the_front() -> None:
    found = loaded("import sftpfs.transport.worker.fork_server, sftpfs.transport.worker.worker")
    assert "asyncssh" in found
    rooms = {name.split(".")[1] for name in found if name.startswith("sftpfs.")}
    assert not found & {"trio", "pyfuse3"}
    assert not rooms & {"cli", "control", "data", "fuse", "mount", "remote", "sftp", "vfs"}
