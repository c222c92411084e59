"""Which algorithms one connection may use: OpenSSH's defaults, changed by the options.

Owns the default lists, and the reading of ``+``, ``-`` and ``^`` before a list (ssh_config(5)). The SSH
library has wider defaults, and would apply those prefixes to them. Nothing with SHA-1 is in our lists except
HMAC, where SHA-1 is still sound; ``+NAME`` brings back what an old server needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from sftpfs.errors import Failure, MountError
from sftpfs.transport.ssh_config.words import match_pattern
from sftpfs.transport.worker.hop_settings import FAST_CIPHERS, OTHER_CIPHERS, SLOW_CIPHERS, cpu_has_aes

CERTIFICATE = "-cert-v01@openssh.com"

KEX = (
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
)
"""OpenSSH 10's KexAlgorithms."""

SIGNATURES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""OpenSSH's CASignatureAlgorithms since 8.2; its other two lists are these, certificates of them first."""

MACS = (
    "umac-64-etm@openssh.com",
    "umac-128-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha1-etm@openssh.com",
    "umac-64@openssh.com",
    "umac-128@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha1",
)
"""OpenSSH's MACs."""


def certified(algorithm: str) -> str:
    """The name of ``algorithm`` for a key in a certificate (OpenSSH's PROTOCOL.certkeys)."""
    return algorithm.removesuffix("@openssh.com") + CERTIFICATE


def plain(algorithm: str) -> str:
    """The signature algorithm that ``algorithm`` names, with a certificate or without."""
    if not algorithm.endswith(CERTIFICATE):
        return algorithm
    name = algorithm.removesuffix(CERTIFICATE)
    return f"{name}@openssh.com" if name.startswith("sk-") else name


def key_type_of(algorithm: str) -> str:
    """The type of the key that signs by ``algorithm`` (RFC 8332: RSA has one for all)."""
    return algorithm.replace("rsa-sha2-512", "ssh-rsa").replace("rsa-sha2-256", "ssh-rsa")


KEYS = (*map(certified, SIGNATURES), *SIGNATURES)
"""OpenSSH's HostKeyAlgorithms and PubkeyAcceptedAlgorithms."""


@dataclass(frozen=True, slots=True)
class Algorithms:
    """What is offered and accepted, the preferred first; names as on the wire."""

    kex: tuple[str, ...]
    ciphers: tuple[str, ...]
    macs: tuple[str, ...]
    host_keys: tuple[str, ...]
    user_keys: tuple[str, ...]
    authorities: tuple[str, ...]
    """What an authority may have signed a host's certificate with."""
    host_keys_ordered: bool
    """True if somebody gave the order of ``host_keys``; otherwise known types come first."""


def choose(
    wish: str | None, default: Iterable[str], supported: Sequence[str], wildcards: bool
) -> tuple[str, ...]:
    """The names that ``wish`` makes of ``default``, of those ``supported``.

    A name to be taken away may be a pattern; one to be added only with ``wildcards``, as in ssh.
    """
    usual = [name for name in default if name in supported]
    prefix, words = (wish[:1], wish[1:]) if wish and wish[0] in "+-^" else ("", wish or "")
    matches = match_pattern if wildcards or prefix == "-" else str.__eq__
    named = [name for word in words.split(",") for name in supported if matches(word, name)]
    if wish is None:
        chosen = usual
    elif prefix == "-":
        chosen = [name for name in usual if name not in named]
    elif prefix == "+":
        chosen = usual + named
    else:
        chosen = named + usual if prefix == "^" else named
    return tuple(dict.fromkeys(chosen))


def agreed(wishes: Mapping[str, str], gssapi_key_exchange: bool = False) -> Algorithms:
    """What the options leave. Raises MountError(CONFIGURATION) for a list of which nothing can be used."""
    signatures = _names(get_public_key_algs())
    keys = (*_names(get_certificate_algs()), *signatures)
    exchanges = _names(get_kex_algs())
    ciphers = (FAST_CIPHERS if cpu_has_aes() else SLOW_CIPHERS) + OTHER_CIPHERS
    kerberos = [name for name in exchanges if name.startswith("gss-") and not name.endswith("-sha1")]

    def chosen(keyword: str, default: Iterable[str], supported: Sequence[str]) -> tuple[str, ...]:
        wish = wishes.get(keyword)
        found = choose(wish, default, supported, supported in (keys, signatures))
        if not found:
            message = f"{keyword} '{wish}': none of these is supported here"
            raise MountError(Failure.CONFIGURATION, message)
        return found

    return Algorithms(
        kex=chosen("KexAlgorithms", (*(kerberos if gssapi_key_exchange else ()), *KEX), exchanges),
        ciphers=chosen("Ciphers", ciphers.split(","), _names(get_encryption_algs())),
        macs=chosen("MACs", MACS, _names(get_mac_algs())),
        host_keys=chosen("HostKeyAlgorithms", KEYS, keys),
        user_keys=chosen("PubkeyAcceptedAlgorithms", KEYS, keys),
        authorities=chosen("CASignatureAlgorithms", SIGNATURES, signatures),
        host_keys_ordered=wishes.get("HostKeyAlgorithms", "+")[:1] not in ("+", "-"),
    )


def _names(algorithms: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(algorithm.decode() for algorithm in algorithms)
