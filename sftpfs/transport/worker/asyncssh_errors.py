"""The words for a connection that could not be made, from what asyncssh and the system raise.

Runs in a transport worker; ``transport.connect_errors`` has those that need no SSH.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import asyncssh

from sftpfs.errors import Failure, MountError
from sftpfs.transport.connect_errors import words
from sftpfs.transport.worker.authentication import Authenticator, Client
from sftpfs.transport.worker.hop_settings import Settings

PATIENCE = 1.0
"""If somebody was asked during a login longer than these seconds, it was that which took the time."""

WAITED = 5.0
"""Seconds of a login after which a server that ends it is assumed to have waited for somebody else."""

SSHD_IS_BUSY = ("Exceeded MaxStartups", "Not allowed at this time")
"""What OpenSSH's server says instead of its version to clients that it has no room for, or no longer has."""

OLD_SERVER = "what an old server needs can be added, as with -o HostKeyAlgorithms=+ssh-rsa"


class Circumstances(Protocol):
    """What is known of the failed attempt."""

    interactive: bool
    password_stdin: bool
    began: float
    asked: bool


def explain(
    error: Exception,
    settings: Settings,
    attempt: Circumstances,
    client: Client,
    authenticator: Authenticator,
    *,
    through: bool,
) -> MountError:
    """What a person reads of ``error``. ``through``: a jump host is on the way."""
    text = words(error)
    if isinstance(error, asyncssh.ChannelOpenError):
        return MountError(Failure.UNREACHABLE, f"the jump host cannot reach {settings}: {text}")
    if isinstance(error, asyncssh.PermissionDenied) or "authentication failures" in text:
        return authentication_failure(settings, attempt, authenticator, text)
    if isinstance(error, asyncssh.KeyExchangeFailed):
        if client.known:
            message = f"{settings} does not prove that the host key it shows is its own: {text}"
        else:
            message = f"{settings} and we share no algorithms: {text}; {OLD_SERVER}"
        return MountError(Failure.PROTOCOL, message)
    if isinstance(error, UnicodeDecodeError):
        text = "it sends bytes that are not ASCII where only ASCII may be"
    otherwise = something_else(client)
    if otherwise is not None:
        return otherwise
    if isinstance(error, asyncssh.ProtocolNotSupported | asyncssh.ProtocolError | UnicodeDecodeError):
        return MountError(Failure.PROTOCOL, f"what answers at {settings} does not speak SSH 2: {text}")
    if isinstance(error, asyncssh.ServiceNotAvailable):
        return MountError(Failure.PROTOCOL, f"{settings} refuses SSH service: {text}")
    where = f"{settings} through its jump host" if through else str(settings)
    if isinstance(error, asyncssh.Error | ConnectionError):
        if authenticator.banner:  # sshd ends the connection if PAM's account rules refuse somebody
            message = f"{where} does not let {settings.user} in: it says '{authenticator.banner}'"
            return MountError(Failure.AUTHENTICATION, message)
        return _broken_off(where, text, attempt, client)
    if isinstance(error, ValueError):
        return MountError(Failure.CONFIGURATION, f"ssh options for {settings}: {text}")
    return MountError(Failure.TRANSPORT, f"cannot connect to {where}: {text}")


def something_else(client: Client) -> MountError | None:
    """The words for a peer that said something, but not that it speaks SSH 2; None if it said nothing."""
    settings, said = client.settings, client.said
    if client.begun or not said or said.startswith(("SSH-2.0-", "SSH-1.99-")):
        return None
    if said.startswith(SSHD_IS_BUSY):
        message = f"{settings} takes no further connection just now: it says '{said}'; try again later"
        return MountError(Failure.TRANSPORT, message)
    message = f"what answers at {settings} does not speak SSH 2: it says '{said}'; check host and port (-p)"
    return MountError(Failure.PROTOCOL, message)


def _broken_off(where: str, text: str, attempt: Circumstances, client: Client) -> MountError:
    if not client.begun:
        return MountError(
            Failure.TRANSPORT,
            f"{where} closed the connection before it said a word ({text}); "
            "does an SSH server listen there? its log may say why",
        )
    if not client.known:  # its end may overtake what it would have had us choose from
        message = f"{where} broke off as keys were to be exchanged ({text}); {OLD_SERVER}"
        return MountError(Failure.PROTOCOL, message)
    took = asyncio.get_running_loop().time() - attempt.began
    if attempt.asked and took >= PATIENCE:
        message = (
            f"{where} closed the connection {took:.0f} s into the login, while it waited for an answer: "
            "it gives no more time than that (LoginGraceTime)"
        )
        return MountError(Failure.TRANSPORT, message)
    if client.tried and took >= WAITED:  # to begin again at once would ask them once more
        message = (
            f"{where} closed the connection {took:.0f} s into the login, which nobody agreed to there in the "
            "time it gives (LoginGraceTime), or its log says why"
        )
        return MountError(Failure.AUTHENTICATION, message)
    return MountError(
        Failure.TRANSPORT, f"{where} closed the connection during login ({text}); its log may say why"
    )


def authentication_failure(
    settings: Settings, attempt: Circumstances, authenticator: Authenticator, text: str
) -> MountError:
    """The words for a refused login: the methods tried, and what to do."""
    tried = ", ".join(authenticator.tried) or "none the server offers"
    untried = [method for method in authenticator.offered if method not in authenticator.tried]
    if untried:
        tried += f"; offered too: {', '.join(untried)}"
    if "Too many" in text and "publickey" not in authenticator.tried:
        cure = "it allows no further try (MaxAuthTries); check the user name and the password"
    elif "Too many" in text:
        cure = "too many keys were offered; name the one to use: -o IdentityFile=FILE -o IdentitiesOnly=yes"
    elif attempt.password_stdin and authenticator.passwords_given:
        cure = "the password from standard input was refused"
    elif authenticator.locked_files:
        cure = f"the key {authenticator.locked_files[0]} needs its passphrase; load it into ssh-agent"
    elif authenticator.unusable_files:
        cure = f"the key {authenticator.unusable_files[0]}"
    elif settings.batch:
        cure = "BatchMode=yes asks for no password; load a key into ssh-agent or name one with IdentityFile"
    elif attempt.password_stdin:
        cure = "there was no password on standard input, or none was asked for"
    elif authenticator.passwords_given:
        cure = "check the user name and the password"
    elif not attempt.interactive:
        cure = "nobody can be asked for a password; load a key into ssh-agent or name one with IdentityFile"
    else:
        cure = "check the user name, and that the server knows your key or password"
    if authenticator.banner:
        cure = f"it says '{authenticator.banner}'; {cure}"
    message = f"{settings.user}@{settings} refuses to let us in (methods tried: {tried}): {cure}"
    return MountError(Failure.AUTHENTICATION, message)
