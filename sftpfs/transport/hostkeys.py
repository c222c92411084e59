"""known_hosts: is this the server's key, and if nobody knows, storing it.

Follows sshd(8), SSH_KNOWN_HOSTS FILE FORMAT. Keys are compared as the bytes on the
wire; no SSH library is needed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from sftpfs.beneath import reach
from sftpfs.errors import Failure, MountError
from sftpfs.transport.ssh_config import match_patterns

RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")
"""What a key of type ssh-rsa may sign with (RFC 8332)."""


class Verdict(Enum):
    """What known_hosts says of a key a server showed."""

    KNOWN = auto()
    UNKNOWN = auto()
    CHANGED = auto()
    REVOKED = auto()


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
        """True where the line is about ``name``."""
        if self.patterns.startswith("|"):
            return _hash_matches(self.patterns, name)
        return match_patterns(self.patterns.split(","), name)


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict, and the line it rests on."""

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
    """The entry of one line, or None where it has none we can use."""
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
        """Read ``files``; one that is missing or may not be read is passed over, as ssh does."""
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

        ``bare_name`` is the name without its port: a key known for that counts, as in
        ssh, but another one there does not make it a changed key.
        """
        relevant = [entry for entry in self._entries if entry.matches(name)]
        for entry in relevant:
            if entry.marker == "revoked" and entry.key == key:
                return Answer(Verdict.REVOKED, entry)
        plain = [entry for entry in relevant if not entry.marker]
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

    def trusts_authority(self, name: str, bare_name: str | None, key: bytes) -> bool:
        """True where ``key`` may certify the host, and is not revoked."""
        found = False
        for entry in self._entries:
            if entry.key != key or not (entry.matches(name) or (bare_name and entry.matches(bare_name))):
                continue
            if entry.marker == "revoked":
                return False
            found = found or entry.marker == "cert-authority"
        return found

    def has_authority(self, name: str, bare_name: str | None) -> bool:
        """True where some authority may certify the host."""
        return any(
            entry.marker == "cert-authority"
            and (entry.matches(name) or (bare_name is not None and entry.matches(bare_name)))
            for entry in self._entries
        )

    def known_types(self, name: str, bare_name: str | None) -> list[str]:
        """Signature algorithms of the keys known for the host, in the order of the files."""
        found: list[str] = []
        for wanted in (name, bare_name):
            for entry in self._entries:
                if wanted is None or entry.marker or not entry.matches(wanted):
                    continue
                names = RSA_SIGNATURES if entry.key_type == "ssh-rsa" else (entry.key_type,)
                found += [algorithm for algorithm in names if algorithm not in found]
        return found


def key_type(key: bytes) -> str:
    """The type name a public key starts with (RFC 4253 §6.6)."""
    length = int.from_bytes(key[:4], "big")
    return key[4 : 4 + min(length, 64)].decode("ascii", "replace")


def type_label(key: bytes) -> str:
    """The type as ssh shows it: ED25519, ECDSA, RSA."""
    name = key_type(key).removeprefix("sk-").removeprefix("ssh-").split("@")[0]
    return name.split("-")[0].upper()


def fingerprint(key: bytes) -> str:
    """``SHA256:...`` as ssh shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def entry_text(name: str, key: bytes, hashed: bool) -> str:
    """The known_hosts line for ``key``, without newline."""
    if hashed:
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
    """The person's answer: True, False, or None where it is neither yes nor no."""
    if answer is None:
        return False
    text = answer.strip()
    if text.lower() == "yes" or text == fingerprint(key):
        return True
    return False if text.lower() == "no" else None


def changed_error(display: str, name: str, key: bytes, entry: Entry) -> MountError:
    """The error for a key that is not the one known."""
    known = f"{entry.file} line {entry.line}"
    if entry.marker == "revoked":
        message = f"host key of {display} ({fingerprint(key)}) is revoked by {known}: refusing to connect"
        return MountError(Failure.HOST_KEY_CHANGED, message)
    message = (
        f"host key of {display} has changed: it now shows {type_label(key)} {fingerprint(key)}, "
        f"which is not the key in {known}; if you know why, remove the old one: "
        f"ssh-keygen -f '{entry.file}' -R '{name}'"
    )
    return MountError(Failure.HOST_KEY_CHANGED, message)


def unknown_error(display: str, key: bytes, cure: str) -> MountError:
    """The error for a key nobody knows."""
    shown = f"{type_label(key)} {fingerprint(key)}"
    return MountError(Failure.HOST_KEY_UNKNOWN, f"host key of {display} is unknown ({shown}): {cure}")
