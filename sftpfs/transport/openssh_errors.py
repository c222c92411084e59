"""What OpenSSH's client says about a connection it could not make, as far as that can be believed.

Its exit status is 255 for every failure of its own, and the server may choose the same status. So the kind of
failure is read from its last line. Once a session was entered, anybody's words may be on standard error.
Before that only two things can be there besides ssh's own words: a banner, which ssh's last line follows, and
what a proxy says. Only ``LogLevel=DEBUG1`` shows when a session is entered; ``transport.program`` sets it,
and nobody is shown those lines.
"""

from __future__ import annotations

import re

from sftpfs.errors import Failure
from sftpfs.transport.messages import one_line

OWN_FAILURE = 255
"""ssh's exit status if ssh itself failed (ssh(1), EXIT STATUS)."""

DEBUG = "debug1: "
CHATTER = (DEBUG, "Authenticated to ", "Transferred: sent ", "Bytes per second: sent ")
"""Lines that only the raised log level brings."""
ENTERED = ("debug1: Entering interactive session", "debug1: mux_client_request_session: master session id")
"""A session with the server was entered, ssh's own or one of a ControlMaster."""

REFUSAL = re.compile(r"^debug1: kex_exchange_identification: banner line \d+: (.+)$")
"""What a server says instead of its version, as sshd does if it has no room for a client or penalises it. ssh
shows it to nobody."""
GREETED = "debug1: Remote protocol version "
REACHED = re.compile(r"^debug1: Connecting to \S+ \[([0-9A-Fa-f:.]+(?:%\S+)?)\] port (\d+)\.$")
"""An address that ssh tries; the last one let it in."""
PROXY_STARTED = ("debug1: Executing proxy command: ", "debug1: Executing proxy dialer command: ")
"""ssh reaches the server by a program, and tries no address itself. An ssh that is this program, as with a
jump host, may say in the same pipe which address it tries; that is another server's."""

LINE_LIMIT = 4096
"""Bytes kept of a line; its end is what matters."""

CHANGED = re.compile("REMOTE HOST IDENTIFICATION HAS CHANGED|REVOKED HOST KEY")
PROXY_ENDED = re.compile("^(Connection closed by|banner exchange: Connection to) UNKNOWN port 65535")
"""What a proxy says may come after that line, in a pipe shared with it."""
PROXY_KILLED = re.compile(r"^Killed by signal \d+\.$")
"""What an ssh that is the proxy says when the one before it ends."""
STATED_REASON, ENDED = "Received disconnect from ", "Disconnected from "
"""The server's reason, and the line behind it that has none."""
TOO_MANY = re.compile("^Received disconnect from .*: Too many authentication failures$")

KINDS = (
    (r"^ssh: Could not resolve hostname ", Failure.NAME_NOT_FOUND),
    (r"^ssh: connect to host .* port \d+: Connection refused$", Failure.REFUSED),
    (r"^ssh: connect to host .* port \d+: Connection timed out$", Failure.TIMED_OUT),
    (r"^ssh: connect to host ", Failure.UNREACHABLE),
    (r"^Connection to .* port \d+ timed out$", Failure.TIMED_OUT),
    (r"^Unable to negotiate with |^banner exchange: |^Bad server host key: ", Failure.PROTOCOL),
    (r"^ssh_dispatch_run_fatal: ", Failure.PROTOCOL),
    (r"^Host key verification failed\.$", Failure.HOST_KEY_UNKNOWN),
    (r"^\S+:? line \d+: |: terminating, \d+ bad conf", Failure.CONFIGURATION),
    (r"^Bad owner or permissions on |^Can't open user config file ", Failure.CONFIGURATION),
    # a banner without an end of line may stand before it
    (r": Permission denied \([a-z0-9@.,-]*\)\.$", Failure.AUTHENTICATION),
)
"""ssh's last line and what it means, in the order they are tried: what holds words of a server, the list of
its algorithms, is known by its beginning."""


class SshWords:
    """Standard error of one ssh, line by line."""

    def __init__(self) -> None:
        self._last = ""
        self._refusal = ""
        self._stated_reason = ""
        self._address: tuple[str, ...] | None = None
        self._by_proxy = False
        self._greeted = False
        self._entered = False
        self._debugging = False
        self._changed = False
        self._proxy_ended = False
        self._too_many = False
        self._rest = b""

    @property
    def last(self) -> str:
        """The last line for people, fit for a terminal, and what the server said in place of its version."""
        if self._refusal and not self._greeted and self._last:
            return f"{self._last}; the server says '{self._refusal}'"
        return self._stated_reason if self._stated_reason and self._last.startswith(ENDED) else self._last

    @property
    def address(self) -> tuple[str, ...] | None:
        """The address and port of the server that greeted ssh; None where that is not known."""
        return self._address if self._greeted and not self._by_proxy else None

    @property
    def logging_in(self) -> bool:
        """The server has greeted ssh, and not let it in yet."""
        return self._greeted and not self._entered

    def take(self, chunk: bytes | bytearray) -> list[str]:
        """The lines that ended with ``chunk``; those for people are returned."""
        *ended, rest = (self._rest + chunk).split(b"\n")
        self._rest = bytes(rest[-LINE_LIMIT:])
        return [line for text in ended if (line := self._line(text)) is not None]

    def finish(self) -> list[str]:
        """What was left without an end of line."""
        return self.take(b"\n") if self._rest else []

    def _line(self, text: bytes) -> str | None:
        line = text.decode(errors="replace").rstrip("\r")
        self._debugging = self._debugging or line.startswith(DEBUG)
        self._by_proxy = self._by_proxy or line.startswith(PROXY_STARTED)
        reached = REACHED.search(line)
        if reached and not self._greeted:
            self._address = reached.groups()
        self._greeted = self._greeted or line.startswith(GREETED)
        self._entered = self._entered or line.startswith(ENTERED)
        refusal = REFUSAL.search(line)
        if refusal and not self._greeted:
            self._refusal = self._refusal or one_line(refusal[1])
        if line.startswith(CHATTER):
            return None
        self._changed = self._changed or bool(CHANGED.search(line))
        self._proxy_ended = self._proxy_ended or bool(PROXY_ENDED.search(line))
        self._too_many = bool(TOO_MANY.search(line)) or (self._too_many and line.startswith(ENDED))
        if line.startswith(STATED_REASON):
            self._stated_reason = one_line(line)
        if not PROXY_KILLED.search(line):
            self._last = one_line(line) or self._last
        return line

    def failure(self, status: int | None) -> Failure | None:
        """What kind of failure ended it with ``status``; None where that cannot be told for certain."""
        if status != OWN_FAILURE or self._entered:
            return None
        if self._proxy_ended:
            return Failure.UNREACHABLE
        for pattern, failure in KINDS:
            if re.search(pattern, self._last):
                changed = failure is Failure.HOST_KEY_UNKNOWN and self._changed
                return Failure.HOST_KEY_CHANGED if changed else failure
        if self._too_many:
            return Failure.AUTHENTICATION
        return Failure.TRANSPORT if self._debugging else None
