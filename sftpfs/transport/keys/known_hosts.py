"""known_hosts: whether a key is the server's, and storing it if nobody knows.

Follows sshd(8), SSH_KNOWN_HOSTS FILE FORMAT. Keys are compared as the bytes on the wire; no SSH library is
needed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from sftpfs.errors import Failure, MountError
from sftpfs.host.covered_files import reach
from sftpfs.transport.ssh_config.words import match_patterns

LEAST_RSA_BITS = 1024
"""OpenSSH's SSH_RSA_MINIMUM_MODULUS_SIZE: no option makes it take shorter keys."""


NOT_PLAIN = re.compile(r"^[|@#]|[*?!,\s]")
"""A name that known_hosts would take for patterns, several names, a marker, a comment or a hash. ssh takes
``*`` in a host name, and anything in HostName and HostKeyAlias of a file."""


class Verdict(Enum):
    """What known_hosts says of a key that a server showed."""

    KNOWN = auto()
    UNKNOWN = auto()
    CHANGED = auto()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: ``marker`` is "", "cert-authority" or "revoked"."""

    marker: str
    patterns: str
    key_type: str
    key: bytes
    file: str
    line: int

    def matches(self, name: str) -> bool:
        """True if the line is about ``name``."""
        if self.patterns.startswith("|"):
            return _hash_matches(self.patterns, name)
        return match_patterns(self.patterns.split(","), name)


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict, and the line that it is based on."""

    verdict: Verdict
    entry: Entry | None = None


def _hash_matches(pattern: str, name: str) -> bool:
    try:
        _, magic, salt, digest = pattern.split("|")
        wanted = base64.b64decode(digest)
        made = hmac.new(base64.b64decode(salt), name.encode(errors="surrogateescape"), hashlib.sha1)
    except (ValueError, binascii.Error):
        return False
    return magic == "1" and hmac.compare_digest(made.digest(), wanted)


def parse_line(text: str, file: str, line: int) -> Entry | None:
    """The entry of one line, or None if it has none that we can use."""
    fields = text.split()
    if not fields or fields[0].startswith("#"):
        return None
    marker = ""
    if fields[0].startswith("@"):
        marker = fields.pop(0)[1:]
        if marker not in ("cert-authority", "revoked"):
            return None
    if len(fields) < 3:
        return None
    try:
        key = base64.b64decode(fields[2], validate=True)
    except (ValueError, binascii.Error):
        return None
    return Entry(marker, fields[0], fields[1], key, file, line)


class KnownHosts:
    """The entries of several files."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = list(entries)

    @classmethod
    def read(cls, files: Iterable[str]) -> KnownHosts:
        """Reads ``files``. A file that is missing or may not be read is ignored, as in ssh."""
        entries = []
        for path in files:
            try:
                with open(reach(path), encoding="utf-8", errors="surrogateescape") as file:
                    for number, text in enumerate(file, 1):
                        entry = parse_line(text, path, number)
                        if entry is not None:
                            entries.append(entry)
            except OSError:
                continue
        return cls(entries)

    def check(self, name: str, bare_name: str | None, key: bytes) -> Answer:
        """What is known of ``key`` for the host called ``name``.

        ``bare_name`` is the name without its port. A key that is known for that counts, as in ssh, but
        another key there does not make this one a changed key.
        """
        plain = [entry for entry in self._entries if not entry.marker and entry.matches(name)]
        for entry in plain:
            if entry.key == key:
                return Answer(Verdict.KNOWN, entry)
        for entry in plain:
            if entry.key_type == key_type(key):
                return Answer(Verdict.CHANGED, entry)
        if bare_name is not None:
            answer = self.check(bare_name, None, key)
            if answer.verdict is not Verdict.CHANGED:
                return answer
        return Answer(Verdict.UNKNOWN)

    def revoked(self, name: str, bare_name: str | None, key: bytes) -> Entry | None:
        """The line that revokes ``key`` for the host, in whatever role: the host's own key, one in a
        certificate, or an authority's. A line for the bare name counts for every port."""
        for entry in self._about("revoked", name, bare_name):
            if entry.key == key:
                return entry
        return None

    def trusts_authority(self, name: str, bare_name: str | None, key: bytes) -> bool:
        """True if ``key`` may certify the host; whether it is revoked is another question."""
        return any(entry.key == key for entry in self._about("cert-authority", name, bare_name))

    def has_authority(self, name: str, bare_name: str | None) -> bool:
        """True if some authority may certify the host."""
        return any(self._about("cert-authority", name, bare_name))

    def _about(self, marker: str, name: str, bare_name: str | None) -> Iterator[Entry]:
        for entry in self._entries:
            if entry.marker == marker and (entry.matches(name) or (bare_name and entry.matches(bare_name))):
                yield entry

    def known_types(self, name: str) -> set[str]:
        """The types of the keys known for the host on this port."""
        return {entry.key_type for entry in self._entries if not entry.marker and entry.matches(name)}


def key_type(key: bytes) -> str:
    """The type name a public key starts with (RFC 4253 §6.6)."""
    length = int.from_bytes(key[:4], "big")
    return key[4 : 4 + min(length, 64)].decode("ascii", "replace")


def rsa_bits(key: bytes) -> int | None:
    """The length of an RSA key, in a certificate or not; None of any other."""
    kind = key_type(key)
    if kind not in ("ssh-rsa", "ssh-rsa-cert-v01@openssh.com"):
        return None
    position = 0
    for _ in range(2 if kind == "ssh-rsa" else 3):  # type, nonce of a certificate, public exponent
        position += 4 + int.from_bytes(key[position : position + 4], "big")
    length = int.from_bytes(key[position : position + 4], "big")
    return int.from_bytes(key[position + 4 : position + 4 + length], "big").bit_length()


def type_label(key: bytes) -> str:
    """The type as ssh shows it: ED25519, ECDSA, RSA."""
    name = key_type(key).removeprefix("sk-").removeprefix("ssh-").split("@")[0]
    return name.split("-")[0].upper()


def fingerprint(key: bytes) -> str:
    """``SHA256:...`` as ssh shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def entry_text(name: str, key: bytes, hashed: bool) -> str:
    """The known_hosts line for ``key``, without newline; for a name that would read as a pattern, hashed."""
    if hashed or NOT_PLAIN.search(name):
        salt = os.urandom(20)
        digest = hmac.new(salt, name.encode(errors="surrogateescape"), hashlib.sha1).digest()
        name = f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
    return f"{name} {key_type(key)} {base64.b64encode(key).decode()}"


def store(path: str, name: str, key: bytes, hashed: bool) -> None:
    """Append the key to ``path``, made if need be (0600, its directory 0700). Raises OSError."""
    path = reach(path)
    directory = os.path.dirname(path)
    if directory:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(fd, "r+b", buffering=0) as file:
        line = entry_text(name, key, hashed).encode(errors="surrogateescape") + b"\n"
        if file.seekable() and file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) not in (b"\n", b""):
                line = b"\n" + line
        file.write(line)


def question(display: str, key: bytes) -> str:
    """What a person is asked about an unknown key, in ssh's words."""
    return (
        f"The authenticity of host '{display}' can't be established.\n"
        f"{type_label(key)} key fingerprint is {fingerprint(key)}.\n"
        "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
    )


def agrees(answer: str | None, key: bytes) -> bool | None:
    """The person's answer: True, False, or None if it is neither yes nor no."""
    if answer is None:
        return False
    text = answer.strip()
    if text.lower() == "yes" or text == fingerprint(key):
        return True
    return False if text.lower() == "no" else None


def changed_error(display: str, name: str, key: bytes, entry: Entry) -> MountError:
    """The error for a key that is not the one known."""
    message = (
        f"host key of {display} has changed: it now shows {_shown(key)}, "
        f"which is not the key in {entry.file} line {entry.line}; if you know why, remove the old one: "
        f"ssh-keygen -f '{entry.file}' -R '{name}'"
    )
    return MountError(Failure.HOST_KEY_CHANGED, message)


def revoked_error(display: str, what: str, key: bytes, entry: Entry) -> MountError:
    """The error for a key that was revoked; ``what`` is the host's or its authority's."""
    line = f"{entry.file} line {entry.line}"
    message = f"{what} of {display} ({fingerprint(key)}) is revoked by {line}: refusing to connect"
    return MountError(Failure.HOST_KEY_CHANGED, message)


def another_error(display: str, key: bytes, pinned: bytes, certified: bool) -> MountError:
    """The error for a key that is not the one this mount logged in to first."""
    before = "it was certified by" if certified else "it showed"
    message = (
        f"host key of {display} has changed since the mount was made: it now shows {_shown(key)}, then "
        f"{before} {_shown(pinned)}; if you know why, unmount and mount again"
    )
    return MountError(Failure.HOST_KEY_CHANGED, message)


def unknown_error(display: str, key: bytes, cure: str) -> MountError:
    """The error for a key that nobody knows."""
    message = f"host key of {display} is unknown ({_shown(key)}): {cure}"
    return MountError(Failure.HOST_KEY_UNKNOWN, message)


def _shown(key: bytes) -> str:
    return f"{type_label(key)} {fingerprint(key)}"
