"""What is lent with a connection, and what has become of it when it is returned. Pure; checked as it arrives.

Keys and IVs are in these objects and in the two messages they travel in, and nowhere else: they are never
logged and have no ``repr``.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sftpfs.transport.messages import Message

CIPHERS = {"aes128-gcm@openssh.com": 16, "aes256-gcm@openssh.com": 32}
"""The ciphers with which a connection is lent, and the bytes of their keys."""
IV_SIZE = 12
MOST_RECEIVED = 64 * 1024
"""Bytes of a packet begun that may travel with a loan: with the rest, a message is below
``MESSAGE_LIMIT``."""
LEAST_PACKET = 4096
"""Bytes that a packet to the server must be allowed to have. With less, a request is many packets."""
MOST_PACKETS = 1 << 28
"""Packets each way in one loan, far from where a sequence number would be used twice with one key (2^32)."""
_UINT32 = (1 << 32) - 1
_BYTES = 1 << 62


@dataclass(slots=True, repr=False)
class Loan:
    """A connection at the moment it is lent. Sizes are in bytes, channel numbers as RFC 4254 has them.

    ``send_*`` is towards the server. ``full_window`` is what the server is granted whenever half of it is
    used. ``rekey_after`` bytes may be sent before the worker must exchange keys. ``received`` came of a
    packet that is not complete."""

    send_key: bytes
    send_iv: bytes
    receive_key: bytes
    receive_iv: bytes
    send_sequence: int
    receive_sequence: int
    send_channel: int
    receive_channel: int
    send_window: int
    receive_window: int
    full_window: int
    send_packet: int
    receive_packet: int
    rekey_after: int
    received: bytes = b""

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be."""
        for key, iv in ((self.send_key, self.send_iv), (self.receive_key, self.receive_iv)):
            if len(key) not in CIPHERS.values() or len(iv) != IV_SIZE:
                raise ValueError("a loan with a key or IV of a wrong length")
        for name, least, most in _LENT:
            _check(name, getattr(self, name), least, most)
        if len(self.received) > MOST_RECEIVED:
            raise ValueError("a loan with too much that was received")

    def message(self) -> Message:
        """As it travels."""
        numbers = {name: getattr(self, name) for name, _, _ in _LENT}
        return numbers | {name: _text(getattr(self, name)) for name in _SECRET}

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Loan:
        """What travelled. Raises ValueError, KeyError or TypeError, none of which says a secret."""
        numbers: dict[str, Any] = {name: message[name] for name, _, _ in _LENT}
        numbers |= {name: _content(message[name]) for name in _SECRET}
        return cls(**numbers)


@dataclass(slots=True, repr=False)
class Return:
    """What a loan has changed. ``sent`` counts towards the next key exchange as asyncssh counts it.

    ``received`` bytes (not opened yet) and then ``unsent`` bytes (encrypted, not sent) follow on the data
    socket, before anything else. ``error`` is the errno with which the socket failed, or 0. ``stream``: a
    stream passes, which is better served by two processes."""

    send_iv: bytes
    receive_iv: bytes
    send_sequence: int
    receive_sequence: int
    send_window: int
    receive_window: int
    sent: int
    received: int
    unsent: int
    error: int
    stream: bool

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be."""
        if len(self.send_iv) != IV_SIZE or len(self.receive_iv) != IV_SIZE:
            raise ValueError("a return with an IV of a wrong length")
        for name, least, most in _RETURNED:
            _check(name, getattr(self, name), least, most)

    def message(self) -> Message:
        """As it travels."""
        numbers = {name: getattr(self, name) for name, _, _ in _RETURNED}
        numbers |= {"stream": self.stream}
        return numbers | {name: _text(getattr(self, name)) for name in ("send_iv", "receive_iv")}

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Return:
        """What travelled. Raises ValueError, KeyError or TypeError."""
        numbers = {name: message[name] for name, _, _ in _RETURNED}
        return cls(
            **numbers,
            stream=message["stream"] is True,
            send_iv=_content(message["send_iv"]),
            receive_iv=_content(message["receive_iv"]),
        )


_SECRET = ("send_key", "send_iv", "receive_key", "receive_iv", "received")
_STREAM = (
    ("send_sequence", 0, _UINT32),
    ("receive_sequence", 0, _UINT32),
    ("send_window", 0, _BYTES),
    ("receive_window", 0, _UINT32),
)
_LENT = (
    *_STREAM,
    ("send_channel", 0, _UINT32),
    ("receive_channel", 0, _UINT32),
    ("full_window", 1, _UINT32),
    ("send_packet", LEAST_PACKET, _UINT32),
    ("receive_packet", 1, _UINT32),
    ("rekey_after", 1, _BYTES),
)
_RETURNED = (
    *_STREAM,
    ("sent", 0, _BYTES),
    ("received", 0, 1 << 20),
    ("unsent", 0, 1 << 20),
    ("error", 0, 4095),
)
"""Field → its least and its largest value."""


def _check(name: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"a loan whose {name} cannot be")


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _content(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError("a loan without its bytes")
    return base64.b64decode(text, validate=True)
