"""A TCP link with a delay, or with holes, in front of a server."""

from __future__ import annotations

from tests.harness.helper_process import HelperProcess


class DelayProxy(HelperProcess):
    """Forwards its ``port`` to 127.0.0.1:``target``.

    ``one_way`` seconds of delay in each direction, so a round trip costs twice that;
    ``rate`` in bytes per second each way, of all connections together, None for as fast as it goes.
    ``later``: where all connections but the first lead, if not to ``target``.
    """

    def __init__(
        self, target: int, one_way: float = 0.0, rate: float | None = None, later: int | None = None
    ) -> None:
        words = (target, one_way, rate or 0.0, later or target)
        super().__init__("tests.harness.delay_server", *map(str, words))

    def lead_to(self, target: int) -> None:
        """Connections made from now on lead there."""
        self.ask("lead", to=target)

    def cut(self, number: int) -> None:
        """Connection ``number`` (from 0, in order of coming) ends."""
        self.ask("cut", number=number)

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
