"""Our key files, and what can be read of them without their passphrase.

Runs in a transport worker. ``transport.worker.authentication`` decides which are offered, and when.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Callable
from typing import Any, Protocol

import asyncssh

from sftpfs.host.covered_files import reach

PASSPHRASE_TRIES = 3
_OPENSSH_MAGIC = b"openssh-key-v1\0"


class Ask(Protocol):
    """Asks the person, or the memory of answers, through the front."""

    async def __call__(self, kind: str, text: str, echo: bool, key: str, attempt: int) -> str | None:
        """The answer, or None. ``kind`` is the name of a ``PromptKind``, ``key`` names the secret,
        ``attempt`` counts its tries from 0.
        """


Log = Callable[[str], None]


def public_blob(path: str, data: bytes) -> bytes | None:
    """The public half of a private key file, without its passphrase; None if it cannot be read."""
    try:
        return bytes(asyncssh.read_public_key(reach(path + ".pub")).public_data)
    except (OSError, asyncssh.KeyImportError):
        pass
    body = b"".join(line for line in data.splitlines() if not line.startswith(b"-----"))
    try:
        decoded = base64.b64decode(body)
    except (ValueError, binascii.Error):
        return None
    if not decoded.startswith(_OPENSSH_MAGIC):
        return None
    position = len(_OPENSSH_MAGIC)
    for _ in range(3):  # cipher name, KDF name, KDF options (OpenSSH's PROTOCOL.key)
        position += 4 + int.from_bytes(decoded[position : position + 4], "big")
    position += 4  # number of keys
    length = int.from_bytes(decoded[position : position + 4], "big")
    blob = decoded[position + 4 : position + 4 + length]
    return blob if length and len(blob) == length else None


def ssh_public_key(blob: bytes) -> asyncssh.SSHKey:
    """The key of the bytes on the wire. Raises asyncssh.KeyImportError."""
    length = int.from_bytes(blob[:4], "big")
    return asyncssh.import_public_key(blob[4 : 4 + length] + b" " + base64.b64encode(blob))


class EncryptedKeyPair(asyncssh.SSHKeyPair):
    """A key file with a passphrase, asked for when the server wants a signature."""

    _key_type = "local"

    def __init__(
        self,
        public: asyncssh.SSHKey,
        certificate: asyncssh.SSHCertificate | None,
        unlock: Callable[[], Any],
    ) -> None:
        super().__init__(
            public.algorithm,
            public.algorithm,
            public.sig_algorithms,
            public.sig_algorithms,
            public.public_data,
            None,
            certificate,
        )
        self._unlock = unlock

    async def sign_async(self, data: bytes) -> bytes:
        """Signs. Raises ValueError if nobody can unlock the key; then the next key is tried."""
        key = await self._unlock()
        return bytes(key.sign(data, self.sig_algorithm))


class KeyFile:
    """One IdentityFile, and what is known of it without its passphrase."""

    def __init__(self, path: str, ask: Ask) -> None:
        self.path = path
        self._ask = ask
        with open(reach(path), "rb") as file:
            found = os.fstat(file.fileno())
            self._data = file.read()
        self._open_to = stat.S_IMODE(found.st_mode) if found.st_uid == os.getuid() else 0
        self._key: asyncssh.SSHKey | None = None
        self.encrypted = False
        try:
            self._key = asyncssh.import_private_key(self._data)
        except asyncssh.KeyEncryptionError:
            self.encrypted = True
        except asyncssh.KeyImportError as error:
            self.encrypted = "passphrase" in str(error).lower()
        self.blob = self._public()

    @property
    def private(self) -> bool:
        """True if the file holds a private key to be used; otherwise it names a key of the agent."""
        return (self._key is not None or self.encrypted) and not self.unprotected

    @property
    def unprotected(self) -> str:
        """Why the private key is ignored, as in ssh: others may read it. "" if they may not."""
        if not self._open_to & 0o077 or (self._key is None and not self.encrypted):
            return ""
        return f"UNPROTECTED PRIVATE KEY FILE, permissions {self._open_to:04o} are too open"

    def _public(self) -> bytes | None:
        if self._key is not None:
            return bytes(self._key.public_data)
        if self.encrypted:
            return public_blob(self.path, self._data)
        try:
            return bytes(asyncssh.import_public_key(self._data).public_data)
        except asyncssh.KeyImportError:
            return None

    async def unlock(self) -> asyncssh.SSHKey:
        """The private key; asks for its passphrase. Raises ValueError if that fails."""
        if self._key is not None:
            return self._key
        text = f"Enter passphrase for key '{self.path}': "
        for attempt in range(PASSPHRASE_TRIES):
            answer = await self._ask("PASSPHRASE", text, False, f"passphrase {self.path}", attempt)
            if answer is None:
                break
            try:
                self._key = asyncssh.import_private_key(self._data, answer)
                return self._key
            except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
                continue
        raise ValueError(f"no passphrase for {self.path}")
