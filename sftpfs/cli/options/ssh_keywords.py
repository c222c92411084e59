"""The keywords of OpenSSH's client configuration (ssh_config(5)) that ``-o Name=value`` may carry.

Owns only the table. The default transport decides what it makes of a keyword; a ``ssh_command`` gets every
one.
"""

from __future__ import annotations

import os

_KEYWORDS = """
AddKeysToAgent AddressFamily BatchMode BindAddress BindInterface CASignatureAlgorithms
CanonicalDomains CanonicalizeFallbackLocal CanonicalizeHostname CanonicalizeMaxDots
CanonicalizePermittedCNAMEs CertificateFile ChallengeResponseAuthentication ChannelTimeout
CheckHostIP Ciphers ClearAllForwardings Compression CompressionLevel ConnectTimeout
ConnectionAttempts ControlMaster ControlPath ControlPersist DSAAuthentication DynamicForward
EnableEscapeCommandline EnableSSHKeysign EscapeChar ExitOnForwardFailure FingerprintHash
ForkAfterAuthentication ForwardAgent ForwardX11 ForwardX11Timeout ForwardX11Trusted
GSSAPIAuthentication GSSAPIClientIdentity GSSAPIDelegateCredentials GSSAPIKexAlgorithms
GSSAPIKeyExchange GSSAPIRenewalForcesRekey GSSAPIServerIdentity GSSAPITrustDns GatewayPorts
GlobalKnownHostsFile HashKnownHosts HostKeyAlgorithms HostKeyAlias HostName
HostbasedAcceptedAlgorithms HostbasedAuthentication HostbasedKeyTypes IPQoS IdentitiesOnly
IdentityAgent IdentityFile IgnoreUnknown Include KbdInteractiveAuthentication
KbdInteractiveDevices KeepAlive KexAlgorithms KnownHostsCommand LocalCommand LocalForward
LogLevel LogVerbose MACs NoHostAuthenticationForLocalhost NumberOfPasswordPrompts
ObscureKeystrokeTiming PKCS11Provider PasswordAuthentication PermitLocalCommand
PermitRemoteOpen Port PreferredAuthentications Protocol ProxyCommand ProxyJump ProxyUseFdpass
PubkeyAcceptedAlgorithms PubkeyAcceptedKeyTypes PubkeyAuthentication RSAAuthentication
RefuseConnection RekeyLimit RemoteCommand RemoteForward RequestTTY RequiredRSASize
RevokedHostKeys SecurityKeyProvider SendEnv ServerAliveCountMax ServerAliveInterval
SessionType SetEnv SmartcardDevice StdinNull StreamLocalBindMask StreamLocalBindUnlink
StrictHostKeyChecking SyslogFacility TCPKeepAlive Tag Tunnel TunnelDevice UpdateHostKeys
UseKeychain User UserKnownHostsFile VerifyHostKeyDNS VersionAddendum VisualHostKey
WarnWeakCrypto XAuthLocation
"""

SSH_KEYWORDS: dict[str, str] = {name.lower(): name for name in _KEYWORDS.split()}
"""Lower case → as ssh_config(5) writes it."""

_FILES = {"IdentityFile", "CertificateFile", "IdentityAgent", "RevokedHostKeys", "XAuthLocation"}
_FILE_LISTS = {"UserKnownHostsFile", "GlobalKnownHostsFile"}
_NOT_PATHS = ("none", "SSH_AUTH_SOCK", "yes", "no")


def absolute_paths(keyword: str, value: str) -> str:
    """``value`` with relative file names made absolute, if ``keyword`` names files.

    OpenSSH takes them from the current directory, which the daemon leaves.
    """
    if keyword in _FILES:
        return _absolute(value)
    if keyword in _FILE_LISTS and '"' not in value:
        return " ".join(_absolute(word) for word in value.split())
    return value


def _absolute(value: str) -> str:
    if not value or value in _NOT_PATHS or value[0] in "/~%$\"'":
        return value
    return os.path.abspath(value)
