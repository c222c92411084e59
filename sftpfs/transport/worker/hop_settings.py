"""The settings of one SSH connection, decided from ssh_config and the mount's own options.

Pure. ``Settings`` is made once for each hop (the server and every jump host).
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from enum import Enum

from sftpfs.errors import Failure, MountError
from sftpfs.host.account import home_directory
from sftpfs.transport.keys.known_hosts import LEAST_RSA_BITS
from sftpfs.transport.ssh_config.proxy_jump import Hop, jump_hops
from sftpfs.transport.ssh_config.reader import HostConfig
from sftpfs.transport.ssh_config.words import match_pattern

DEFAULT_IDENTITIES = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
"""Tried in this order if no IdentityFile is given, as in ssh."""

FAST_CIPHERS = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,"
SLOW_CIPHERS = "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,"
OTHER_CIPHERS = "aes128-ctr,aes192-ctr,aes256-ctr"
"""With AES instructions AES-128-GCM moves twice the bytes per CPU second of chacha20; without, half."""

ALGORITHM_KEYWORDS = {
    "ciphers": "Ciphers",
    "macs": "MACs",
    "kexalgorithms": "KexAlgorithms",
    "hostkeyalgorithms": "HostKeyAlgorithms",
    "casignaturealgorithms": "CASignatureAlgorithms",
    "pubkeyacceptedalgorithms": "PubkeyAcceptedAlgorithms",
}
"""The keywords that ``transport.worker.algorithms`` makes lists of."""

SWITCHED_OFF = ("no", "false", "none", "off")
UNSUPPORTED = {
    "revokedhostkeys": ("RevokedHostKeys", "put @revoked lines into known_hosts"),
    "knownhostscommand": (
        "KnownHostsCommand",
        "put its keys into known_hosts, and switch it off (-o KnownHostsCommand=none)",
    ),
    "checkhostip": ("CheckHostIP", "switch it off (-o CheckHostIP=no), as ssh has it since 8.5"),
    "canonicalizehostname": ("CanonicalizeHostname", "give the whole name, and -o CanonicalizeHostname=no"),
    "gssapiserveridentity": ("GSSAPIServerIdentity", "leave it out"),
    "proxyusefdpass": ("ProxyUseFdpass", "give a ProxyCommand that passes the bytes on"),
}
"""Keywords that check or choose the server, and cannot be heeded here. To ignore them would weaken a check
that somebody asked for (CanonicalizeHostname: the blocks of the whole name). With what to do instead."""


class StrictChecking(Enum):
    """``StrictHostKeyChecking``."""

    ASK = "ask"
    YES = "yes"
    NO = "no"
    ACCEPT_NEW = "accept-new"


@dataclass(frozen=True, slots=True)
class Defaults:
    """The mount's own values, used where neither options nor files say anything."""

    connect_timeout: float
    keepalive_interval: float
    keepalive_count: int
    compression: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about one hop; times in seconds."""

    original_host: str
    host: str
    port: int
    user: str
    family: int
    bind_address: str | None
    bind_interface: str | None
    connect_timeout: float
    keepalive_interval: float
    keepalive_count: int
    tcp_keepalive: bool
    compression: bool
    algorithms: dict[str, str]
    """Keyword → the list as given, for the keywords that were given."""
    rekey_limit: str | None
    least_rsa_bits: int
    proxy_jump: tuple[Hop, ...]
    proxy_command: str | None
    strict: StrictChecking
    host_key_alias: str | None
    user_known_hosts: tuple[str, ...]
    global_known_hosts: tuple[str, ...]
    hash_known_hosts: bool
    identity_files: tuple[str, ...]
    identities_given: bool
    """False if ``identity_files`` are the default ones, which may be missing silently."""
    certificate_files: tuple[str, ...]
    identities_only: bool
    agent: str | None
    """Path of the agent's socket."""
    batch: bool
    prompts: int
    pubkey: bool
    password: bool
    keyboard_interactive: bool
    gssapi: bool
    gssapi_key_exchange: bool
    gssapi_delegate: bool
    preferred: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]

    @property
    def known_hosts_name(self) -> str:
        """What the host is called in known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
        if self.host_key_alias:
            return self.host_key_alias.lower()
        name = self.host.lower()
        return name if self.port == 22 else f"[{name}]:{self.port}"

    @property
    def bare_name(self) -> str | None:
        """The name without the port, if ``known_hosts_name`` has one."""
        name = self.host.lower()
        return None if self.host_key_alias or self.port == 22 else name

    def __str__(self) -> str:
        return self.host if self.port == 22 else f"{self.host} port {self.port}"


def cpu_has_aes() -> bool:
    """True where the processor has AES instructions."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(("flags", "Features")):
                    return "aes" in line.split()
    except OSError:
        pass
    return False


def settings_for(config: HostConfig, defaults: Defaults) -> Settings:
    """Decides everything about one hop. Raises MountError(CONFIGURATION) for a value that makes no sense."""
    _refuse_unsupported(config)
    jump, command = _proxy(config)
    identities = _paths(config, "identityfile", ())
    ssh_directory = os.path.join(home_directory(), ".ssh")
    default_identities = tuple(os.path.join(ssh_directory, name) for name in DEFAULT_IDENTITIES)
    user_hosts = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
    global_hosts = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
    interval = config.seconds("serveraliveinterval", defaults.keepalive_interval)
    return Settings(
        original_host=config.original_host,
        host=config.host,
        port=config.port,
        user=config.user,
        family=_family(config),
        bind_address=config.text("bindaddress"),
        bind_interface=config.text("bindinterface"),
        connect_timeout=config.seconds("connecttimeout", defaults.connect_timeout)
        or defaults.connect_timeout,
        keepalive_interval=interval,
        keepalive_count=max(1, config.number("serveralivecountmax", defaults.keepalive_count)),
        tcp_keepalive=config.flag("tcpkeepalive", True),
        compression=config.flag("compression", defaults.compression),
        algorithms=_algorithms(config),
        rekey_limit=" ".join(config.words("rekeylimit")) or None,
        least_rsa_bits=max(LEAST_RSA_BITS, config.number("requiredrsasize", LEAST_RSA_BITS)),
        proxy_jump=jump,
        proxy_command=command,
        strict=_strict(config),
        host_key_alias=config.text("hostkeyalias"),
        user_known_hosts=_paths(config, "userknownhostsfile", user_hosts),
        global_known_hosts=_paths(config, "globalknownhostsfile", global_hosts),
        hash_known_hosts=config.flag("hashknownhosts", False),
        identity_files=identities or default_identities,
        identities_given=bool(identities),
        certificate_files=_paths(config, "certificatefile", ()),
        identities_only=config.flag("identitiesonly", False),
        agent=_agent(config),
        batch=config.flag("batchmode", False),
        prompts=config.number("numberofpasswordprompts", 3),
        pubkey=_pubkey(config),
        password=config.flag("passwordauthentication", True),
        keyboard_interactive=config.flag("kbdinteractiveauthentication", True),
        gssapi=config.flag("gssapiauthentication", False),
        gssapi_key_exchange=config.flag("gssapikeyexchange", False),
        gssapi_delegate=config.flag("gssapidelegatecredentials", False),
        preferred=tuple((config.text("preferredauthentications") or "").replace(",", " ").split()),
        environment=_environment(config),
    )


def _refuse_unsupported(config: HostConfig) -> None:
    """Refuses what would weaken the checks if it were ignored, and RefuseConnection."""
    refusal = " ".join(config.words("refuseconnection"))
    if refusal:
        message = f"RefuseConnection forbids connections to {config.host}: {refusal}"
        raise MountError(Failure.CONFIGURATION, message)
    for keyword, (name, cure) in UNSUPPORTED.items():
        if (config.text(keyword) or "none").lower() not in SWITCHED_OFF:
            message = f"{name} is not supported: {cure}, or use ssh_command=ssh"
            raise MountError(Failure.CONFIGURATION, message)


def _paths(config: HostConfig, keyword: str, default: tuple[str, ...]) -> tuple[str, ...]:
    words = config.words(keyword) or list(default)
    return tuple(config.path(word, keyword) for word in words if word.lower() != "none")


def _proxy(config: HostConfig) -> tuple[tuple[Hop, ...], str | None]:
    jump = config.text("proxyjump")
    command = config.text("proxycommand")
    if jump and jump.lower() != "none":
        return jump_hops(config.expand(jump, "ProxyJump")), None
    if command and command.lower() != "none":
        return (), config.command(command, "ProxyCommand")
    return (), None


def _family(config: HostConfig) -> int:
    families = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}
    value = (config.text("addressfamily") or "any").lower()
    if value not in families:
        raise MountError(Failure.CONFIGURATION, f"AddressFamily '{value}': use any, inet or inet6")
    return families[value]


def _strict(config: HostConfig) -> StrictChecking:
    value = (config.text("stricthostkeychecking") or "ask").lower()
    value = {"off": "no", "false": "no", "true": "yes"}.get(value, value)
    try:
        return StrictChecking(value)
    except ValueError:
        message = f"StrictHostKeyChecking '{value}': use yes, accept-new, ask or no"
        raise MountError(Failure.CONFIGURATION, message) from None


def _agent(config: HostConfig) -> str | None:
    value = config.text("identityagent")
    if value is None or value in ("SSH_AUTH_SOCK", "$SSH_AUTH_SOCK"):
        return os.environ.get("SSH_AUTH_SOCK") or None
    if value.lower() == "none":
        return None
    if value.startswith("$") and not value.startswith("${"):
        return os.environ.get(value[1:]) or None
    return config.path(value, "IdentityAgent")


def _pubkey(config: HostConfig) -> bool:
    value = (config.text("pubkeyauthentication") or "yes").lower()
    return value in ("unbound", "host-bound") or config.flag("pubkeyauthentication", True)


def _algorithms(config: HostConfig) -> dict[str, str]:
    return {name: " ".join(config.words(key)) for key, name in ALGORITHM_KEYWORDS.items() if config.has(key)}


def _environment(config: HostConfig) -> tuple[tuple[str, str], ...]:
    given = [word.partition("=") for word in config.words("setenv")]
    sent = {name: value for name, _, value in given}
    for pattern in config.words("sendenv"):
        for name, value in os.environ.items():
            if match_pattern(pattern, name):
                sent.setdefault(name, value)
    return tuple(sent.items())
