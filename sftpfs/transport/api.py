"""What remote may see of transports: something that connects and yields byte streams.

A transport is one connection to the server, held by a process of its own (or a
plain socket). It carries raw SFTP packets and knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

import trio

from sftpfs.aio import ByteStream
from sftpfs.errors import Failure
from sftpfs.transport.messages import HostKey


class PromptKind(Enum):
    """What a person is asked for. Answers of the first two kinds may be used again."""

    PASSWORD = auto()
    PASSPHRASE = auto()
    ONE_TIME = auto()
    """A keyboard-interactive question: a code may not be valid twice."""
    CONFIRM = auto()
    """yes or no (an unknown host key)."""


class Prompter(Protocol):
    """Asks a person. The mount gives one that has the terminal, or one that refuses."""

    @property
    def available(self) -> bool:
        """False if nobody can be asked (no terminal, or the daemon left it)."""

    async def ask(self, kind: PromptKind, text: str, echo: bool) -> str | None:
        """The answer to ``text``, or None if nobody can be asked or they gave up."""


class Transport(Protocol):
    """One connection to the server.

    - ``closed`` is set when it is gone, whoever ended it. ``reason`` then says why in one line, and
      ``failure`` what kind of failure it was, if that is known.
    - ``may_be_asking``: the program underneath may still be asking a person to log in when the stream is
      handed out, so SFTP begins whenever they have answered.
    - ``silence``: seconds without an answer after which the connection counts as dead; infinite if the layer
      underneath itself checks whether the other side lives. ``doubted`` is called if that check never got an
      answer: something should be asked over SFTP before the connection is given up.
    - ``address``: where it leads; two that are equal lead to one server. None if that is not known: behind a
      proxy or a jump host.
    - ``server``: the SSH server's name for itself, such as ``OpenSSH_9.2p1``; empty if that is not known.
    - ``about`` says for a person who we are there and what the server is, as far as is known.
    - ``host_key``: how its key was judged; None if that is not our business (ssh, a socket).
    """

    closed: trio.Event
    reason: str
    failure: Failure | None
    address: object
    server: str
    about: str
    host_key: HostKey | None
    may_be_asking: bool
    silence: float
    doubted: Callable[[], None] | None

    async def open_channel(self) -> ByteStream:
        """A further SFTP byte stream over this connection.

        Raises MountError(NO_SFTP) if the server refuses the subsystem. Raises MountError(TRANSPORT) if this
        kind of transport has one stream only, or the server refuses more channels.
        """

    def close(self) -> None:
        """End the connection and its process; returns at once, idempotent."""


class Connector(Protocol):
    """Makes transports to the one server of the mount."""

    @property
    def single(self) -> bool:
        """True if there can be only one transport (passive)."""

    @property
    def logging_in(self) -> bool:
        """True while a server that has greeted us decides: it may be asking somebody on a telephone, and
        another login beside that one would ask once more."""

    async def connect(self, *, interactive: bool, beside: Transport | None = None) -> Transport:
        """Connects within ``connect_timeout``, and authenticates for as long as the server gives (not
        counting the time spent at prompts).

        ``beside``: a living connection, whose server the new one must reach. Behind one name there may be
        many servers, each with files of its own. If we know its address, no other is tried; if we do not, any
        may be reached. Without ``beside``, the address of the connection before is tried first, if the name
        has it. If not ``interactive``, nobody is asked; remembered passwords may be used. Raises MountError
        with the Failure and the words that a person needs.
        """

    async def aclose(self) -> None:
        """End what serves all connections (the fork server) and wait for it, at most 2 s."""
