"""Takes a channel's bytes off its connection with few copies: decryption, one delivery a read of the socket.

The worker installs it on each connection that is logged in; ``channel_fast_path`` is the way out. asyncssh
slices what is left of a read once for each packet, builds a cipher for each, and delivers them one by one.
Here the packets of a read are decrypted where they lie, and those in a row for one channel are delivered
together. What is taken is the same: SSH_MSG_CHANNEL_DATA (RFC 4254 §5.2) in the binary packet protocol
(RFC 4253 §6) under AES-GCM (RFC 5647, with OpenSSH's names of the ciphers).

This reaches into asyncssh's connection and channel, which have no public seam there. Whatever is not exactly
the plain case is left to asyncssh before any state was touched, and asyncssh says what is wrong with it:
another cipher, compression, a key exchange, another kind of packet, a channel that is paused or closing, a
packet that is not authentic.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable

import asyncssh
from asyncssh.channel import SSHChannel
from asyncssh.connection import SSHConnection
from asyncssh.constants import MSG_CHANNEL_DATA
from asyncssh.encryption import GCMEncryption
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_LENGTH = struct.Struct(">I")
_PREFIX = struct.Struct(">BBII")
"""Padding length, message number, recipient channel, length of the data."""
_BLOCK = 16
"""Bytes of the cipher's block: what is encrypted of a packet is never less."""
_TAG = 16
"""Bytes of the authentication tag behind each packet."""
_MIN_PADDING = 4
_LONGEST = 256 * 1024
"""Bytes of a packet that is waited for here, OpenSSH's own limit. A longer one is asyncssh's as soon as its
length is known."""
_SEQUENCE_MASK = 0xFFFFFFFF
_COUNTER_MASK = 0xFFFFFFFFFFFFFFFF
KEEPALIVE_STEP = 0.5
"""Seconds: the keepalive's timer is started again once within this time at most; it may be so much early."""


class _Stop(enum.Enum):
    """Why no further packet was taken."""

    END = "what follows has not come, or only in part"
    CHANNEL = "the next is for another channel"
    SLOW = "the next is asyncssh's to handle"


class ConnectionFastPath:
    """Where one connection's bytes arrive, from now on.

    INVARIANT: after each call the connection's sequence number, IV and unparsed bytes and the channel's
    window are what asyncssh's own ``_recv_data`` could have left: a packet is taken whole or not at all.
    """

    __slots__ = ("_aead", "_cipher", "_connection", "_receive_slowly", "_timer_due")

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection = connection
        self._cipher: object = None
        self._aead = AESGCM(bytes(16))
        self._timer_due = 0.0
        self._receive_slowly: Callable[[], None] = connection._recv_data
        connection._recv_data = self._receive  # type: ignore[method-assign]

    def _receive(self) -> None:
        """Handle what came, as far as it goes."""
        while self._is_plain():
            stop = self._take()
            if stop is _Stop.END:
                self._postpone_keepalive()
                return
            if stop is _Stop.SLOW:
                self._hand_over()
                if self._connection._transport is None:
                    return  # what came after a packet that ended the connection is not looked at
        self._receive_slowly()
        self._give_back_header()

    def _hand_over(self) -> None:
        """Let asyncssh have the next packet, and that alone."""
        connection = self._connection
        data = connection._inpbuf
        (length,) = _LENGTH.unpack_from(data)
        end = _LENGTH.size + max(length, _BLOCK) + _TAG
        connection._inpbuf = data[:end]
        self._receive_slowly()
        connection._inpbuf += data[end:]

    def _give_back_header(self) -> None:
        """Where asyncssh waits for the rest of a packet: as if it had not looked at its length."""
        connection = self._connection
        if (
            getattr(connection._recv_handler, "__func__", None) is SSHConnection._recv_packet
            and type(connection._recv_encryption) is GCMEncryption
        ):
            connection._inpbuf = connection._packet + connection._inpbuf
            connection._packet = b""
            connection._recv_handler = connection._recv_pkthdr

    def _is_plain(self) -> bool:
        """Whether a packet begins, and nothing but encryption stands between it and its channel."""
        connection = self._connection
        return (
            type(connection._recv_encryption) is GCMEncryption
            and connection._decompressor is None
            and connection._kex is None
            and connection._auth_complete
            and connection._transport is not None
            and getattr(connection._recv_handler, "__func__", None) is SSHConnection._recv_pkthdr
        )

    def _postpone_keepalive(self) -> None:
        now = self._connection._loop.time()
        if now >= self._timer_due:
            self._timer_due = now + KEEPALIVE_STEP
            self._connection._reset_keepalive_timer()

    def _take(self) -> _Stop:
        """Take the packets in a row that are data of one channel, and deliver what they carry at once."""
        connection = self._connection
        encryption = connection._recv_encryption
        assert isinstance(encryption, GCMEncryption)
        cipher = encryption._cipher
        if cipher is not self._cipher:
            self._cipher = cipher
            self._aead = AESGCM(cipher._key)
        channels = connection._channels
        fixed = cipher._iv[:4]
        invocation = int.from_bytes(cipher._iv[4:], "big")
        data = connection._inpbuf
        view = memoryview(data)
        target, window = None, 0
        parts: list[memoryview] = []
        start = 0
        while True:
            nonce = fixed + invocation.to_bytes(8, "big")
            found = self._open(data, view, start, nonce)
            if isinstance(found, _Stop):
                stop = found
                break
            number, payload, end = found
            channel = channels.get(number)
            if target is None and channel is not None and _takes_data(channel):
                target, window = channel, channel._recv_window
            if channel is None or channel is not target or len(payload) > window:
                stop = _Stop.CHANNEL if target is not None and channel is not target else _Stop.SLOW
                break
            window -= len(payload)
            parts.append(payload)
            invocation = (invocation + 1) & _COUNTER_MASK
            start = end
        if target is not None:
            cipher._iv = fixed + invocation.to_bytes(8, "big")
            connection._recv_seq = (connection._recv_seq + len(parts)) & _SEQUENCE_MASK
            connection._inpbuf = data[start:]
            target._recv_window = window
            self._deliver(target, parts)
        return stop

    def _open(
        self, data: bytes, view: memoryview, start: int, nonce: bytes
    ) -> tuple[int, memoryview, int] | _Stop:
        """The packet at ``start``, decrypted, if it is channel data: the channel's number, what it carries,
        and where the next packet begins."""
        if len(data) - start < _LENGTH.size:
            return _Stop.END
        (length,) = _LENGTH.unpack_from(data, start)
        body = start + _LENGTH.size
        end = body + length + _TAG
        if not _BLOCK <= length <= _LONGEST:
            return _Stop.SLOW
        if end > len(data):
            return _Stop.END
        try:
            plain = self._aead.decrypt(nonce, view[body:end], view[start:body])
        except InvalidTag:
            return _Stop.SLOW
        padding, kind, number, carried = _PREFIX.unpack_from(plain)
        if (
            kind != MSG_CHANNEL_DATA
            or padding < _MIN_PADDING
            or not carried
            or _PREFIX.size + carried + padding != length
        ):
            return _Stop.SLOW
        return number, memoryview(plain)[_PREFIX.size : _PREFIX.size + carried], end

    def _deliver(self, channel: SSHChannel[bytes], parts: list[memoryview]) -> None:
        try:
            channel._deliver_data(b"".join(parts), None)
        except Exception:
            self._connection.internal_error()  # as asyncssh does with what a session raises


def _takes_data(channel: SSHChannel[bytes]) -> bool:
    """Whether data for ``channel`` is handed to its session at once, as it is."""
    return (
        channel._recv_state == "open"
        and not channel._recv_paused
        and channel._send_state not in ("close_pending", "closed")
        and not channel._encoding
    )
