"""The keys of the servers that this mount logged in to. Every later connection must show them again.

If known_hosts keeps nothing (UserKnownHostsFile=none, a home that cannot be written), a later connection
would otherwise have to ask a person when nobody can be asked, or take any key. The front keeps the keys for
the life of the mount, one for each hop, by its name in known_hosts.

Of a host certificate the authority is kept, not the key inside: the certificate expires, and the next one may
hold another key.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from sftpfs.transport.messages import HostKey


@dataclass(frozen=True, slots=True)
class Pin:
    """A key as on the wire. ``certified``: it is the key of the authority that signed the host's."""

    key: bytes
    certified: bool
    judged: HostKey
    """How the key was judged at the first login."""

    def message(self) -> dict[str, Any]:
        """For the control socket."""
        key = base64.b64encode(self.key).decode()
        return {"key": key, "certified": self.certified, "judged": self.judged.value}

    @classmethod
    def of(cls, message: dict[str, Any]) -> Pin:
        """What ``message`` made. Raises ValueError, KeyError."""
        key = base64.b64decode(message["key"], validate=True)
        return cls(key, bool(message["certified"]), HostKey(message["judged"]))


class Pins:
    """INVARIANT: holds only keys of connections that were let in."""

    __slots__ = ("_pins",)

    def __init__(self) -> None:
        self._pins: dict[str, Pin] = {}

    def message(self) -> dict[str, dict[str, Any]]:
        """Name of the hop → its pin."""
        return {name: pin.message() for name, pin in self._pins.items()}

    def keep(self, shown: dict[str, dict[str, Any]]) -> str | None:
        """Keeps what a login has shown. Returns the hop whose key another login contradicts, or None.

        That can only happen if two logins began before either had ended. A key in known_hosts is no
        contradiction: somebody who may write there added it meanwhile.
        """
        found = {name: Pin.of(message) for name, message in shown.items()}
        for name, pin in found.items():
            held = self._pins.get(name)
            known = pin.judged in (HostKey.KNOWN, HostKey.CERTIFIED)
            if held is not None and not known and (held.key, held.certified) != (pin.key, pin.certified):
                return name
        self._pins.update(found)
        return None
