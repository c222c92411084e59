"""What every server of the zoo is: keys, a port of 127.0.0.1 and a folder of its own, and an end for sure.

A server runs in a mount namespace rid of FUSE mounts (one that enters the mount it serves waits for itself)
and in a process namespace of its own, so that its end is the end of all it started. Needs root.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tests.harness import processes
from tests.harness.command import environment
from tests.harness.namespaces import apart
from tests.harness.waiting import eventually
from tests.servers.packages import Packages, Store
from tests.sshd import free_port, generate_key

LISTEN = "0A"
"""The state of a socket in /proc/net/tcp."""

START_LIMIT = 60.0
"""Seconds on a busy machine; Erlang takes ten."""


class Server:
    """One kind of server. A subclass says where it comes from, what it cannot, and how it is started."""

    packages: ClassVar[Packages] = Packages()
    needs: ClassVar[tuple[str, ...]] = ()
    """Paths below / that have to be there, on the machine or unpacked."""
    traits: ClassVar[tuple[str, ...]] = ()
    """Names of ``traits.TRAITS``."""

    def __init__(self, folder: Path, store: Store) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.store = store
        self.port = free_port()
        self.host_key = generate_key(folder / "host_key")
        self.client_key = generate_key(folder / "client_key")
        self.authorized_keys = folder / "authorized_keys"
        self.authorized_keys.write_text(self.public_key.read_text())

    @property
    def public_key(self) -> Path:
        """The client's."""
        return self.client_key.with_suffix(".pub")

    @classmethod
    def there(cls, store: Store) -> bool:
        """Whether it can be started: everything it needs is on the machine or unpacked."""
        return all(store.find(path) for path in cls.needs)

    def found(self, path: str) -> Path:
        """A program or file of the server's packages."""
        found = self.store.find(path)
        assert found, f"{path} is not there"
        return found

    def command(self, served: Path) -> list[str | Path]:
        """Make what configuration there is, and say what to run in the foreground."""
        raise NotImplementedError

    def script(self) -> str:
        """Shell commands before it, as root in its namespace."""
        return ""

    def environment(self) -> dict[str, str]:
        """Variables for it."""
        return {"HOME": str(self.folder)}

    def path_of(self, served: Path) -> str:
        """How a client calls the served directory."""
        return str(served)

    def host_key_line(self) -> str:
        """``type base64`` of the host key."""
        return " ".join(self.host_key.with_suffix(".pub").read_text().split()[:2])

    def options(self, port: int) -> list[str]:
        """``-o`` options of a mount that reaches the server by ``port``."""
        known_hosts = self.folder / f"known_hosts_{port}"
        known_hosts.write_text(f"[127.0.0.1]:{port} {self.host_key_line()}\n")
        return [
            f"port={port}",
            f"IdentityFile={self.client_key}",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            f"UserKnownHostsFile={known_hosts}",
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
        ]

    @contextmanager
    def running(self, served: Path) -> Iterator[None]:
        """Serve until the block ends."""
        options = ("--pid", "--fork", "--kill-child", "--mount-proc")
        words = apart(f'{self.script()}\nexec "$@"', options=options)
        with open(self.folder / "log", "wb") as log:
            process = subprocess.Popen(
                [*words, *map(str, self.command(served))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment(**self.environment()),
                start_new_session=True,
            )
        try:
            eventually(lambda: self._listens(process), START_LIMIT, f"{type(self).__name__} listens")
            yield
        finally:
            family = processes.descendants([process.pid], processes.table())
            process.kill()  # --kill-child takes the namespace's first process with it, and that all others
            process.wait(10)
            left = processes.wait_gone(family, 10)
            assert not left, f"left behind: {[processes.describe(pid) for pid in left]}"

    def _listens(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, self.log()
        lines = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        words = [line.split() for line in lines.splitlines()]
        return any(word[1].endswith(f":{self.port:04X}") and word[3] == LISTEN for word in words)

    def log(self) -> str:
        """What it has said so far."""
        return (self.folder / "log").read_text(errors="replace")
