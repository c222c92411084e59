"""Puts a channel's bytes on its connection with few copies: packets, encryption, one write.

Owned by a ``Pump``. asyncssh's own way from ``SSHChannel.write`` to the socket copies every byte about ten
times, in packets of the server's size (32 KiB with OpenSSH), which is more work than the encryption. Here a
packet is joined once, encrypted once, and all packets of one read leave in one gathering write. What is sent
is the same: SSH_MSG_CHANNEL_DATA (RFC 4254 §5.2) in the binary packet protocol (RFC 4253 §6) under AES-GCM
(RFC 5647, with OpenSSH's names of the ciphers).

This reaches into asyncssh's connection and channel, which have no public interface for it. Everything but the
plain case (another cipher, compression, a key exchange due or under way, bytes already queued, no window
left) is left to ``SSHChannel.write``, before any state was touched.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable

import asyncssh
from asyncssh.constants import MSG_CHANNEL_DATA
from asyncssh.encryption import GCMEncryption
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_LENGTH = struct.Struct(">I")
_PREFIX = struct.Struct(">BBII")
"""Padding length, message number, recipient channel, length of the data."""
_MIN_PADDING = 4
_POOL = 8192
"""Random bytes asked for at once: padding of some 500 requests, for one system call."""
_SEQUENCE_MASK = 0xFFFFFFFF
_COUNTER_MASK = 0xFFFFFFFFFFFFFFFF


class ChannelFastPath:
    """Where one channel's bytes leave.

    INVARIANT: after each call the connection's sequence number, IV, count towards the next
    key exchange and the channel's window are what ``SSHChannel.write`` would have left.
    """

    __slots__ = ("_aead", "_chan", "_cipher", "_connection", "_noise", "_noise_used")

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        chan: asyncssh.SSHClientChannel[bytes],
        window_changed: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._chan = chan
        self._cipher: object = None
        self._aead = AESGCM(bytes(16))
        self._noise = b""
        self._noise_used = 0
        flush = chan._flush_send_buf

        def window_opened() -> None:
            flush()
            window_changed()

        chan._flush_send_buf = window_opened  # type: ignore[method-assign]

    @property
    def window(self) -> int:
        """Bytes the server takes now; ``window_changed`` is called when it may be more."""
        return self._chan._send_window

    def write(self, data: memoryview) -> None:
        """Send ``data`` or queue it; it is not kept. Raises OSError where the channel is closed."""
        sent = self._send(data) if self._is_plain(len(data)) else 0
        if sent < len(data):
            self._chan.write(bytes(data[sent:]))

    def _is_plain(self, size: int) -> bool:
        """Whether nothing but encryption stands between ``size`` bytes and the socket."""
        chan, connection = self._chan, self._connection
        return (
            not chan._send_buf
            and chan._send_state == "open"
            and chan._send_chan is not None
            and type(connection._send_encryption) is GCMEncryption
            and connection._compressor is None
            and connection._kex_complete
            and connection._rekey_bytes_sent + size < connection._rekey_bytes
            and not (connection._rekey_seconds and time.monotonic() >= connection._rekey_time)
            and connection._transport is not None
            and chan._send_window > 0
        )

    def _send(self, data: memoryview) -> int:
        """Send what the window takes of ``data``; how many bytes that is."""
        chan, connection = self._chan, self._connection
        encryption = connection._send_encryption
        assert isinstance(encryption, GCMEncryption)
        assert chan._send_chan is not None
        assert connection._transport is not None
        cipher = encryption._cipher
        if cipher is not self._cipher:
            self._cipher = cipher
            self._aead = AESGCM(cipher._key)
        encrypt = self._aead.encrypt
        fixed = cipher._iv[:4]
        invocation = int.from_bytes(cipher._iv[4:], "big")
        block, overhead = connection._send_blocksize, connection._send_enchdrlen + _PREFIX.size - 1
        noise = self._padding(block + _MIN_PADDING)
        end = min(len(data), chan._send_window)
        packets: list[bytes] = []
        start = carried = 0
        while start < end:
            size = min(end - start, chan._send_pktsize)
            padding = -(overhead + size) % block
            if padding < _MIN_PADDING:
                padding += block
            prefix = _PREFIX.pack(padding, MSG_CHANNEL_DATA, chan._send_chan, size)
            plain = b"".join((prefix, data[start : start + size], noise[:padding]))
            header = _LENGTH.pack(len(plain))
            packets += (header, encrypt(fixed + invocation.to_bytes(8, "big"), plain, header))
            invocation = (invocation + 1) & _COUNTER_MASK
            carried += len(plain)
            start += size
        cipher._iv = fixed + invocation.to_bytes(8, "big")
        connection._send_seq = (connection._send_seq + len(packets) // 2) & _SEQUENCE_MASK
        connection._rekey_bytes_sent += carried
        chan._send_window -= end
        try:
            connection._transport.writelines(packets)
        except ConnectionError:
            pass
        return end

    def _padding(self, size: int) -> bytes:
        """``size`` random bytes that were not given before."""
        start = self._noise_used
        if start + size > len(self._noise):
            self._noise, start = os.urandom(_POOL), 0
        self._noise_used = start + size
        return self._noise[start : start + size]
