"""A session that logs each request and each reply (``-d``); never made without that, for what it costs."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, TypeVar

from sftpfs import clock
from sftpfs.aio import Slot
from sftpfs.sftp import packets
from sftpfs.sftp.link_rate import LinkDirection
from sftpfs.sftp.session import Session
from sftpfs.sftp.table.reply_value import value_of
from sftpfs.sftp.table.request import Kind, Request, SessionStatistics
from sftpfs.types import Buffer

T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_STRING = 9
"""Where in a packet it begins: after length, type and request id. Every request has one: a path, a
handle, or an extension's name."""

MOST_SHOWN = 200
"""Bytes of a path or name that are logged."""


class TracedSession(Session):
    """Lines are ``GENERATION.REQUEST → what is asked`` and ``GENERATION.REQUEST ← what came, and when``.

    Contents are not logged, only how long they are.
    """

    _numbers: dict[int, int]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._numbers = {}
        """By the identity of a request under way, its number."""
        self._value_of = self._traced_value_of

    def _start(
        self,
        kind: Kind[T],
        identifier: int,
        packet: bytes,
        detail: Any = None,
        data: Buffer | None = None,
        direction: LinkDirection | None = None,
        beside: Collection[int] = (),
    ) -> Slot[T]:
        request = super()._start(kind, identifier, packet, detail, data, direction, beside)
        self._numbers[id(request)] = identifier
        length = "" if data is None else f", {len(data)} bytes"
        log.debug("%d.%d → %s %s%s", self.generation, identifier, kind.name, _strings(packet), length)
        return request

    def _traced_value_of(
        self,
        request: Request[Any],
        packet_type: int,
        payload: memoryview,
        statistics: SessionStatistics,
    ) -> Any:
        number = self._numbers.pop(id(request), 0)
        name, took = request.kind.name, (clock.awake() - request.sent) * 1000
        try:
            value = value_of(request, packet_type, payload, statistics)
        except Exception as failure:
            log.debug("%d.%d ← %s: %s, %.1f ms", self.generation, number, name, failure, took)
            raise
        came = f"{len(payload)} bytes"
        if packet_type == packets.STATUS:
            came = "the end" if request.kind.ends else "ok"
        log.debug("%d.%d ← %s: %s, %.1f ms", self.generation, number, name, came, took)
        return value


def _strings(packet: bytes) -> str:
    """The first string of a request, and the second where all that follows is one."""
    found: list[str] = []
    rest = packet[FIRST_STRING:]
    while len(rest) >= 4 and len(found) < 2:
        end = 4 + int.from_bytes(rest[:4], "big")
        if end > len(rest) or (found and end != len(rest)):
            break
        found.append(repr(rest[4:end][:MOST_SHOWN])[1:])
        rest = rest[end:]
    return " ".join(found)
