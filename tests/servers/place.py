"""Where a check works and what it says: the same on a local directory and on a mount, to be compared.

Nothing here knows what is right. A check says what it saw; the local directory said what is to be seen.
"""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PROGRAM_LIMIT = 50.0
"""Seconds for one program of a check; the check's own limit is longer."""

NAMES = errno.errorcode | {errno.EOPNOTSUPP: "EOPNOTSUPP"}
"""Number → name; of two names the one that is POSIX's for this."""

SHOWN = 48
"""Bytes of content shown as they are."""

Entry = tuple[str, str, str]
"""(kind, label, value): "saw" for what is to be the same, "tried" for what may be done or fail."""


@dataclass
class Account:
    """What a check said. ``error`` is what ended it; ``damage`` what should have been left alone."""

    seen: list[Entry] = field(default_factory=list)
    error: str = ""
    damage: list[str] = field(default_factory=list)
    arrived: bool = True
    """Whether all content that was to arrive did, though something else may have been refused."""


class ProgramFailed(Exception):
    """A program ended with a status other than 0; the text is what it said."""


def described(value: object) -> str:
    """A value as it is compared and shown: content by length, beginning and digest."""
    if not isinstance(value, bytes):
        return repr(value)
    if not value:
        return "empty"
    if len(value) > SHOWN and not any(value):
        return f"{len(value)} bytes, all zero"
    if len(value) <= SHOWN:
        return repr(value)
    return f"{len(value)} bytes {hashlib.sha1(value).hexdigest()[:10]}{_zeros(value)}"


def _zeros(value: bytes) -> str:
    zeros = value.count(0)
    return f" ({zeros} of them zero)" if zeros > len(value) // 20 else ""


def named(problem: OSError) -> str:
    """EIO and the like."""
    return NAMES.get(problem.errno or 0, str(problem))


class Place:
    """A directory of one check: ``here`` as mounted, ``there`` as the server has it; the same one locally.

    It was made on the server as the check began: what a check makes ``there`` first is seen ``here``.
    """

    def __init__(
        self, here: Path, there: Path, scratch: Path, account: Account, ask: Callable[[str], None]
    ) -> None:
        self.here = here
        self.there = there
        self.scratch = scratch
        """A local directory for what a check copies from and to; nobody else's while the check runs."""
        self._account = account
        self._ask = ask
        self._guarded: dict[str, tuple[bytes, ...]] = {}
        self._awaited: dict[str, bytes] = {}

    def saw(self, label: str, value: object) -> None:
        """This is to be as on a local directory: if it is not, nobody was told."""
        self._account.seen.append(("saw", label, described(value)))

    def tried(self, label: str, action: Callable[[], object]) -> bool:
        """Do what may fail, and say how it ended; whether it was done."""
        try:
            action()
        except OSError as problem:
            self._account.seen.append(("tried", label, named(problem)))
            return False
        self._account.seen.append(("tried", label, "done"))
        return True

    def guard(self, name: str, *contents: bytes) -> None:
        """Whatever fails, the server's file ``name`` has one of these contents at the end of the check."""
        self._guarded[name] = contents

    def arrives(self, name: str, content: bytes) -> None:
        """At the end the server's ``name`` is to have this content, also where its attributes are refused."""
        self._awaited[name] = content

    def kept(self, what: str, holds: bool) -> None:
        """Whatever was refused, this holds."""
        if not holds:
            self._account.damage.append(f"{what} is changed")

    def run(self, *words: str | Path, at: Path | None = None, limit: float = PROGRAM_LIMIT) -> str:
        """Run a program that has to end with 0; its output."""
        try:
            done = subprocess.run(
                [os.fspath(word) for word in words],
                cwd=at or self.scratch,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ProgramFailed(f"{words[0]} did not end within {limit:.0f} s") from None
        text = done.stdout.decode(errors="replace").strip()
        if done.returncode:
            raise ProgramFailed(f"{Path(words[0]).name} ended with {done.returncode}: {text[-400:]}")
        return text

    def shell(self, script: str, at: Path | None = None) -> str:
        """Run a script of bash that has to end with 0, in ``here`` unless said otherwise; its output."""
        return self.run("bash", "-ec", script, at=at or self.here)

    def cut(self) -> None:
        """Every connection to the server is reset, once. Nothing on a local directory."""
        self._ask("cut")

    def _content(self, name: str) -> bytes | None:
        try:
            return (self.there / name).read_bytes()
        except OSError:
            return None

    def look_at_the_end(self) -> None:
        """Say what is damaged and what did not arrive. However the check ended."""
        self._account.arrived = all(self._content(name) == data for name, data in self._awaited.items())
        for name, contents in self._guarded.items():
            try:
                found = (self.there / name).read_bytes()
            except OSError as problem:
                self._account.damage.append(f"{name}: {named(problem)} on the server")
                continue
            if found not in contents:
                wanted = " or ".join(map(described, contents))
                self._account.damage.append(f"{name} on the server is {described(found)}, not {wanted}")
