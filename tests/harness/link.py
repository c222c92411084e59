"""A TCP link to an sshd that fails as it is told: for what cannot be done to packets that are encrypted."""

from __future__ import annotations

from pathlib import Path

from tests.harness.helper_process import HelperProcess
from tests.sshd import Sshd


class FaultyLink(HelperProcess):
    """Forwards its ``port`` to ``server``; stands where an Sshd stands when a mount is made.

    "up" is towards the server, "down" from it.
    """

    def __init__(self, server: Sshd) -> None:
        super().__init__("tests.harness.link_server", str(server.port))
        self.server = server
        self.user = server.user
        self.known_hosts = Path(server.directory) / f"known_hosts-{self.port}"
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {server.public_host_key()}\n")

    def ssh_options(self) -> tuple[tuple[str, str], ...]:
        """As of the server, with its host key known under this port."""
        options = dict(self.server.ssh_options())
        options["UserKnownHostsFile"] = str(self.known_hosts)
        return tuple(options.items())

    def pause(self) -> None:
        """A hole: nothing passes either way, connections stay open, new ones get no answer."""
        self.ask("pause")

    def resume(self) -> None:
        """Undo ``pause``; what was sent meanwhile arrives."""
        self.ask("resume")

    def held(self) -> int:
        """Chunks that came since ``pause`` and wait."""
        return int(self.ask("held")["held"])

    def cut(self) -> None:
        """Reset every connection."""
        self.ask("cut")

    def refuse(self, refuse: bool = True) -> None:
        """Reset every new connection at once, or no more."""
        self.ask("refuse", refuse=refuse)

    def order(self, action: str, direction: str, after: int = 0) -> None:
        """Once ``after`` more bytes have passed in ``direction``: "cut" in place of the next ones, or
        "corrupt", "duplicate" or "drop" one byte. What is cut on the way up the server never gets;
        on the way down it has done what was asked, and nobody is told."""
        self.ask("order", action=action, direction=direction, after=after)

    def ordered(self) -> bool:
        """Whether the order has yet to be carried out."""
        return bool(self.ask("ordered")["left"])
