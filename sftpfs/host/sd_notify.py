"""What systemd learns of a mount that runs as a service (sd_notify(3), Type=notify).

Owns NOTIFY_SOCKET and WATCHDOG_USEC. Without a service manager every call does nothing. Never waits: a
message that the manager has no room for is dropped.
"""

from __future__ import annotations

import os
import socket

LONGEST_STATUS = 400
"""Characters of a status line; systemd shows one line."""


class ServiceManager:
    """The service manager that started us, if one did.

    Takes its variables out of the environment, because what this process starts must not speak in its name.
    """

    __slots__ = ("_address", "_socket", "watchdog_interval")

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self.watchdog_interval = _watchdog_interval()
        """Seconds between two signs of life, half of what is demanded; 0 if none is."""
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @property
    def present(self) -> bool:
        """True if somebody listens."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """The mount is usable; this process is the one to watch."""
        self._send(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send(f"STATUS={_one_line(text)}")

    def stopping(self, status: str) -> None:
        """The end has begun."""
        self._send(f"STOPPING=1\nSTATUS={_one_line(status)}")

    def alive(self) -> None:
        """A sign of life for the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(errors="backslashreplace"), self._address)
        except OSError:
            pass  # the mount goes on without its manager


def _one_line(text: str) -> str:
    return " ".join(text.split())[:LONGEST_STATUS]


def _watchdog_interval() -> float:
    """From WATCHDOG_USEC, which counts if WATCHDOG_PID is us or not set."""
    microseconds = os.environ.pop("WATCHDOG_USEC", "")
    process = os.environ.pop("WATCHDOG_PID", "")
    if not microseconds.isdigit() or process not in ("", str(os.getpid())):
        return 0.0
    return int(microseconds) / 2e6
