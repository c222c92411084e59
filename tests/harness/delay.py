"""A TCP link with a delay, or with holes, in front of a server."""

from __future__ import annotations

from tests.harness.helper_process import HelperProcess


class DelayProxy(HelperProcess):
    """Forwards its ``port`` to 127.0.0.1:``target``.

    ``one_way`` seconds of delay in each direction, so a round trip costs twice that;
    ``rate`` in bytes per second each way, of all connections together, None for as fast as it goes.
    """

    def __init__(self, target: int, one_way: float = 0.0, rate: float | None = None) -> None:
        super().__init__("tests.harness.delay_server", str(target), str(one_way), str(rate or 0.0))

    def set_delay(self, one_way: float) -> None:
        """Delay what arrives from now on by ``one_way`` seconds."""
        self.ask("delay", seconds=one_way)

    def hole(self, number: int) -> None:
        """Nothing passes on connection ``number`` (from 0, in order of coming) any more, either way; it
        stays open."""
        self.ask("hole", number=number, holed=True)

    def fill(self, number: int) -> None:
        """Undo ``hole``; what was sent meanwhile arrives."""
        self.ask("hole", number=number, holed=False)

    def connections(self) -> int:
        """How many connections there have been."""
        return int(self.ask("connections")["connections"])
