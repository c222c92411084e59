"""An SFTP server reached by plain TCP that counts requests and dependent waits.

    with CountingProxy() as proxy:
        mount = Mount(f"127.0.0.1:{directory}", …, [f"directport={proxy.port}", "max_conns=1"])
        proxy.reset()
        os.stat(…)
        proxy.read().waits

What a *wait* is: a request depends on every reply the client had when it sent it, so
its depth is one more than the deepest such reply, and the waits of an operation are
the depth of the deepest reply delivered by the time it returned. Each reply is held
back for ``latency`` seconds, so requests sent together get one depth. The reply to CLOSE
counts for no depth: nobody waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.helper_process import HelperProcess
from tests.harness.spoiled import SPOILED
from tests.harness.waiting import eventually

LATENCY = 0.05
"""Seconds a reply is held: far longer than requests sent together are apart, also on a busy machine."""


@dataclass(frozen=True)
class Count:
    """What passed since the last reset."""

    waits: int
    """Depth of the deepest reply delivered."""
    requests: dict[str, int]
    """Requests by name (extended requests by their own)."""
    trace: list[str]
    """``depth name`` in order of arrival, for messages."""
    sent: dict[str, int]
    """Bytes the server sent, by kind of reply, delivered or not."""

    @property
    def total(self) -> int:
        """How many requests there were."""
        return sum(self.requests.values())


class CountingProxy(HelperProcess):
    """The counting server, in its own process; every connection gets an sftp-server of its own."""

    def __init__(
        self, latency: float = LATENCY, start_directory: Path | None = None, wrapped: Sequence[str] = ()
    ) -> None:
        """``wrapped``: the command that runs sftp-server, as somebody else say."""
        words = (str(latency), str(start_directory or "/"), *wrapped)
        super().__init__("tests.harness.counting_server", *words, private_mounts=True)

    def reset(self) -> None:
        """Wait until nothing is outstanding, then count from zero."""
        eventually(lambda: self.ask("outstanding")["outstanding"] == 0, what="a quiet server")
        self.ask("reset")

    def read(self) -> Count:
        """The count at this instant: replies that come before a busy machine gets to it are no waits."""
        reply = self.ask("read", until=time.monotonic())
        return Count(reply["waits"], reply["requests"], reply["trace"], reply["sent"])

    def set_latency(self, seconds: float) -> None:
        """Hold each reply from now on for ``seconds``."""
        self.ask("latency", seconds=seconds)

    def set_clock(self, ahead: int) -> None:
        """The server's clock is ``ahead`` seconds ahead of this machine's from now on."""
        self.ask("clock", ahead=ahead)

    def pause(self) -> None:
        """A hole in the network: nothing passes either way, connections stay open."""
        self.ask("pause")

    def resume(self) -> None:
        """Undo ``pause``; what was sent meanwhile arrives."""
        self.ask("resume")

    def hold_replies(self, name: str = "", skip: int = 0) -> None:
        """Requests ``name`` (or any) are carried out, and nobody hears of it until ``deliver_replies``,
        nor on their connections of what comes behind them; but of the first ``skip`` of them."""
        self.ask("hold replies", name=name, skip=skip)

    def deliver_replies(self) -> None:
        """Undo ``hold_replies``."""
        self.ask("deliver replies")

    def hole(self, number: int) -> None:
        """As ``pause``, for good, of connection ``number`` (from 0, in order of coming) alone."""
        self.ask("hole", number=number)

    def cut(self) -> None:
        """Reset every connection and end its server."""
        self.ask("cut")

    def cut_at(self, name: str, *, carried_out: bool) -> None:
        """Reset every connection as the next request ``name`` comes: before the server gets it, or
        once it is ``carried_out`` and its reply is under way. Several are kept in order."""
        self.ask("cut at", name=name, carried_out=carried_out)

    def forget_cuts(self) -> None:
        """Undo every ``cut_at`` that has not come."""
        self.ask("forget cuts")

    def cuts_left(self) -> int:
        """How many of ``cut_at`` have not come."""
        return int(self.ask("cuts left")["left"])

    def refuse(self, refuse: bool = True) -> None:
        """Reset every new connection at once, or no more."""
        self.ask("refuse", refuse=refuse)

    def spoil(self, name: str, how: str, *, about: str = "", skip: int = 0, times: int = 1 << 40) -> None:
        """Spoil the replies to requests ``name`` as ``spoiled.SPOILED[how]`` does: those that hold ``about``
        (part of a path), after the first ``skip``, ``times`` of them. One such order at a time."""
        assert how in SPOILED, how
        self.ask("spoil", name=name, how=how, about=about, skip=skip, times=times)

    def spoiled(self) -> int:
        """How many replies were spoiled so far."""
        return int(self.ask("spoiled", heal=False)["done"])

    def heal(self) -> int:
        """Spoil nothing any more; how many replies were spoiled."""
        return int(self.ask("spoiled", heal=True)["done"])
