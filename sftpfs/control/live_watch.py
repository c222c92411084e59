"""Requests that go on until their client ends: the log as it is written, and the data of ``top``."""

from __future__ import annotations

import heapq
from collections import deque
from contextlib import ExitStack
from typing import Any

import trio

from sftpfs.control import status_report
from sftpfs.control.mount_view import MountView
from sftpfs.control.protocol import ControlError, Values
from sftpfs.control.server import Send
from sftpfs.histogram import Histogram
from sftpfs.host import logs
from sftpfs.types import Operation

LOG_INTERVAL = 0.1
"""Seconds between two looks for new lines: live for a person, and many lines in one message."""

MOST_LINES = 1000
"""Lines in one message."""

MOST_HELD = 20_000
"""Lines kept for a slow client; beyond that the oldest are dropped, and counted."""

SIGN_OF_LIFE = 10.0
"""Seconds after which a client learns that there is nothing new."""

SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.1, 60.0
"""Seconds between two looks of ``top``."""

MOST_SLOW = 50
"""Operations reported of one interval; a screen shows some of them."""


class LineQueue:
    """Lines for one client; never waits and never grows without end."""

    def __init__(self) -> None:
        self._lines: deque[list[Any]] = deque(maxlen=MOST_HELD)
        self._dropped = 0

    def put(self, line: list[Any]) -> None:
        """Adds a line, in place of the oldest if there is no room."""
        if len(self._lines) == MOST_HELD:
            self._dropped += 1
        self._lines.append(line)

    def take(self) -> Values:
        """What there is, as a message; empty if there is nothing."""
        if not self._lines:
            return {}
        dropped, self._dropped = self._dropped, 0
        lines = [self._lines.popleft() for _ in range(min(len(self._lines), MOST_LINES))]
        return {"lines": lines, "dropped": dropped}


async def follow_log(mounted: MountView, arguments: Values, send: Send) -> Values:
    """Sends the last lines of the log and then new ones, with ``trace`` every operation: [at, kind, …]
    each."""
    queue = LineQueue()

    def logged(at: float, level: str, text: str) -> None:
        queue.put([at, "log", level, text])

    def traced(operation: Operation) -> None:
        queue.put([operation.at, "operation", *operation[1:]])

    with ExitStack() as stack:
        stack.enter_context(logs.watching(logged))
        if arguments.get("trace") is True:
            stack.enter_context(mounted.tracer.watching(traced))
        await send({})
        quiet_since = trio.current_time()
        while True:
            await trio.sleep(LOG_INTERVAL)
            message = queue.take()
            if message or trio.current_time() > quiet_since + SIGN_OF_LIFE:
                await send(message)
                quiet_since = trio.current_time()


class Interval:
    """What happened between two looks of ``top``."""

    def __init__(self) -> None:
        self.latencies: dict[str, Histogram] = {}
        self._slowest: list[tuple[float, int, Operation]] = []
        self._count = 0

    def add(self, operation: Operation) -> None:
        """Count one operation."""
        self.latencies.setdefault(operation.name, Histogram()).count(operation.seconds)
        self._count += 1
        entry = (operation.seconds, self._count, operation)
        if len(self._slowest) < MOST_SLOW:
            heapq.heappush(self._slowest, entry)
        else:
            heapq.heappushpop(self._slowest, entry)

    def values(self) -> Values:
        """For the client; the slowest first."""
        return {
            "operations": {name: histogram.values() for name, histogram in self.latencies.items()},
            "slowest": [list(operation) for _, _, operation in sorted(self._slowest, reverse=True)],
        }


async def top(mounted: MountView, arguments: Values, send: Send) -> Values:
    """All counters every ``interval`` seconds, with the operations since: how many, how long, the slowest."""
    interval = arguments.get("interval")
    if not isinstance(interval, int | float) or not SHORTEST_INTERVAL <= interval <= LONGEST_INTERVAL:
        raise ControlError(f"an interval that is not {SHORTEST_INTERVAL:g} to {LONGEST_INTERVAL:g} seconds")
    current = Interval()
    with mounted.tracer.watching(lambda operation: current.add(operation)):
        while True:
            seen, current = current, Interval()
            running = [list(one) for one in mounted.tracer.running()[:MOST_SLOW]]
            now = {"now": trio.current_time(), "running": running}
            await send({**status_report.statistics(mounted), **seen.values(), **now})
            await trio.sleep(interval)
