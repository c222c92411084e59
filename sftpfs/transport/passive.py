"""``passive``: the SFTP session is on our own stdin and stdout, whoever connected them."""

from __future__ import annotations

import os

import trio

from sftpfs.aio import ByteStream
from sftpfs.config import TransportConfig
from sftpfs.errors import Failure, MountError
from sftpfs.transport.sockets import SocketTransport, keepalive_time


class PassiveConnector:
    """Hands out stdin and stdout, once."""

    def __init__(self, config: TransportConfig) -> None:
        self._config = config
        self._used = False

    @property
    def single(self) -> bool:
        """There is one stdin."""
        return True

    async def connect(self, *, interactive: bool) -> SocketTransport:
        """The session on stdin and stdout. Raises MountError(TRANSPORT) the second time."""
        await trio.lowlevel.checkpoint()
        if self._used:
            raise MountError(
                Failure.TRANSPORT, "passive: the session on stdin and stdout cannot be made again"
            )
        self._used = True
        return SocketTransport(ByteStream(os.dup(0), os.dup(1)), keepalive_time(self._config))

    async def aclose(self) -> None:
        """Nothing is shared between connections."""
        await trio.lowlevel.checkpoint()
