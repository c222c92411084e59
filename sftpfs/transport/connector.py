"""Which connector a configuration asks for."""

from __future__ import annotations

import trio

from sftpfs.config import Endpoint, TransportConfig, TransportKind
from sftpfs.transport.api import Connector, Prompter
from sftpfs.transport.client import AsyncsshConnector
from sftpfs.transport.command import CommandConnector
from sftpfs.transport.passive import PassiveConnector
from sftpfs.transport.sockets import SocketConnector


def make_connector(
    config: TransportConfig, endpoint: Endpoint, prompter: Prompter, nursery: trio.Nursery
) -> Connector:
    """The connector for ``config.kind``; its tasks run in ``nursery``. Nothing is started yet."""
    if config.kind is TransportKind.ASYNCSSH:
        return AsyncsshConnector(config, endpoint, prompter, nursery)
    if config.kind is TransportKind.COMMAND:
        return CommandConnector(config, endpoint, prompter, nursery)
    if config.kind is TransportKind.PASSIVE:
        return PassiveConnector(config)
    return SocketConnector(config, endpoint)
