"""A server of SFTP v3 that is not OpenSSH's and differs in one respect, reached by plain TCP.

    with ForeignServer("opens what is to be new") as server:
        mount = Mount(f"127.0.0.1:{directory}", …, [f"directport={server.port}"])
        server.requests()

A real sftp-server does the work, for each connection one; ``foreign_server`` has the respects, by name.
"""

from __future__ import annotations

from tests.harness.foreign_server import RESPECTS
from tests.harness.helper_process import HelperProcess


class ForeignServer(HelperProcess):
    """The server, in its own process."""

    def __init__(self, respect: str) -> None:
        assert respect in RESPECTS, respect
        super().__init__("tests.harness.foreign_server", respect, private_mounts=True)

    def requests(self) -> list[str]:
        """The names of all requests so far, in the order they came."""
        return list(self.ask("requests")["names"])

    def most_open(self) -> int:
        """How many handles one session had open at most."""
        return int(self.ask("most open")["most"])
