"""Which keys of one server are taken, by known_hosts and the settings.

Owns what is decided without a person, and what is written down; ``transport.connecting`` asks
a person about the rest, one object an attempt. ``transport.hostkeys`` knows the files.
"""

from __future__ import annotations

from asyncssh.public_key import get_default_certificate_algs, get_default_public_key_algs

from sftpfs.errors import Failure, MountError
from sftpfs.transport import hostkeys
from sftpfs.transport.authentication import Log
from sftpfs.transport.control import HostKey
from sftpfs.transport.hostkeys import KnownHosts, Verdict
from sftpfs.transport.settings import Settings, StrictChecking


class HostKeyJudge:
    """Judges the keys one server shows (``HostKeyCheck``).

    After a refusal ``error`` says why, or ``unknown`` is the key to ask a person about.
    """

    def __init__(self, settings: Settings, log: Log) -> None:
        self.settings = settings
        self.known = KnownHosts.read((*settings.user_known_hosts, *settings.global_known_hosts))
        self.error: MountError | None = None
        self.unknown: bytes | None = None
        self.judged = HostKey.TAKEN
        self._approved: bytes | None = None
        self._log = log

    @property
    def display(self) -> str:
        """The host as a person knows it."""
        name = self.settings.known_hosts_name
        return name if name != self.settings.host.lower() else self.settings.host

    def accepts(self, key: bytes) -> bool:
        """True where ``key`` is known, or may be taken without asking."""
        settings = self.settings
        answer = self.known.check(settings.known_hosts_name, settings.bare_name, key)
        shown = f"{hostkeys.type_label(key)} {hostkeys.fingerprint(key)}"
        if key == self._approved:  # by a person: known_hosts was read before
            self.judged = HostKey.CONFIRMED
            self._log(f"the host key is the one accepted: {shown}")
            return True
        if answer.verdict is Verdict.KNOWN:
            self.judged = HostKey.KNOWN
            self._log(f"the host key is the one known: {shown}")
            return True
        if answer.entry is not None:
            self.error = hostkeys.changed_error(self.display, settings.known_hosts_name, key, answer.entry)
            return False
        if settings.strict in (StrictChecking.NO, StrictChecking.ACCEPT_NEW):
            self.approve(key)
            self.judged = HostKey.TAKEN
            return True
        self.unknown = key
        return False

    def accepts_authority(self, key: bytes) -> bool:
        """True where ``key`` may certify the server's."""
        settings = self.settings
        if self.known.trusts_authority(settings.known_hosts_name, settings.bare_name, key):
            self.judged = HostKey.CERTIFIED
            return True
        text = f"{hostkeys.type_label(key)} {hostkeys.fingerprint(key)}"
        message = f"host certificate of {self.display} is signed by an authority nobody trusts here: {text}"
        self.error = MountError(Failure.HOST_KEY_UNKNOWN, message)
        return False

    def approve(self, key: bytes) -> None:
        """Take ``key`` from now on, and write it down."""
        self._approved = key
        settings = self.settings
        if not settings.user_known_hosts:
            return
        path = settings.user_known_hosts[0]
        try:
            hostkeys.store(path, settings.known_hosts_name, key, settings.hash_known_hosts)
        except OSError as error:
            self._log(f"could not add the host key to {path}: {error.strerror}")
            return
        self._log(f"added {hostkeys.type_label(key)} key of {self.display} to {path}")

    def algorithms(self) -> list[str]:
        """Host key algorithms to offer: those of known keys first, as ssh does."""
        name, bare = self.settings.known_hosts_name, self.settings.bare_name
        usual = [algorithm.decode() for algorithm in get_default_public_key_algs()]
        known = [algorithm for algorithm in self.known.known_types(name, bare) if algorithm in usual]
        certified = [algorithm.decode() for algorithm in get_default_certificate_algs()]
        first = certified if self.known.has_authority(name, bare) else []
        return first + known + [algorithm for algorithm in usual if algorithm not in known]
