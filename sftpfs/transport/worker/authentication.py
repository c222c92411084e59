"""The login to one server: keys, certificates, passwords and questions.

Runs in a transport worker. ``Authenticator`` decides what to offer and in what order, and asks through
``Ask``; asyncssh calls it through ``Client``. The order is ssh's: the agent's keys, plain key files, then
files with a passphrase, which a person is asked for only once the server has said that it would take the key.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

import asyncssh

from sftpfs.host.covered_files import reach
from sftpfs.transport.connect_errors import words
from sftpfs.transport.keys.host_key import taken_apart
from sftpfs.transport.keys.known_hosts import rsa_bits
from sftpfs.transport.keys.user_keys import Ask, EncryptedKeyPair, KeyFile, Log, ssh_public_key
from sftpfs.transport.messages import HostKey, one_line, shown
from sftpfs.transport.worker.algorithms import certified
from sftpfs.transport.worker.hop_settings import Settings
from sftpfs.transport.worker.host_key_policy import HostKeyJudge

KBDINT_ROUND_LIMIT = 32
"""Rounds of questions answered in one attempt; a server that asks without end is refused."""

AGAIN = "Permission denied, please try again."
"""ssh's words after a password was refused."""
SAID_LIMIT = 120
"""Bytes kept of what a peer says that does not speak SSH."""


async def _silent(kind: str, text: str, echo: bool, key: str, attempt: int) -> str | None:
    """``BatchMode``: nobody is asked, and nothing remembered is used."""
    return None


class Authenticator:
    """Offers one server our keys, passwords and answers.

    INVARIANT: ``tried`` names each method once, in the order first used.
    """

    def __init__(self, settings: Settings, accepted: Sequence[str], ask: Ask, log: Log) -> None:
        self.settings = settings
        self.accepted = frozenset(accepted)
        """The algorithms our keys may sign with (``PubkeyAcceptedAlgorithms``)."""
        self.passwords_given = 0
        self.banner = ""
        """What the server last said in answer to an attempt; "" if nothing."""
        self.tried: list[str] = []
        self.offered: list[str] = []
        """The methods that the server would take and that are not switched off here, in the order we try
        them."""
        self.locked_files: list[str] = []
        """Key files that the server would have taken, whose passphrase nobody gave."""
        self.unusable_files: list[str] = []
        """Key files that somebody named, or that were found where ssh looks, and that hold no key for us;
        with the reason."""
        self.passed_over: list[str] = []
        """Those of them that others may read, tried before what let us in. ssh, too, tells a person of
        them."""
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
        agent_keys = [pair for pair in await self._agent_keys() if self._may_sign(pair, "of the agent")]
        agent_keys.sort(key=lambda pair: pair.public_data not in named)
        for pair in agent_keys:
            if self.settings.identities_only and pair.public_data not in named:
                continue
            seen.add(bytes(pair.public_data))
            self._log(f"offering {pair.get_algorithm()} key of the agent")
            yield pair
        for file in sorted(files, key=lambda file: file.encrypted):
            if file.unprotected:
                self.passed_over.append(f"{file.path} cannot be used: {file.unprotected}")
            if not file.private or (file.blob is not None and file.blob in seen):
                continue
            for pair in await self._pairs_of(file, certificates):
                self._log(f"offering {pair.get_algorithm()} key {file.path}")
                yield pair

    def _may_sign(self, pair: asyncssh.SSHKeyPair, where: str) -> bool:
        """False for keys that are too short, or whose signatures are not accepted; logs that."""
        bits = rsa_bits(bytes(pair.key_public_data))
        if bits is not None and bits < self.settings.least_rsa_bits:
            why = f"RSA of {bits} bits, where RequiredRSASize asks for {self.settings.least_rsa_bits}"
        else:
            names = [algorithm.decode() for algorithm in pair.sig_algorithms]
            if self.accepted.intersection(map(certified, names) if pair.has_cert else names):
                return True
            why = "its signatures are not among PubkeyAcceptedAlgorithms"
        self._log(f"passing over the {pair.get_algorithm()} key {where}: {why}")
        unusable = f"{where} cannot be used: {why}"
        if unusable not in self.unusable_files:
            self.unusable_files.append(unusable)
        return False

    def _key_files(self) -> list[KeyFile]:
        files = []
        for path in self.settings.identity_files:
            why, report = "", self.settings.identities_given
            try:
                files.append(file := KeyFile(path, self._ask))
            except OSError as error:
                why = str(error.strerror)
            else:
                why = file.unprotected
                report = report or bool(why)
                if not why and not file.private and file.blob is None:
                    why = "it holds no key that can be read"
            if why and report:
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
            self._log(f"agent {self.settings.agent}: {words(error)}")
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
            locked = [certificate, None] if certificate is not None else [None]
            pairs = [EncryptedKeyPair(public, one, lambda: self._unlock(file)) for one in locked]
            return [pair for pair in pairs if self._may_sign(pair, file.path)]
        try:
            key = await self._unlock(file)
        except ValueError:
            return []
        plain = [pair for pair in asyncssh.load_keypairs([key]) if self._may_sign(pair, file.path)]
        if certificate is None:
            return plain
        vouched = asyncssh.load_keypairs([(key, certificate)])
        return [*(pair for pair in vouched if self._may_sign(pair, file.path)), *plain]

    async def _unlock(self, file: KeyFile) -> asyncssh.SSHKey:
        try:
            return await file.unlock()
        except ValueError:
            if file.path not in self.locked_files:
                self.locked_files.append(file.path)
            raise

    # --- passwords and questions

    async def next_password(self) -> str | None:
        """The next password to try; None to give the method up."""
        self.note("password")
        if self._password_attempts >= self.settings.prompts:
            return None
        text = f"{self.settings.user}@{self.settings.original_host}'s password: "
        if self._password_attempts:
            text = f"{AGAIN}\n{text}"
        answer = await self._ask("PASSWORD", text, False, self._secret, self._password_attempts)
        self._password_attempts += 1
        self.passwords_given += answer is not None
        return answer

    def attributed(self, text: str) -> str:
        """What the server says, fit for a terminal, each line with the name of who says it, as ssh does with
        prompts.

        No line can be taken for a question of ours, because those do not begin with a bracket.
        """
        label = f"({self.settings.user}@{self.settings.original_host}) "
        return "\n".join(label + line for line in shown(text).split("\n"))

    def begin_interactive(self) -> str | None:
        """Submethods for another attempt at keyboard-interactive; None to give it up."""
        self.note("keyboard-interactive")
        if self._interactive_attempts >= self.settings.prompts:
            return None
        self._interactive_attempts += 1
        self._rounds = 0
        return ""

    async def answer_questions(
        self, name: str, instructions: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        """Answers to one round of questions; None if nobody can give them."""
        self._rounds += 1
        if self._rounds > KBDINT_ROUND_LIMIT:
            return None
        lead = "".join(self.attributed(text.strip()) + "\n" for text in (name, instructions) if text.strip())
        single = len(prompts) == 1 and not prompts[0][1] and prompts[0][0].strip().lower() == "password:"
        answers = []
        for index, (prompt, echo) in enumerate(prompts):
            text = (lead if index == 0 else "") + self.attributed(prompt)
            if single:
                attempt = self._interactive_attempts - 1
                answer = await self._ask("PASSWORD", text, False, self._secret, attempt)
                self.passwords_given += answer is not None
            else:
                answer = await self._ask("ONE_TIME", text, bool(echo), "", 0)
            if answer is None:
                self._interactive_attempts = self.settings.prompts  # nobody to ask: do not begin again
                return None
            answers.append(answer)
        return answers


class Client(asyncssh.SSHClient):
    """What asyncssh calls back on one connection."""

    def __init__(self, authenticator: Authenticator, host_keys: HostKeyJudge, log: Log) -> None:
        self.lost: Callable[[Exception | None], None] | None = None
        self.greeted: Callable[[], None] = lambda: None
        """Called once the server said that it speaks SSH."""
        self.trusted: Callable[[], None] = lambda: None
        """Called once the server's key was accepted: what follows is the login."""
        self._first_line = b""
        self.known = False
        """The server has shown a host key that was accepted."""
        self._connection: asyncssh.SSHClientConnection | None = None
        self._authenticator = authenticator
        self._host_keys = host_keys
        self._log = log

    @property
    def method(self) -> str:
        """The authentication method that was used last: the one that let us in."""
        return self._authenticator.tried[-1] if self._authenticator.tried else "none"

    @property
    def tried(self) -> bool:
        """Something was offered to the server that would let us in."""
        return bool(self._authenticator.tried)

    @property
    def settings(self) -> Settings:
        """Those of the hop."""
        return self._authenticator.settings

    @property
    def passed_over(self) -> list[str]:
        """See ``Authenticator.passed_over``."""
        return self._authenticator.passed_over

    @property
    def offered(self) -> list[str]:
        """See ``Authenticator.offered``; empty if the server let us in without asking for anything."""
        return self._authenticator.offered

    @property
    def host_key(self) -> HostKey:
        """How the key of this connection was judged."""
        return self._host_keys.judged

    @property
    def host_keys(self) -> HostKeyJudge:
        """What judged it."""
        return self._host_keys

    @property
    def said(self) -> str:
        """The first line of what answers, or as much of it as is needed to see what it is."""
        return one_line(self._first_line.partition(b"\n")[0].decode(errors="replace"))

    @property
    def begun(self) -> bool:
        """True once the server said that it speaks SSH."""
        return self._connection is not None and bool(self._connection.get_extra_info("server_version"))

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """The connection, before anything is said on it."""
        self._connection = conn
        # asyncssh's own judgement does not fall back from a certificate to its key, checks no length, and
        # lets the server sign with what was not offered
        conn.validate_server_host_key = self._validated  # type: ignore[method-assign]
        read_version = conn._recv_version  # keeps nothing of a peer that does not speak SSH

        def note_and_read() -> bool:
            if b"\n" not in self._first_line:
                self._first_line = bytes(conn._inpbuf[:SAID_LIMIT])
            more = read_version()
            if self.begun:
                self.greeted()
            return more

        conn._recv_handler = note_and_read

    def _validated(self, key_data: bytes) -> asyncssh.SSHKey:
        """The key the server has to sign with, at each key exchange. Raises HostKeyNotVerifiable."""
        try:
            key, shown_key = taken_apart(key_data)
        except ValueError as error:
            raise asyncssh.HostKeyNotVerifiable(f"what it shows as its key cannot be read: {error}") from None
        if not self._host_keys.accepts(shown_key):
            raise asyncssh.HostKeyNotVerifiable("the host key is not accepted")
        key.all_sig_algorithms = key.all_sig_algorithms & self._host_keys.signatures
        if not self.known:
            self.known = True
            self.trusted()
        return key

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self.lost is not None:
            self.lost(exc)

    def auth_banner_received(self, msg: str, lang: str) -> None:
        """A text shown before login, or the reason why there is none: PAM's words come after the attempt."""
        if self._authenticator.tried:
            self._authenticator.banner = one_line(msg.strip()) or self._authenticator.banner
        for line in self._authenticator.attributed(msg.rstrip()).split("\n"):
            self._log(line)

    def _note_offered(self) -> None:
        """Keeps the server's first list (RFC 4252 §5.1): later lists are what is left of it."""
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
