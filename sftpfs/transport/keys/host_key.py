"""The host key that a server shows, taken apart: a plain key, or a key in a certificate.

Owns what can be decided about a certificate without known_hosts: its signature, kind and time.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncssh
from asyncssh.public_key import (
    CERT_TYPE_HOST,
    SSHOpenSSHCertificate,
    decode_ssh_certificate,
    decode_ssh_public_key,
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What vouches for a key."""

    authority: bytes
    algorithm: str
    """What the authority signed with."""
    principals: tuple[str, ...]
    """The names it is for; none is any."""
    fault: str
    """Why it vouches for nothing; "" if it does vouch."""


@dataclass(frozen=True, slots=True)
class ShownKey:
    """``kind`` is the type of what was shown, ``key`` the plain key as on the wire."""

    kind: str
    key: bytes
    certificate: Certificate | None = None


def taken_apart(data: bytes) -> tuple[asyncssh.SSHKey, ShownKey]:
    """The key that has to sign, and what was shown. Raises ValueError if it cannot be read."""
    kind = _string(data, 0).decode("ascii", "replace")
    try:
        certificate = decode_ssh_certificate(data)
    except asyncssh.KeyImportError:
        key = decode_ssh_public_key(data)
        return key, ShownKey(kind, bytes(key.public_data))
    if not isinstance(certificate, SSHOpenSSHCertificate):
        raise ValueError("certificates of X.509 are not supported")
    key = certificate.key
    return key, ShownKey(kind, bytes(key.public_data), _certificate(certificate, data))


def _certificate(certificate: SSHOpenSSHCertificate, data: bytes) -> Certificate:
    authority = bytes(certificate.signing_key.public_data)
    try:
        certificate.validate(CERT_TYPE_HOST, None)
        fault = ""
    except ValueError as error:
        fault = str(error)
    # a certificate ends with the authority's key and its signature (PROTOCOL.certkeys)
    signature = data.rpartition(len(authority).to_bytes(4, "big") + authority)[2]
    algorithm = _string(_string(signature, 0), 0).decode("ascii", "replace")
    return Certificate(authority, algorithm, tuple(certificate.principals), fault)


def _string(data: bytes, start: int) -> bytes:
    length = int.from_bytes(data[start : start + 4], "big")
    return data[start + 4 : start + 4 + length]
