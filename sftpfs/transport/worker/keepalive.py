"""Whether the server at the other end of an SSH connection is alive.

asyncssh sends keepalive@openssh.com once nothing came for ``ServerAliveInterval``, and gives the connection
up after ``ServerAliveCountMax`` of those without a reply. tinysshd answers with UNIMPLEMENTED, which asyncssh
does not count as a reply; others do not answer. So here any packet counts as life, as in OpenSSH's client. If
a server has never replied to a keepalive, ``doubt`` is called before the connection is given up: an answer
over SFTP counts. For a server that replies, as OpenSSH's does, nothing changes.

This reaches into asyncssh's connection, which has no public interface for it.
"""

from __future__ import annotations

from collections.abc import Callable

import asyncssh
from asyncssh.constants import MSG_REQUEST_FAILURE, MSG_UNIMPLEMENTED
from asyncssh.packet import SSHPacket


class Keepalive:
    """Replaces how ``connection``, which is logged in, treats the silence of its server."""

    def __init__(self, connection: asyncssh.SSHClientConnection, doubt: Callable[[], None]) -> None:
        self._connection = connection
        self._doubt = doubt
        self._heard = connection._recv_seq
        self._replies = False
        """The server was seen to reply to a keepalive."""
        self._asked = -1
        """The number of the packet that asked last."""
        self._make_request = connection._make_keepalive_request
        self._silent = connection._keepalive_timer_callback
        connection._make_keepalive_request = self._request  # type: ignore[method-assign]
        connection._keepalive_timer_callback = self._on_silence  # type: ignore[method-assign]
        connection._packet_handlers = {
            **connection._packet_handlers,
            MSG_UNIMPLEMENTED: self._unimplemented,
        }
        connection._reset_keepalive_timer()

    def _on_silence(self) -> None:
        """Nothing came for an interval."""
        connection = self._connection
        if connection._recv_seq != self._heard:
            self._heard = connection._recv_seq
            connection._keepalive_count = 0
        if not self._replies and connection._keepalive_count + 1 == connection._keepalive_count_max:
            self._doubt()
        self._silent()

    async def _request(self) -> None:
        """Asks, unless so many requests wait for a reply already that there will be none: each would wait for
        ever."""
        connection = self._connection
        if len(connection._global_request_waiters) < connection._keepalive_count_max:
            self._asked = connection._send_seq
            await self._make_request()
            self._replies = True

    def _unimplemented(
        self, connection: asyncssh.SSHClientConnection, kind: int, number: int, packet: SSHPacket
    ) -> None:
        """A server that does not know what a keepalive is has replied to it (RFC 4253 §11.4)."""
        rejected = packet.get_uint32()
        packet.check_end()
        asked = (self._asked, self._asked + 1)  # asyncssh may have put an SSH_MSG_IGNORE before it
        if rejected in asked and connection._global_request_waiters:
            connection._process_global_response(MSG_REQUEST_FAILURE, number, SSHPacket(b""))
