"""Who we are, told to one server: keys, certificates, passwords and questions.

Runs in a transport worker. ``Authenticator`` decides what to offer and in what order
and asks through ``Ask``; asyncssh calls it through ``Client``. Order as ssh's: the
agent's keys, plain key files, then files with a passphrase, which is asked for only
once the server has said that it would take the key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import asyncssh

from sftpfs.beneath import reach
from sftpfs.transport.control import HostKey, one_line, shown
from sftpfs.transport.settings import Settings

PASSPHRASE_TRIES = 3
KBDINT_ROUND_LIMIT = 32
"""Rounds of questions answered in one attempt; a server asking without end is refused."""
_OPENSSH_MAGIC = b"openssh-key-v1\0"


class Ask(Protocol):
    """Asks the person, or memory, by way of the front."""

    async def __call__(self, kind: str, text: str, echo: bool, key: str, attempt: int) -> str | None:
        """The answer, or None. ``kind`` is the name of a ``PromptKind``, ``key`` names the secret,
        ``attempt`` counts its tries from 0.
        """


Log = Callable[[str], None]


async def _silent(kind: str, text: str, echo: bool, key: str, attempt: int) -> str | None:
    """``BatchMode``: nobody is asked, and nothing remembered is used."""
    return None


def public_blob(path: str, data: bytes) -> bytes | None:
    """The public half of a private key file, without its passphrase; None where it cannot be told."""
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
        """Sign; raises ValueError, upon which the next key is tried, where nobody can unlock the key."""
        key = await self._unlock()
        return bytes(key.sign(data, self.sig_algorithm))


class KeyFile:
    """One IdentityFile: what is known of it without its passphrase."""

    def __init__(self, path: str, ask: Ask) -> None:
        self.path = path
        self._ask = ask
        self._data = Path(reach(path)).read_bytes()
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
        """True where the file holds a private key; else it names a key of the agent."""
        return self._key is not None or self.encrypted

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
        """The private key, its passphrase asked for. Raises ValueError where that fails."""
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


class Authenticator:
    """Offers one server what we have.

    INVARIANT: ``tried`` names each method once, in the order first used.
    """

    def __init__(self, settings: Settings, ask: Ask, log: Log) -> None:
        self.settings = settings
        self.tried: list[str] = []
        self.offered: list[str] = []
        """The methods the server would take that are not switched off here, in the order we try them."""
        self.locked_files: list[str] = []
        """Key files the server would have taken, whose passphrase nobody gave."""
        self.unusable_files: list[str] = []
        """Key files somebody named that hold no key for us, and why."""
        self._ask = _silent if settings.batch else ask
        self._log = log
        self._agent: asyncssh.SSHAgentClient | None = None
        self._keys = self._keypairs()
        self._password_attempts = 0
        self._interactive_attempts = 0
        self._rounds = 0
        self._secret = f"password {settings.user}@{settings.host}:{settings.port}"

    def note(self, method: str) -> None:
        """Remember that ``method`` was used."""
        if method not in self.tried:
            self.tried.append(method)

    async def close(self) -> None:
        """Let go of the agent."""
        await self._keys.aclose()
        if self._agent is not None:
            self._agent.close()
            await self._agent.wait_closed()

    # --- keys

    async def next_keypair(self) -> asyncssh.SSHKeyPair | None:
        """The next key to offer, None when there is no other."""
        self.note("publickey")
        return await anext(self._keys, None)

    async def _keypairs(self) -> AsyncGenerator[asyncssh.SSHKeyPair, None]:
        files = self._key_files()
        named = [file.blob for file in files if file.blob is not None]
        certificates = self._certificates()
        seen: set[bytes] = set()
        agent_keys = await self._agent_keys()
        agent_keys.sort(key=lambda pair: pair.public_data not in named)
        for pair in agent_keys:
            if self.settings.identities_only and pair.public_data not in named:
                continue
            seen.add(bytes(pair.public_data))
            self._log(f"offering {pair.get_algorithm()} key of the agent")
            yield pair
        for file in sorted(files, key=lambda file: file.encrypted):
            if not file.private or (file.blob is not None and file.blob in seen):
                continue
            for pair in await self._pairs_of(file, certificates):
                self._log(f"offering {pair.get_algorithm()} key {file.path}")
                yield pair

    def _key_files(self) -> list[KeyFile]:
        files = []
        for path in self.settings.identity_files:
            why: str | None = "it holds no key that can be read"
            try:
                files.append(file := KeyFile(path, self._ask))
                if file.private or file.blob is not None:
                    continue
            except OSError as error:
                why = error.strerror
            if self.settings.identities_given:
                self._log(f"key file {path}: {why}")
                self.unusable_files.append(f"{path} cannot be used: {why}")
        return files

    def _certificates(self) -> dict[bytes, asyncssh.SSHCertificate]:
        found: dict[bytes, asyncssh.SSHCertificate] = {}
        paths = [*self.settings.certificate_files]
        paths += [f"{path}-cert.pub" for path in self.settings.identity_files]
        for path in paths:
            try:
                certificate = asyncssh.read_certificate(reach(path))
            except (OSError, asyncssh.KeyImportError):
                continue
            found.setdefault(bytes(certificate.key.public_data), certificate)
        return found

    async def _agent_keys(self) -> list[asyncssh.SSHKeyPair]:
        if not self.settings.agent:
            return []
        try:
            self._agent = await asyncssh.connect_agent(reach(self.settings.agent))
            return list(await self._agent.get_keys())
        except (OSError, ValueError) as error:
            self._log(f"agent {self.settings.agent}: {error}")
            return []

    async def _pairs_of(
        self, file: KeyFile, certificates: dict[bytes, asyncssh.SSHCertificate]
    ) -> list[asyncssh.SSHKeyPair]:
        certificate = certificates.get(file.blob) if file.blob is not None else None
        if file.encrypted and file.blob is not None:
            try:
                public = ssh_public_key(file.blob)
            except asyncssh.KeyImportError:
                return []
            pairs = [EncryptedKeyPair(public, None, lambda: self._unlock(file))]
            if certificate is not None:
                pairs.insert(0, EncryptedKeyPair(public, certificate, lambda: self._unlock(file)))
            return list(pairs)
        try:
            key = await self._unlock(file)
        except ValueError:
            return []
        plain = asyncssh.load_keypairs([key])
        if certificate is None:
            return list(plain)
        return [*asyncssh.load_keypairs([(key, certificate)]), *plain]

    async def _unlock(self, file: KeyFile) -> asyncssh.SSHKey:
        try:
            return await file.unlock()
        except ValueError:
            if file.path not in self.locked_files:
                self.locked_files.append(file.path)
            raise

    # --- passwords and questions

    async def next_password(self) -> str | None:
        """The password to try next, None to give the method up."""
        self.note("password")
        if self._password_attempts >= self.settings.prompts:
            return None
        text = f"{self.settings.user}@{self.settings.original_host}'s password: "
        answer = await self._ask("PASSWORD", text, False, self._secret, self._password_attempts)
        self._password_attempts += 1
        return answer

    def begin_interactive(self) -> str | None:
        """Submethods for another attempt at keyboard-interactive, None to give it up."""
        self.note("keyboard-interactive")
        if self._interactive_attempts >= self.settings.prompts:
            return None
        self._interactive_attempts += 1
        self._rounds = 0
        return ""

    async def answer_questions(
        self, name: str, instructions: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        """Answers to one round of questions, None where nobody can give them."""
        self._rounds += 1
        if self._rounds > KBDINT_ROUND_LIMIT:
            return None
        lead = "".join(f"{shown(text).strip()}\n" for text in (name, instructions) if text.strip())
        single = len(prompts) == 1 and not prompts[0][1] and prompts[0][0].strip().lower() == "password:"
        answers = []
        for index, (prompt, echo) in enumerate(prompts):
            text = (lead if index == 0 else "") + shown(prompt)
            if single:
                attempt = self._interactive_attempts - 1
                text = f"({self.settings.user}@{self.settings.original_host}) {text}"
                answer = await self._ask("PASSWORD", text, False, self._secret, attempt)
            else:
                answer = await self._ask("ONE_TIME", text, bool(echo), "", 0)
            if answer is None:
                self._interactive_attempts = self.settings.prompts  # nobody to ask: do not begin again
                return None
            answers.append(answer)
        return answers


class HostKeyCheck(Protocol):
    """Decides on the key a server shows; called while keys are exchanged, so it cannot wait.

    ``judged``: how it came to its last decision.
    """

    judged: HostKey

    def accepts(self, key: bytes) -> bool:
        """True where ``key`` is the server's."""

    def accepts_authority(self, key: bytes) -> bool:
        """True where ``key`` may certify the server's."""


class Client(asyncssh.SSHClient):
    """What asyncssh calls back on one connection."""

    def __init__(self, authenticator: Authenticator, host_keys: HostKeyCheck, log: Log) -> None:
        self.lost: Callable[[Exception | None], None] | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._authenticator = authenticator
        self._host_keys = host_keys
        self._log = log

    @property
    def method(self) -> str:
        """The authentication method that was used last: the one that let us in."""
        return self._authenticator.tried[-1] if self._authenticator.tried else "none"

    @property
    def offered(self) -> list[str]:
        """See ``Authenticator.offered``; empty where the server let us in without asking for anything."""
        return self._authenticator.offered

    @property
    def host_key(self) -> HostKey:
        """How the key of this connection was judged."""
        return self._host_keys.judged

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """The connection, before anything is said on it."""
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self.lost is not None:
            self.lost(exc)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """A plain host key."""
        return self._host_keys.accepts(bytes(key.public_data))

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """The key that signed a host certificate."""
        return self._host_keys.accepts_authority(bytes(key.public_data))

    def auth_banner_received(self, msg: str, lang: str) -> None:
        """A text shown before login."""
        self._log(shown(msg).rstrip())

    def _note_offered(self) -> None:
        """Keep the server's first list (RFC 4252 §5.1): later ones are what is left of it."""
        if not self._authenticator.offered and self._connection is not None:
            self._authenticator.offered = [one_line(m) for m in self._connection.get_server_auth_methods()]

    async def public_key_auth_requested(self) -> list[asyncssh.SSHKeyPair] | None:
        """The next key."""
        self._note_offered()
        pair = await self._authenticator.next_keypair()
        return None if pair is None else [pair]

    async def password_auth_requested(self) -> str | None:
        """The next password."""
        self._note_offered()
        return await self._authenticator.next_password()

    def kbdint_auth_requested(self) -> str | None:
        """Another attempt."""
        self._note_offered()
        return self._authenticator.begin_interactive()

    async def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        """A round of questions."""
        return await self._authenticator.answer_questions(name, instructions, prompts)
