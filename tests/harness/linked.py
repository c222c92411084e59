"""A real sshd reached over a link that can be holed, one connection at a time."""

from __future__ import annotations

from pathlib import Path

from tests.harness.delay import DelayProxy
from tests.sshd import Sshd


class Linked:
    """``sshd`` as it is seen through ``link``: what a mount needs to get in."""

    def __init__(self, sshd: Sshd, link: DelayProxy, directory: Path) -> None:
        self.user = sshd.user
        self.port = link.port
        self._sshd = sshd
        self._known_hosts = directory / f"known_hosts_{link.port}"
        keys = [sshd.public_host_key(index) for index in range(len(sshd.host_keys))]
        self._known_hosts.write_text("".join(f"[127.0.0.1]:{link.port} {key}\n" for key in keys))

    def ssh_options(self) -> tuple[tuple[str, str], ...]:
        """As ``Sshd.ssh_options``."""
        known = ("UserKnownHostsFile", str(self._known_hosts))
        return tuple(known if name == known[0] else (name, value) for name, value in self._sshd.ssh_options())
