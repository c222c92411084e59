"""The keywords of ssh_config(5), and what sftpfs does with each.

Owns the decision which keywords are heeded, which are ignored, and why. ``transport.worker.hop_settings``
refuses, by name, those that nothing else heeds.
"""

from __future__ import annotations

_HANDLED = """addressfamily batchmode bindaddress bindinterface canonicalizehostname casignaturealgorithms
    certificatefile checkhostip ciphers compression connecttimeout
    globalknownhostsfile gssapiauthentication gssapidelegatecredentials gssapikeyexchange
    gssapiserveridentity hashknownhosts hostkeyalgorithms hostkeyalias hostname identitiesonly identityagent
    identityfile kbdinteractiveauthentication kexalgorithms knownhostscommand macs
    numberofpasswordprompts passwordauthentication port preferredauthentications proxycommand
    proxyjump proxyusefdpass pubkeyacceptedalgorithms pubkeyauthentication
    refuseconnection rekeylimit requiredrsasize revokedhostkeys serveralivecountmax serveraliveinterval setenv
    sendenv stricthostkeychecking tag tcpkeepalive user userknownhostsfile"""
HANDLED = frozenset(_HANDLED.split())
"""Keywords with a meaning here; some of them are heeded by being refused
(``transport.worker.hop_settings``)."""

_NO_SESSION = """clearallforwardings controlmaster controlpath controlpersist dynamicforward
    enableescapecommandline escapechar exitonforwardfailure fallbacktorsh forkafterauthentication forwardagent
    forwardx11 forwardx11timeout forwardx11trusted gatewayports localcommand localforward permitlocalcommand
    permitremoteopen remotecommand remoteforward requesttty sessiontype stdinnull streamlocalbindmask
    streamlocalbindunlink tunnel tunneldevice usersh xauthlocation channeltimeout obscurekeystroketiming"""
"""There is no terminal, no command and no forwarding, and one process a connection."""
_NO_LOGIN = """addkeystoagent afstokenpassing enablesshkeysign gssapiclientidentity gssapirenewalforcesrekey
    gssapitrustdns hostbasedacceptedalgorithms hostbasedauthentication hostbasedkeytypes kbdinteractivedevices
    keychainintegration pkcs11provider securitykeyprovider smartcarddevice usekeychain
    rhostsrsaauthentication rsaauthentication useblacklistedkeys"""
"""Ways to log in that are not tried, and keywords that the tried ones do without."""
_NO_TRUST = """nohostauthenticationforlocalhost updatehostkeys verifyhostkeydns"""
"""These trust more than known_hosts says; here only known_hosts is believed."""
_NO_SHOW = (
    """fingerprinthash loglevel logverbose syslogfacility visualhostkey warnweakcrypto versionaddendum"""
)
"""What is shown or logged, and how."""
_NO_MATTER = """canonicaldomains canonicalizefallbacklocal canonicalizemaxdots canonicalizepermittedcnames
    cipher compressionlevel connectionattempts globalknownhostsfile2 ignoreunknown include ipqos protocol
    useprivilegedport user2 userknownhostsfile2"""
"""Words that belong to a refused keyword, to version 1, to a socket, or to the file itself."""
IGNORED = frozenset(" ".join((_NO_SESSION, _NO_LOGIN, _NO_TRUST, _NO_SHOW, _NO_MATTER)).split())
"""Keywords that OpenSSH knows and that have nothing to act on here. None of them checks anything: see
SECURITY.md."""

ACCUMULATING = frozenset({"identityfile", "certificatefile", "sendenv"})
ONE_NAME = frozenset({"identityfile", "certificatefile", "identityagent"})
"""Keywords whose line names one file: ssh refuses what follows it, most often the rest of a name."""
ALIASES = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "tisauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
    "keepalive": "tcpkeepalive",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
}
"""Older names, as ssh takes them: of both names the first one obtained counts."""
RIVALS = {"proxyjump": "proxycommand", "proxycommand": "proxyjump"}
"""Of the two the first one obtained counts, and the other not at all (ssh_config(5), ProxyJump). Only
``ProxyJump none`` leaves it to ProxyCommand, as in ssh."""


def canonical(keyword: str) -> str:
    """The name ``keyword`` is kept under."""
    name = keyword.lower()
    return ALIASES.get(name, name)
