"""``ProxyJump``: parses the hosts on the way.

Pure. Wherever their names come from, they must follow the rules for names of a command line, because ssh
starts itself for each, by a shell.
"""

from __future__ import annotations

from typing import NamedTuple

from sftpfs.errors import Failure, MountError
from sftpfs.server_names import host_fault, user_fault


class Hop(NamedTuple):
    """One jump host."""

    user: str | None
    host: str
    port: int | None


def jump_hops(text: str) -> tuple[Hop, ...]:
    """The hosts of a ProxyJump; "none" has none. Raises MountError(CONFIGURATION)."""
    if text.lower() == "none":
        return ()
    return tuple(_jump_hop(hop) for hop in text.split(",") if hop)


def _jump_hop(text: str) -> Hop:
    """``[ssh://][user@]host[:port]`` taken apart."""
    user, _, rest = text.removeprefix("ssh://").rstrip("/").rpartition("@")
    host, port = rest, ""
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    fault = host_fault(host) or user_fault(user)
    if fault:
        raise MountError(Failure.CONFIGURATION, f"ProxyJump {text!r}: {fault}")
    if not host or (port and not port.isdigit()):
        raise MountError(Failure.CONFIGURATION, f"ProxyJump {text!r}: use [user@]host[:port]")
    return Hop(user or None, host, int(port) if port else None)
