"""What travels over a mount's control socket: JSON objects, one a line. Sans-IO.

A connection carries one request. The client sends ``{"do": NAME, "with": {...}}``. The mount answers with any
number of ``{"progress": {...}}`` and ends with ``{"done": {...}}`` or ``{"failed": TEXT, "errno": NUMBER}``.
A client that closes its end withdraws the request. File names that are no UTF-8 travel as ``os.fsdecode``
makes them (PEP 383), in JSON escapes.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

MAX_REQUEST = 64 << 10
"""Bytes of a request's line: some paths of PATH_MAX (4 KiB), escaped sixfold."""

MAX_REPLY = 4 << 20
"""Bytes of a reply's line a client accepts: far more than the statistics of a mount."""

LONGEST_TEXT = 64 << 10
"""Characters of a text to be shown: a line about some paths of PATH_MAX."""

Values = dict[str, Any]


class ControlError(Exception):
    """The other side violates the protocol. The text says how, for a person."""


class Request(NamedTuple):
    """What a client wants."""

    name: str
    arguments: Values


class Reply(NamedTuple):
    """One line of the answer; ``kind`` is progress, done or failed."""

    kind: str
    values: Values


class Lines:
    """Cuts a byte stream into lines of at most ``limit`` bytes.

    INVARIANT: what is held back contains no newline and at most ``limit`` bytes.
    """

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int) -> None:
        self._held = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now. Raises ControlError for one that is too long."""
        self._held += data
        *complete, rest = self._held.split(b"\n")
        self._held = rest
        if any(len(line) > self._limit for line in (*complete, rest)):
            raise ControlError(f"a line of more than {self._limit} bytes")
        return [bytes(line) for line in complete]


def encode(values: Values) -> bytes:
    """One line. Not for values from a stranger: raises TypeError for what JSON does not have."""
    return json.dumps(values, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> Values:
    """The object in ``line``. Raises ControlError."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise ControlError("a line that is no JSON") from None
    if not isinstance(values, dict):
        raise ControlError("a line that is no JSON object")
    return values


def request_line(name: str, arguments: Values) -> bytes:
    """The line of a request."""
    return encode({"do": name, "with": arguments})


def parse_request(line: bytes) -> Request:
    """Raises ControlError."""
    values = decode(line)
    name, arguments = values.get("do"), values.get("with", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ControlError("a request that is not of the form do and with")
    return Request(name, arguments)


def progress_line(values: Values) -> bytes:
    """A line that tells how far it is."""
    return encode({"progress": values})


def done_line(values: Values) -> bytes:
    """The last line of a request that succeeded."""
    return encode({"done": values})


def failed_line(text: str, number: int = 0) -> bytes:
    """The last line of a request that failed. ``number`` is an errno or 0."""
    return encode({"failed": text, "errno": number})


def parse_reply(line: bytes) -> Reply:
    """Raises ControlError."""
    values = decode(line)
    for kind in ("progress", "done"):
        if isinstance(values.get(kind), dict):
            return Reply(kind, values[kind])
    text, number = values.get("failed"), values.get("errno", 0)
    if isinstance(text, str) and len(text) <= LONGEST_TEXT and isinstance(number, int):
        return Reply("failed", {"text": text, "errno": number})
    raise ControlError("a reply that is not of the form progress, done or failed")
