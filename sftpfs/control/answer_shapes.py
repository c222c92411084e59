"""The form of the answers to each request. Every answer is checked against it before anybody uses it.

An answer comes from another user's process if root asks, or from another version of sftpfs after an upgrade.
This is the one place that says what a command may rely on. An answer may hold more than is described here,
and nobody relies on that. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sftpfs.control.protocol import LONGEST_TEXT, ControlError, Values
from sftpfs.control.tree_records import OUTCOMES
from sftpfs.histogram import BUCKETS

MOST_KINDS = 256
"""Kinds of requests and operations: SFTP and FUSE have some dozens."""

LONGEST_NAME = 64
"""Characters of a kind's name."""

LATEST = 1e11
"""Seconds since 1970 that can be shown as a date (the year 5138). No counter of seconds is larger."""

LARGEST = (1 << 63) - 1

DEEPEST = 16
"""How deep objects may be nested."""

Shape = Any
"""A test; or a dict of shapes, where ``name?`` may be missing; a list of one shape, for any number of it; a
tuple of shapes, one for each place; or a ``Table``."""


class Table(NamedTuple):
    """An object whose names are not known: each of its values has the shape."""

    of: Shape


def text(value: object) -> bool:
    """A line, or part of one."""
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def flag(value: object) -> bool:
    """Yes or no."""
    return isinstance(value, bool)


def count(value: object) -> bool:
    """How many, how much."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def seconds(value: object) -> bool:
    """A time or a duration."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LATEST


def number(value: object) -> bool:
    """Any that can be shown."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def maybe(shape: Shape) -> Callable[[object], bool]:
    """Or null."""
    return lambda value: value is None or not _fault(value, shape, "it")


HISTOGRAM = {
    "counts": lambda value: _fits(value, [count]) and len(value) == BUCKETS + 1,
    "seconds": seconds,
}

CONNECTION = {
    "kind": text,
    "age": seconds,
    "minimum_latency": maybe(seconds),
    "unanswered": count,
}

COUNTERS = (
    "inodes",
    "listings",
    "chunk_hits",
    "chunk_misses",
    "chunk_evictions",
    "cached_bytes",
    "dirty_bytes",
    "dirty_files",
    *(
        f"{what}_{fate}{unit}"
        for what, unit in (
            ("read_ahead", "_bytes"),
            ("files_ahead", "_bytes"),
            ("listings_ahead", ""),
            ("renewed_ahead", ""),
        )
        for fate in ("issued", "used", "wasted")
    ),
)
"""Those of ``Filesystem.statistics`` that are shown; there are others."""

STATISTICS = {
    "version": text,
    "pid": count,
    "server": text,
    "mountpoint": text,
    "root?": text,
    "since": seconds,
    "pool": {
        "connections": [CONNECTION],
        "maximum": count,
        "reconnects": count,
        "lost_for": maybe(seconds),
        "traits?": Table(text),
        "bandwidth?": {"up": maybe(number), "down": maybe(number)},
        "total": {
            "requests": Table(count),
            "latencies": Table(HISTOGRAM),
            "bytes_received": count,
            "bytes_sent": count,
        },
    },
    "mount": dict.fromkeys(COUNTERS, number),
    "limits": {"cached_bytes": count},
    "lost?": {"pieces": count, "files": count, "bytes": count, "directory": text},
    "problem": maybe({"at": seconds, "text": text}),
    "log_level?": text,
    "misses?": Table(Table(count)),
}
"""``status_report.statistics``; one made before an upgrade tells nothing of what is lost and of its log."""

WAITING = {"bytes?": count, "files?": count, "lost_for?": maybe(seconds)}
"""How much is not on the server yet."""

FAILURES = {"failures?": [text], "failed?": count}

ENDED = {**WAITING, **FAILURES, "kept?": text, "ended?": flag, "lost?": [(text, count)], "lost_files?": count}

OPERATION = (seconds, text, text, text, text, seconds)
"""``types.Operation``: at, name, path, detail, outcome, how long."""


def _line(value: object) -> bool:
    """A line of the log, or an operation."""
    logged, traced = (seconds, _is("log"), text, text), (seconds, _is("operation"), *OPERATION[1:])
    return _fits(value, logged) or _fits(value, traced)


def _is(word: str) -> Callable[[object], bool]:
    return lambda value: value == word


LINES = {"lines?": [_line], "dropped?": count}

SHAPES: dict[str, Shape] = {
    "status": {**STATISTICS, "ping": maybe(seconds), "no_ping": text},
    "statistics": STATISTICS,
    "recent": LINES,
    "log_level": {},
    "bandwidth": {},
    "flush": {**WAITING, **FAILURES},
    "refresh": {"done?": count, "of?": count, "inodes?": count, "changed?": count, "problems?": [text]},
    "copy": {"bytes?": count, "size?": count},
    "remove": {
        "count": count,
        "failures": count,
        "failed?": [(count, text, count, text)],
        "went?": [(count, text, flag)],
        "stopped?": text,
    },
    "write_tree": {"made?": [(count, count, lambda value: value in OUTCOMES)]},
    "umount": ENDED,
    "farewell": ENDED,
    "log": LINES,
    "top": {
        **STATISTICS,
        "now": seconds,
        "operations": Table(HISTOGRAM),
        "slowest": [OPERATION],
        "running": [(text, text, text, seconds)],
    },
}
"""Request → what each line of its answer has, progress and result alike."""


def check(request: str, values: Values) -> None:
    """Raises ControlError if ``values`` are no answer to ``request``, or cannot be shown."""
    fault = _fault(values, SHAPES.get(request, {}), "it") or _unsound(values, 0)
    if fault:
        anew = "a mount of another version of sftpfs has to be made anew"
        raise ControlError(f"an answer to {request} that cannot be read ({fault}); {anew}")


def _fits(value: object, shape: Shape) -> bool:
    return not _fault(value, shape, "it")


def _fault(value: Any, shape: Shape, where: str) -> str:
    """Where ``value`` is not of ``shape``; nothing if it is."""
    if isinstance(shape, dict):
        return _fault_of_object(value, shape, where)
    if isinstance(shape, Table):
        if not isinstance(value, dict) or len(value) > MOST_KINDS:
            return where
        if any(len(name) > LONGEST_NAME for name in value):
            return where
        inner = [(each, shape.of) for each in value.values()]
    elif isinstance(shape, list):
        if not isinstance(value, list):
            return where
        inner = [(each, shape[0]) for each in value]
    elif isinstance(shape, tuple):
        if not isinstance(value, list) or len(value) != len(shape):
            return where
        inner = list(zip(value, shape, strict=True))
    else:
        return "" if shape(value) else where
    return next((fault for one, its in inner if (fault := _fault(one, its, where))), "")


def _fault_of_object(value: Any, shape: dict[str, Shape], where: str) -> str:
    if not isinstance(value, dict):
        return where
    for name, its in shape.items():
        plain = name.removesuffix("?")
        path = f"{where}.{plain}".removeprefix("it.")
        if plain in value:
            if fault := _fault(value[plain], its, path):
                return fault
        elif plain == name:
            return f"{path} is missing"
    return ""


def _unsound(value: Any, depth: int) -> str:
    """What in ``value``, described or not, could not be written out again."""
    if isinstance(value, dict | list):
        if depth == DEEPEST:
            return "too deep"
        inner = value.values() if isinstance(value, dict) else value
        return next((fault for each in inner if (fault := _unsound(each, depth + 1))), "")
    if isinstance(value, int | float) and not abs(value) <= 2 * LARGEST:  # nor what is no number
        return "a number beyond all bounds"
    return ""
