"""Which connector a configuration asks for."""

from __future__ import annotations

import trio

from sftpfs.config import Endpoint, TransportConfig, TransportKind
from sftpfs.transport.api import Connector, Prompter
from sftpfs.transport.fork_launch import Launched
from sftpfs.transport.program import CommandConnector
from sftpfs.transport.sockets import PassiveConnector, SocketConnector
from sftpfs.transport.worker_transport import AsyncsshConnector


def make_connector(
    config: TransportConfig,
    endpoint: Endpoint,
    prompter: Prompter,
    nursery: trio.Nursery,
    launched: Launched | None = None,
) -> Connector:
    """The connector for ``config.kind``; its tasks run in ``nursery``. It starts nothing yet.

    ``launched`` is the first fork server of a connector that needs one; None lets it start its own.
    """
    if config.kind is TransportKind.ASYNCSSH:
        return AsyncsshConnector(config, endpoint, prompter, nursery, launched)
    if config.kind is TransportKind.COMMAND:
        return CommandConnector(config, endpoint, prompter, nursery)
    if config.kind is TransportKind.PASSIVE:
        return PassiveConnector(config)
    return SocketConnector(config, endpoint)
