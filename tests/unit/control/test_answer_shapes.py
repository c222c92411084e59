"""Whatever another user's socket answers is refused or can be shown: it is never the end of a command."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpfs.cli.run.log import shown
from sftpfs.cli.run.status import describe
from sftpfs.cli.tools.drain_report import print_failures, what_waits
from sftpfs.cli.tools.prometheus import exposition
from sftpfs.cli.tools.top_view import View
from sftpfs.control import answer_shapes, protocol
from sftpfs.control.protocol import ControlError, Values
from sftpfs.histogram import BUCKETS

HISTOGRAM = {"counts": [1] * (BUCKETS + 1), "seconds": 1.5}
CONNECTION = {"kind": "metadata", "age": 3.2, "minimum_latency": None, "unanswered": 0}
STATISTICS: Values = {
    "version": "1",
    "pid": 7,
    "server": "host:",
    "mountpoint": "/mnt",
    "since": 1.7e9,
    "pool": {
        "connections": [CONNECTION],
        "maximum": 4,
        "reconnects": 1,
        "lost_for": None,
        "total": {
            "requests": {"READ": 3},
            "latencies": {"READ": HISTOGRAM},
            "bytes_received": 1,
            "bytes_sent": 2,
        },
    },
    "mount": dict.fromkeys(answer_shapes.COUNTERS, 3),
    "limits": {"cached_bytes": 1 << 20},
    "misses": {"names": {"new": 3}, "listings": {"expired": 1}},
    "lost": {"pieces": 1, "files": 1, "bytes": 5, "directory": "/var"},
    "problem": {"at": 1.7e9, "text": "none"},
}
STATUS = {**STATISTICS, "ping": 0.1, "no_ping": ""}
TOP = {
    **STATISTICS,
    "now": 5.0,
    "operations": {"READ": HISTOGRAM},
    "slowest": [[1.0, "READ", "/f", "4096", "ok", 0.5]],
    "running": [["READ", "/f", "4096", 0.5]],
}
WAITING = {"bytes": 10, "files": 1, "lost_for": 3.0}
LINES = {"lines": [[1.7e9, "log", "INFO", "text"], [1.7e9, "operation", "READ", "/f", "", "ok", 0.1]]}


def show_top(values: Values) -> None:
    view = View()
    view.update(values)
    view.update(values)
    view.lines(100, 40)


def show_lines(values: Values) -> None:
    for line in values.get("lines", ()):
        shown(line)


SHOWN: list[tuple[str, Values, Callable[[Values], object]]] = [
    ("status", STATUS, describe),
    ("statistics", STATISTICS, lambda values: exposition([values])),
    ("statistics", STATISTICS, lambda values: json.dumps(values, indent=2)),
    ("top", TOP, show_top),
    ("log", LINES, show_lines),
    ("flush", WAITING, lambda values: what_waits(values) if values.get("files") else None),
    ("farewell", {"failures": ["f"], "failed": 3, "kept": "x"}, print_failures),
]

HOSTILE = [
    None,
    True,
    -1,
    "",
    "x" * 100_000,
    "\x1b[2J\n",
    1e999,
    float("nan"),
    -1e300,
    10**400,
    1e15,
    [],
    {},
    [[]],
    {"": {}},
    {"k" * 99: 1},
    dict.fromkeys(map(str, range(999)), 1),
    [1] * (BUCKETS + 1),
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) in a tree of objects and lists."""
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]
    return []


@pytest.mark.parametrize(("request_name", "sample", "show"), SHOWN)
def test_a_good_answer_is_taken(request_name: str, sample: Values, show: Callable[[Values], object]) -> None:
    answer_shapes.check(request_name, sample)
    show(sample)


@pytest.mark.parametrize(("request_name", "sample", "show"), SHOWN)
@given(data=st.data())
def test_a_spoiled_answer_is_refused_or_can_be_shown(
    request_name: str, sample: Values, show: Callable[[Values], object], data: st.DataObject
) -> None:
    values = copy.deepcopy(sample)
    holder, key = data.draw(st.sampled_from(range(len(places(values)))).map(lambda at: places(values)[at]))
    hostile = data.draw(st.sampled_from([*range(len(HOSTILE)), "gone"]))
    if hostile == "gone":
        del holder[key]
    else:
        holder[key] = HOSTILE[int(hostile)]
    try:
        answer_shapes.check(request_name, values)
    except ControlError:
        return
    show(values)


def test_what_is_not_described_must_be_writable_again_too() -> None:
    deep: Any = 1
    for _ in range(answer_shapes.DEEPEST + 1):
        deep = [deep]
    for more in (deep, float("inf"), float("nan"), 10**400):
        with pytest.raises(ControlError):
            answer_shapes.check("statistics", {**STATISTICS, "more": more})
    answer_shapes.check("statistics", {**STATISTICS, "more": {"of": [1, 2.5, "text", None]}})


def test_a_mount_made_before_an_upgrade_may_not_tell_all() -> None:
    older = {name: value for name, value in STATUS.items() if name != "lost"}
    answer_shapes.check("status", older)
    with pytest.raises(ControlError, match="pool is missing"):
        answer_shapes.check("status", {name: value for name, value in STATUS.items() if name != "pool"})


def test_each_request_has_a_shape() -> None:
    """What a command of ours asks for is in the table: nothing goes past it."""
    from sftpfs.control.requests import Requests

    requests = Requests(None)  # type: ignore[arg-type]
    assert {*requests.handlers(), *requests.streams()} == set(answer_shapes.SHAPES)
    with pytest.raises(ControlError):
        protocol.parse_reply(b'{"failed": "' + b"x" * protocol.LONGEST_TEXT + b'x"}')
