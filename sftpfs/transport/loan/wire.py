"""Packets of one channel under AES-GCM: from content to what is sent, and from what came to its payload.

Pure: no socket, no time; the one thing from outside is random padding. RFC 4253 §6 has the packet, RFC 5647
the cipher, with OpenSSH's names. A ``Sealer`` and an ``Opener`` own the IV and the sequence number of a
direction."""

from __future__ import annotations

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CHANNEL_WINDOW_ADJUST = 93
CHANNEL_DATA = 94
DATA_HEADER = struct.Struct(">BBII")
"""Padding length, message number, the recipient's channel, length of the data."""
LENGTH = struct.Struct(">I")
BLOCK = 16
"""Bytes of the cipher's block: what is encrypted of a packet is a multiple, never less."""
TAG = 16
"""Bytes of the authentication tag behind each packet."""
MIN_PADDING = 4
OVERHEAD = LENGTH.size + DATA_HEADER.size + BLOCK + MIN_PADDING + TAG
"""Bytes by which a packet of data may be longer than what it carries."""
_POOL = 8192
"""Random bytes asked for at once: padding of some 500 requests, for one system call."""
_SEQUENCE_MASK = 0xFFFFFFFF
_COUNTER_MASK = 0xFFFFFFFFFFFFFFFF


class ForgedError(Exception):
    """A packet is not authentic; the ``Opener`` is as it was before it."""


class Sealer:
    """Makes packets.

    INVARIANT: no IV is used twice; ``sealed`` counts the bytes that asyncssh would count towards its next key
    exchange.
    """

    __slots__ = (
        "_encrypt",
        "_fixed",
        "_invocation",
        "_noise",
        "_noise_used",
        "packets",
        "sealed",
        "sequence",
    )

    def __init__(self, key: bytes, iv: bytes, sequence: int) -> None:
        self._encrypt = AESGCM(key).encrypt
        self._fixed, self._invocation = iv[:4], int.from_bytes(iv[4:], "big")
        self._noise = b""
        self._noise_used = 0
        self.sequence = sequence
        self.packets = 0
        self.sealed = 0

    @property
    def iv(self) -> bytes:
        """That of the next packet."""
        return self._fixed + self._invocation.to_bytes(8, "big")

    def seal(self, payload: bytes) -> bytes:
        """The packet that carries ``payload``, which begins with the message number."""
        padding = -(1 + len(payload)) % BLOCK
        if padding < MIN_PADDING:
            padding += BLOCK
        return self._sealed(b"".join((bytes((padding,)), payload, self._padding(padding))))

    def seal_data(self, channel: int, content: memoryview, most: int) -> list[bytes]:
        """The packets that carry ``content`` to ``channel``, with ``most`` bytes of it in each."""
        packets = []
        start, end = 0, len(content)
        while start < end:
            size = min(end - start, most)
            padding = -(DATA_HEADER.size + size) % BLOCK
            if padding < MIN_PADDING:
                padding += BLOCK
            header = DATA_HEADER.pack(padding, CHANNEL_DATA, channel, size)
            part = content[start : start + size]
            packets.append(self._sealed(b"".join((header, part, self._padding(padding)))))
            start += size
        return packets

    def _sealed(self, plain: bytes) -> bytes:
        length = LENGTH.pack(len(plain))
        nonce = self._fixed + self._invocation.to_bytes(8, "big")
        self._invocation = (self._invocation + 1) & _COUNTER_MASK
        self.sequence = (self.sequence + 1) & _SEQUENCE_MASK
        self.packets += 1
        self.sealed += len(plain)
        return length + self._encrypt(nonce, plain, length)

    def _padding(self, size: int) -> bytes:
        """``size`` random bytes that were not given before."""
        start = self._noise_used
        if start + size > len(self._noise):
            self._noise, start = os.urandom(_POOL), 0
        self._noise_used = start + size
        return self._noise[start : start + size]


class Opener:
    """Opens packets where they lie. A packet counts as received once ``accept`` was called for it."""

    __slots__ = ("_decrypt", "_fixed", "_invocation", "packets", "sequence")

    def __init__(self, key: bytes, iv: bytes, sequence: int) -> None:
        self._decrypt = AESGCM(key).decrypt
        self._fixed, self._invocation = iv[:4], int.from_bytes(iv[4:], "big")
        self.sequence = sequence
        self.packets = 0

    @property
    def iv(self) -> bytes:
        """That of the next packet."""
        return self._fixed + self._invocation.to_bytes(8, "big")

    def open(self, packet: memoryview) -> bytes:
        """What is encrypted of a whole packet: padding length, payload, padding. Raises ForgedError."""
        try:
            nonce = self._fixed + self._invocation.to_bytes(8, "big")
            return self._decrypt(nonce, packet[LENGTH.size :], packet[: LENGTH.size])
        except InvalidTag:
            raise ForgedError from None

    def accept(self) -> None:
        """The packet opened last is done with; the next one follows."""
        self._invocation = (self._invocation + 1) & _COUNTER_MASK
        self.sequence = (self.sequence + 1) & _SEQUENCE_MASK
        self.packets += 1
