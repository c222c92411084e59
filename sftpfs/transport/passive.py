"""``passive``: the SFTP session is on our own stdin and stdout, whoever connected them."""

from __future__ import annotations

import os
import select

import trio

from sftpfs.aio import ByteStream
from sftpfs.config import TransportConfig
from sftpfs.errors import Failure, MountError
from sftpfs.transport.api import Transport
from sftpfs.transport.sockets import SocketTransport, keepalive_time


class PassiveConnector:
    """Hands out stdin and stdout, once."""

    logging_in = False

    def __init__(self, config: TransportConfig) -> None:
        self._config = config
        self._used = False

    @property
    def single(self) -> bool:
        """There is one stdin."""
        return True

    async def connect(self, *, interactive: bool, beside: Transport | None = None) -> SocketTransport:
        """The session on stdin and stdout. Raises MountError(TRANSPORT) the second
        time, and where no server can be there.
        """
        await trio.lowlevel.checkpoint()
        if self._used:
            raise MountError(
                Failure.TRANSPORT, "passive: the session on stdin and stdout cannot be made again"
            )
        self._used = True
        for fd, name in ((0, "input"), (1, "output")):
            if not _can_be_waited_for(fd):
                message = (
                    f"passive: standard {name} leads to no server; another program has to connect it to one"
                )
                raise MountError(Failure.TRANSPORT, message)
        return SocketTransport(ByteStream(os.dup(0), os.dup(1)), keepalive_time(self._config))

    async def aclose(self) -> None:
        """Nothing is shared between connections."""
        await trio.lowlevel.checkpoint()


def _can_be_waited_for(fd: int) -> bool:
    """False for a plain file and /dev/null: the kernel has nothing to tell of them (epoll_ctl(2), EPERM)."""
    with select.epoll() as watch:
        try:
            watch.register(fd)
        except PermissionError:
            return False
    return True
