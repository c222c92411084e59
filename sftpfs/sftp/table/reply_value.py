"""What a reply means for the request it answers: its value, or the error.

Used by ``sftp.table.request_table`` only.
"""

from __future__ import annotations

import errno
import logging
import os
from typing import Any

from sftpfs.errors import ProtocolError, Status, StatusError, error
from sftpfs.sftp import packets
from sftpfs.sftp.replies import decode_data, decode_listing, decode_status
from sftpfs.sftp.table.request import Request, SessionStatistics
from sftpfs.types import DirectoryEntry

logger = logging.getLogger(__name__)

_OF_OPEN_FILES = frozenset({packets.READ, packets.WRITE, packets.FSTAT, packets.FSETSTAT})
"""What is asked of an open file: that there is no such file means that its handle is of no more use."""


def value_of(
    request: Request[Any], packet_type: int, payload: memoryview, statistics: SessionStatistics
) -> Any:
    """The result in a reply. Raises OSError if the request failed, ProtocolError if the reply is
    none that may be."""
    kind = request.kind
    if packet_type == kind.expected:
        if kind.decode is not None:
            return kind.decode(payload)
        if packet_type == packets.DATA:
            return decode_data(payload, request.detail)
        if packet_type == packets.NAME:
            return _listing(payload, statistics)
    if packet_type != packets.STATUS:
        raise ProtocolError(f"a packet of type {packet_type} in answer to {kind.name}")
    code, message = decode_status(payload)
    if code == Status.OK:
        if kind.expected != packets.STATUS:
            raise error(errno.EIO, f"the server answered {kind.name} with the status OK and no result")
        return None
    if code == Status.EOF and kind.ends:
        return None
    failure = StatusError(code, message)
    if code == Status.NO_SUCH_FILE and kind.type in _OF_OPEN_FILES:
        failure.errno, failure.strerror = errno.ESTALE, os.strerror(errno.ESTALE)
    raise failure


def _listing(payload: memoryview, statistics: SessionStatistics) -> list[DirectoryEntry] | None:
    entries, dropped = decode_listing(payload)
    if dropped:
        if not statistics.hostile_names:
            logger.warning("the server listed names that no file can have; they are not shown")
        statistics.hostile_names += dropped
    return entries
