"""A machine of its own for mount(8) and umount(8): a mount namespace with our helpers, program and fstab.

``mount -a``, ``umount -a`` and links in /sbin touch what is everybody's; here they touch
nothing outside. /mnt is a fresh directory that every user may enter, /sbin this
machine's with links of ours, /etc a copy, /etc/fstab a file of the test. The machine's files are seen
from outside by ``outside``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.harness import processes
from tests.harness.command import environment
from tests.harness.mounts import REPOSITORY
from tests.harness.namespaces import apart

LIMIT = 60.0
"""Seconds for one command on a busy machine."""

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
"""Runs a command as a plain user."""

PREPARE = r"""
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir -p /mnt/.sbin /mnt/.links /mnt/bin /mnt/.python /mnt/.packages /mnt/.repository
mount --bind "$1" /mnt/.python
mount --bind "$2" /mnt/.packages
mount --bind "$3" /mnt/.repository
mount --bind /usr/sbin /mnt/.sbin
for f in /mnt/.sbin/*; do ln -s "$f" /mnt/.links/; done
mount --bind /mnt/.links /usr/sbin
mknod -m 666 /mnt/.fuse c 10 229 && mount --bind /mnt/.fuse /dev/fuse
cp -a /etc /mnt/.etc && rm -f /mnt/.etc/updatedb.conf && mount --bind /mnt/.etc /etc
touch /mnt/fstab && mount --bind /mnt/fstab /etc/fstab
echo ready && exec sleep infinity
"""

PROGRAM = f"""#!/bin/sh
export LD_LIBRARY_PATH=/mnt/.python/lib PYTHONPATH=/mnt/.repository:/mnt/.packages
exec /mnt/.python/bin/python3.{sys.version_info.minor} -P -c '
import sys
del sys.argv[0]
from sftpfs.cli.main import main
sys.exit(main())
' "$0" "$@"
"""
"""What an installer makes of the package's entry point; of parts that every user may read, wherever
this interpreter, its packages and this checkout are."""


class Machine:
    """See the module; a context manager. ``path`` names are the machine's own."""

    def __init__(self) -> None:
        parts = [sys.base_prefix, sysconfig.get_path("purelib"), str(REPOSITORY)]
        self._holder = subprocess.Popen(
            [*apart(PREPARE), *parts],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"
        self.write("/mnt/bin/sftpfs", PROGRAM, mode=0o755)
        self.environment = environment()

    def outside(self, path: str) -> Path:
        """The machine's ``path`` as this process reaches it."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def write(self, path: str, text: str, mode: int = 0o644, owner: int = 0) -> None:
        """Write a file on the machine, with its directories."""
        there = self.outside(path)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)
        there.chmod(mode)
        os.chown(there, owner, owner)

    def directory(self, path: str, owner: int = 0) -> str:
        """Make a directory, for a mountpoint; its name."""
        self.outside(path).mkdir(parents=True)
        os.chown(self.outside(path), owner, owner)
        return path

    def start(
        self, *words: str, user: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command there."""
        return subprocess.Popen(
            ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--wd=/", *user, *words],
            env=self.environment if environment is None else environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self, *words: str, user: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> tuple[int, str, str]:
        """Run a command there: (status, stdout, stderr)."""
        with self.start(*words, user=user, environment=environment) as process:
            try:
                output, errors = process.communicate(timeout=LIMIT)
            except BaseException:
                processes.kill_tree(process.pid)
                raise
        return process.returncode, output, errors

    def mounts(self) -> dict[str, str]:
        """FUSE mountpoints there → type."""
        found = {}
        for line in Path(f"/proc/{self._holder.pid}/mountinfo").read_text().splitlines():
            left, _, right = line.partition(" - ")
            if right.startswith("fuse"):
                found[left.split(" ")[4]] = right.split(" ")[0]
        return found

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """With its last process the namespace goes, and with that its mounts and their daemons."""
        for path in self.mounts():
            self.run("umount", "-i", "-l", path)
        self._holder.kill()
        self._holder.communicate(timeout=LIMIT)


def identity(machine: Machine, key: Path, known_hosts: Path, owner: int = 0, name: str = "root") -> str:
    """``-o`` options with a copy of ``key`` that the user ``owner`` may read."""
    machine.write(f"/mnt/keys/{name}", key.read_text(), 0o600, owner)
    machine.outside("/mnt/keys").chmod(0o755)
    if not machine.outside("/mnt/keys/known_hosts").exists():
        shutil.copy(known_hosts, machine.outside("/mnt/keys/known_hosts"))
        machine.outside("/mnt/keys/known_hosts").chmod(0o644)
    return (
        f"IdentityFile=/mnt/keys/{name},IdentitiesOnly=yes,IdentityAgent=none,"
        "UserKnownHostsFile=/mnt/keys/known_hosts,GlobalKnownHostsFile=/dev/null,StrictHostKeyChecking=yes"
    )
