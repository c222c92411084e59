"""What ``sftpfs top`` shows: from the mount's counters to lines of text for a screen of any size.

Owns what was measured over the last seconds. Neither asks the mount nor touches the terminal.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from rich.text import Text

from sftpfs.cli.tools.human_format import duration, latency, number, plural, share, size
from sftpfs.histogram import Histogram
from sftpfs.host.logs import printable

WINDOW = 10
"""Messages over which percentiles and the slowest are taken: few enough to be about now."""

HISTORY = 300
"""Messages whose rates are kept for the curves; the widest screens show fewer."""

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-=+*%#"

WIDEST_TABLE = 60
LEAST_NAME = 10
"""Cells for the name of a request; if there are few, percentiles are left out first."""
PARTS = (50, 95, 99)
"""Percentiles shown of how long requests take."""
"""Cells: a figure far from its name is hard to find."""

SLOW = 1.0
"""Seconds from which a request is shown in red, because a person notices it."""

Values = dict[str, Any]


class Look:
    """What one message of the mount says happened since the one before."""

    __slots__ = ("hits", "operations", "reads", "requests", "seconds", "slowest")

    def __init__(self, now: Values, before: Values | None) -> None:
        self.seconds = max(now["now"] - before["now"], 0.001) if before else 0.0
        self.requests: dict[str, Histogram] = {}
        old = before["pool"]["total"]["latencies"] if before else {}
        for kind, values in now["pool"]["total"]["latencies"].items():
            histogram = Histogram.of(values)
            if not before:
                continue
            self.requests[kind] = histogram.since(Histogram.of(old[kind])) if kind in old else histogram
        self.operations = {name: Histogram.of(values) for name, values in now["operations"].items()}
        self.slowest: list[list[Any]] = now["slowest"]
        mount, past = now["mount"], (before or now)["mount"]
        self.hits = mount["chunk_hits"] - past["chunk_hits"]
        self.reads = self.hits + mount["chunk_misses"] - past["chunk_misses"]


class View:
    """The screen's state."""

    def __init__(self, ascii_only: bool = False) -> None:
        self._bars = ASCII_BARS if ascii_only else BARS
        self._more = "~" if ascii_only else "…"
        self._latest: Values | None = None
        self._looks: deque[Look] = deque(maxlen=WINDOW)
        self._received: deque[float] = deque(maxlen=HISTORY)
        self._sent: deque[float] = deque(maxlen=HISTORY)

    def update(self, values: Values) -> None:
        """Take a message of the request ``top``."""
        before, self._latest = self._latest, values
        look = Look(values, before)
        self._looks.append(look)
        if before is not None:
            now, then = values["pool"]["total"], before["pool"]["total"]
            self._received.append((now["bytes_received"] - then["bytes_received"]) / look.seconds)
            self._sent.append((now["bytes_sent"] - then["bytes_sent"]) / look.seconds)

    def lines(self, width: int, height: int) -> list[Text]:
        """The whole screen: at most ``height`` lines of at most ``width`` cells."""
        if self._latest is None:
            return [Text("waiting for the mount")]
        head = [*self._head(self._latest, width), Text()]
        room = max(height - len(head) - 4, 2)  # two headings, a gap, the footer
        tables = self._tables(width, max(room * 3 // 5, 1))
        slow = self._slow(self._latest, width, room + 1 - len(tables))
        foot = Text("q quits", style="dim")
        body = [*head, *tables, Text(), *slow]
        body += [Text()] * (height - 1 - len(body))
        body = [*body[: height - 1], foot]
        for line in body:
            line.truncate(width, overflow="ellipsis")
        return body

    # -- the upper part ------------------------------------------------------------

    def _head(self, values: Values, width: int) -> list[Text]:
        age = f" mounted for {duration(time.time() - values['since'])} "
        name, room = printable(f" {values['server']} on {values['mountpoint']}"), max(width - len(age), 1)
        if len(name) > room:
            name = self._more + name[len(name) + 1 - room :]  # the mountpoint says most
        title = Text(f"{name:<{room}}{age}", style="bold reverse")
        return [
            title,
            self._server(values),
            self._traffic("received", self._received, values["pool"]["total"]["bytes_received"], width),
            self._traffic("sent", self._sent, values["pool"]["total"]["bytes_sent"], width),
            self._cache(values),
            self._written(values["mount"]),
            self._ahead(values["mount"]),
        ]

    def _server(self, values: Values) -> Text:
        pool = values["pool"]
        if pool["lost_for"] is not None:
            return Text(f"server     out of reach for {duration(pool['lost_for'])}", style="bold red")
        connections = pool["connections"]
        best = min((one["minimum_latency"] for one in connections if one["minimum_latency"]), default=None)
        unanswered = sum(one["unanswered"] for one in connections)
        text = (
            f"server     {len(connections)} of {plural(pool['maximum'], 'connection')}, "
            f"{number(unanswered)} unanswered, round trip {latency(best)}"
        )
        if pool["reconnects"]:
            text += f", lost {plural(pool['reconnects'], 'time')}"
        return Text(text)

    def _traffic(self, name: str, rates: deque[float], total: int, width: int) -> Text:
        rate = rates[-1] if rates else 0.0
        text = Text(f"{name:<9}  {size(rate) + '/s':<11} {size(total):>9} in all  ")
        text.append(self._curve(rates, max(width - len(text) - 1, 0)), style="green")
        return text

    def _curve(self, rates: Iterable[float], width: int) -> str:
        shown = list(rates)[-width:] if width else []
        top = max(shown, default=0.0)
        if not top:
            return self._bars[0] * len(shown)
        return "".join(self._bars[min(int(rate / top * 8), 7)] for rate in shown)

    def _cache(self, values: Values) -> Text:
        mount, limits = values["mount"], values["limits"]
        hits, reads = sum(look.hits for look in self._looks), sum(look.reads for look in self._looks)
        kept = f"{size(mount['cached_bytes'])} of {size(limits['cached_bytes'])}"
        return Text(f"cache      {kept}, {share(hits, reads)} of reads answered from it")

    def _written(self, mount: Values) -> Text:
        if not mount["dirty_files"]:
            return Text("written    all is on the server")
        waiting = f"{size(mount['dirty_bytes'])} in {plural(mount['dirty_files'], 'file')}"
        return Text(f"written    {waiting} not on the server yet", style="yellow")

    def _ahead(self, mount: Values) -> Text:
        words = []
        for label, used, issued in (
            ("content", "read_ahead_used_bytes", "read_ahead_issued_bytes"),
            ("small files", "files_ahead_used_bytes", "files_ahead_issued_bytes"),
            ("listings", "listings_ahead_used", "listings_ahead_issued"),
        ):
            words.append(f"{label} {share(mount[used], mount[issued])}")
        return Text(f"ahead      of use: {', '.join(words)}")

    # -- requests and operations ---------------------------------------------------

    def _tables(self, width: int, rows: int) -> list[Text]:
        """Two tables side by side: requests to the server, and requests of programs."""
        each = min((width - 2) // 2, WIDEST_TABLE)
        left = self._table("to server", "requests", each, rows)
        right = self._table("programs", "operations", each, rows)
        lines = []
        for one, other in zip_longest(left, right, fillvalue=Text()):
            one = one.copy()
            one.truncate(each, pad=True)
            line = Text("  ").join([one, other])
            lines.append(line)
        return lines

    def _table(self, heading: str, what: str, width: int, rows: int) -> list[Text]:
        parts = PARTS[: max((width - LEAST_NAME - 5) // 8, 0)]
        name_width = max(width - 5 - 8 * len(parts), 4)
        columns = "".join(f"{f'p{part}':>8}" for part in parts)
        lines = [Text(f"{heading:<{name_width}}{'/s':>5}{columns}", style="bold")]
        merged: dict[str, Histogram] = {}
        seconds = 0.0
        for look in self._looks:
            seconds += look.seconds
            for name, histogram in getattr(look, what).items():
                merged.setdefault(name, Histogram()).add(histogram)
        busiest = sorted(merged.items(), key=lambda item: (-item[1].total, item[0]))
        for name, histogram in busiest[:rows]:
            if histogram.total:
                lines.append(self._row(name, histogram, seconds, name_width, parts))
        return lines

    def _row(
        self, name: str, histogram: Histogram, seconds: float, name_width: int, parts: Sequence[int]
    ) -> Text:
        rate = histogram.total / seconds if seconds else 0.0
        shown = printable(name)[: name_width - 1]
        text = Text(f"{shown:<{name_width}}{_rate(rate):>5}")
        for part in parts:
            taken = histogram.percentile(part / 100)
            text.append(f"{latency(taken):>8}", style="red" if taken is not None and taken >= SLOW else "")
        return text

    # -- the slowest ---------------------------------------------------------------

    def _slow(self, values: Values, width: int, rows: int) -> list[Text]:
        lines = [Text("slowest of the last seconds", style="bold")]
        waiting = [
            (seconds, True, name, path, detail, "") for name, path, detail, seconds in values["running"]
        ]
        done = [
            (seconds, False, name, path, detail, outcome)
            for look in self._looks
            for _, name, path, detail, outcome, seconds in look.slowest
        ]
        for entry in sorted(waiting + done, key=lambda entry: (not entry[1], -entry[0]))[:rows]:
            lines.append(self._slow_row(width, *entry))
        return lines

    def _slow_row(
        self, width: int, seconds: float, waiting: bool, name: str, path: str, detail: str, outcome: str
    ) -> Text:
        state = "waits" if waiting else outcome
        after = f" ({detail})" if detail else ""
        head = f"{latency(seconds):>8}  {name:<10} "
        tail = f"{after}  {state}"
        room = max(width - len(head) - len(tail), 8)
        if len(path) > room:
            path = self._more + path[1 - room :]
        text = Text(printable(f"{head}{path}{tail}"))
        if waiting or seconds >= SLOW:
            text.stylize("red" if seconds >= SLOW else "yellow")
        return text


def _rate(rate: float) -> str:
    if rate >= 99_500:
        return f"{rate / 1000:.0f}k"
    return number(round(rate)).replace(",", "") if rate >= 10 else f"{rate:.1f}"
