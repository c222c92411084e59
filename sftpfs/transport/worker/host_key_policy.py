"""Which keys of one server are accepted: by known_hosts, by the settings, and by what the mount logged in to
before.

Owns what is decided without a person, and what is written to known_hosts. ``transport.worker.ssh_connect``
asks a person about the rest, one object an attempt. ``transport.keys.known_hosts`` knows the files.

What revokes or contradicts comes first, then what known_hosts says, then the mount's pinned keys, and last
what may be accepted unseen. If a certificate vouches for nothing, the key in it is judged as if it had come
without, as in ssh.
"""

from __future__ import annotations

from sftpfs.errors import Failure, MountError
from sftpfs.transport.keys import known_hosts
from sftpfs.transport.keys.host_key import Certificate, ShownKey
from sftpfs.transport.keys.known_hosts import KnownHosts, Verdict
from sftpfs.transport.keys.pinned_keys import Pin
from sftpfs.transport.keys.user_keys import Log
from sftpfs.transport.messages import HostKey
from sftpfs.transport.worker.algorithms import CERTIFICATE, Algorithms, key_type_of, plain
from sftpfs.transport.worker.hop_settings import Settings, StrictChecking


class HostKeyJudge:
    """Judges the keys that one server shows, while keys are exchanged: it cannot wait.

    After a refusal ``error`` says why, or ``unknown`` is the key to ask a person about. ``pin`` is what every
    further key of this attempt, and of the mount, must be.
    """

    def __init__(
        self,
        settings: Settings,
        algorithms: Algorithms,
        log: Log,
        pin: Pin | None = None,
        keep_taken: bool = True,
    ) -> None:
        """``keep_taken``: also writes down what was accepted although nobody confirmed it."""
        self.settings = settings
        self.known = KnownHosts.read((*settings.user_known_hosts, *settings.global_known_hosts))
        self.error: MountError | None = None
        self.unknown: bytes | None = None
        self.pin = pin
        self.offered = self._in_order(algorithms)
        """Host key algorithms, the preferred first."""
        self._authorities = algorithms.authorities
        self._log = log
        self._keep_taken = keep_taken

    @property
    def name(self) -> str:
        """As ``Settings.known_hosts_name``."""
        return self.settings.known_hosts_name

    @property
    def judged(self) -> HostKey:
        """How the key was judged that was accepted last."""
        return self.pin.judged if self.pin is not None else HostKey.TAKEN

    @property
    def display(self) -> str:
        """The host as a person knows it."""
        return self.name if self.name != self.settings.host.lower() else self.settings.host

    @property
    def signatures(self) -> set[bytes]:
        """The signatures that the server's key may prove itself with; SHA-1 only if somebody asked for
        ssh-rsa."""
        return {plain(algorithm).encode() for algorithm in self.offered}

    def accepts(self, shown: ShownKey) -> bool:
        """True if the key is known, or may be accepted without asking."""
        self.error = self._unfit(shown) or self._revoked(shown)
        if self.error is not None:
            return False
        if shown.certificate is not None:
            fault = self._fault(shown.certificate)
            if not fault:
                self.pin = Pin(shown.certificate.authority, True, HostKey.CERTIFIED)
                return True
            self._log(f"the host certificate of {self.display} does not count: {fault}")
        return self._accepts_plain(shown.key)

    def _accepts_plain(self, key: bytes) -> bool:
        answer = self.known.check(self.name, self.settings.bare_name, key)
        if answer.verdict is Verdict.CHANGED and answer.entry is not None:
            self.error = known_hosts.changed_error(self.display, self.name, key, answer.entry)
            return False
        pin = self.pin
        label = f"{known_hosts.type_label(key)} {known_hosts.fingerprint(key)}"
        if pin is not None and pin.key == key and not pin.certified:
            self._log(f"the host key is the one this mount holds to: {label}")
            return True
        if answer.verdict is Verdict.KNOWN:
            self._log(f"the host key is the one known: {label}")
            self.pin = Pin(key, False, HostKey.KNOWN)
            return True
        if pin is not None:
            self.error = known_hosts.another_error(self.display, key, pin.key, pin.certified)
            return False
        if self.settings.strict in (StrictChecking.NO, StrictChecking.ACCEPT_NEW):
            self._take(key, HostKey.TAKEN)
            return True
        self.unknown = key
        return False

    def approve(self, key: bytes) -> None:
        """A person accepts ``key``."""
        self._take(key, HostKey.CONFIRMED)

    def _take(self, key: bytes, judged: HostKey) -> None:
        """From now on requires ``key``, and writes it down."""
        self.pin = Pin(key, False, judged)
        settings = self.settings
        if not settings.user_known_hosts or (judged is HostKey.TAKEN and not self._keep_taken):
            return
        path = settings.user_known_hosts[0]
        try:
            known_hosts.store(path, self.name, key, settings.hash_known_hosts)
        except OSError as error:
            self._log(f"could not add the host key to {path}: {error.strerror}")
            return
        self._log(f"added {known_hosts.type_label(key)} key of {self.display} to {path}")

    def _unfit(self, shown: ShownKey) -> MountError | None:
        """Faults that no known_hosts makes good."""
        if shown.kind not in map(key_type_of, self.offered):
            message = f"{self.settings} shows a host key of a type it was not asked for: {shown.kind}"
            return MountError(Failure.PROTOCOL, message)
        bits = known_hosts.rsa_bits(shown.key)
        if bits is not None and bits < self.settings.least_rsa_bits:
            message = (
                f"host key of {self.display} is too short: RSA of {bits} bits, where RequiredRSASize "
                f"asks for {self.settings.least_rsa_bits}"
            )
            return MountError(Failure.PROTOCOL, message)
        return None

    def _revoked(self, shown: ShownKey) -> MountError | None:
        certificate = shown.certificate
        keys = [("host key", shown.key)]
        if certificate is not None:
            keys.append(("the authority of the host key", certificate.authority))
        for what, key in keys:
            entry = self.known.revoked(self.name, self.settings.bare_name, key)
            if entry is not None:
                return known_hosts.revoked_error(self.display, what, key, entry)
        return None

    def _fault(self, certificate: Certificate) -> str:
        """Why ``certificate`` does not vouch for this server; "" if it does."""
        settings = self.settings
        authority = certificate.authority
        held = self.pin is not None and self.pin.certified and self.pin.key == authority
        if not held and not self.known.trusts_authority(self.name, settings.bare_name, authority):
            label = f"{known_hosts.type_label(authority)} {known_hosts.fingerprint(authority)}"
            return f"it is signed by an authority nobody trusts here, {label}"
        if certificate.fault:
            return certificate.fault
        if certificate.algorithm not in self._authorities:
            return f"it is signed with {certificate.algorithm} (CASignatureAlgorithms)"
        name = (settings.host_key_alias or settings.host).lower()
        if certificate.principals and name not in certificate.principals:
            return f"it is for {', '.join(certificate.principals)}"
        return ""

    def _in_order(self, algorithms: Algorithms) -> tuple[str, ...]:
        """Puts algorithms of known keys first, as ssh does; certificates only if an authority is known.

        A key known for the bare name says nothing of this port: dropbear 2022 offers RSA without having such
        a key, and ends if it is chosen.
        """
        if algorithms.host_keys_ordered:
            return algorithms.host_keys
        bare = self.settings.bare_name
        certified = self.known.has_authority(self.name, bare) or (self.pin is not None and self.pin.certified)
        types = self.known.known_types(self.name)
        pinned = known_hosts.key_type(self.pin.key) if self.pin is not None and not self.pin.certified else ""
        usual = [one for one in algorithms.host_keys if certified or not one.endswith(CERTIFICATE)]

        def rank(algorithm: str) -> tuple[bool, bool]:
            kind = key_type_of(algorithm)
            return kind != pinned, kind not in types

        certificates = [one for one in usual if one.endswith(CERTIFICATE)]
        return (*certificates, *sorted((one for one in usual if one not in certificates), key=rank))
