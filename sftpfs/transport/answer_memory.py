"""Answers that a person gave, kept for further connections: only in memory, and only those that worked.
And the password that standard input has."""

from __future__ import annotations

import os
from collections.abc import Iterable

import trio

from sftpfs.transport.api import PromptKind

LASTING = (PromptKind.PASSWORD, PromptKind.PASSPHRASE)


class AnswerMemory:
    """The secrets of one mount.

    INVARIANT: holds only answers given on connections that were then let in, and never a one-time answer. It
    holds a password that was refused only if that had let us in twice before.
    """

    __slots__ = ("_answers", "_proven")

    def __init__(self) -> None:
        self._answers: dict[str, str] = {}
        self._proven: set[str] = set()
        """Keys of answers that let us in more than once, and so are valid more than once."""

    def recall(self, kind: PromptKind, key: str, attempt: int) -> str | None:
        """The answer for ``key``, on its first try only: after that it is wrong."""
        return self._answers.get(key) if kind in LASTING and attempt == 0 else None

    def keep(self, answers: dict[str, str]) -> None:
        """Add what led to a login."""
        self._proven |= {key for key, answer in answers.items() if self._answers.get(key) == answer}
        self._answers.update(answers)

    def refused(self, keys: Iterable[str]) -> None:
        """The server let nobody in with the passwords of ``keys``. An answer that was valid once is not given
        again: it was a one-time secret, or was changed, and such attempts lock accounts and addresses."""
        for key in set(keys) - self._proven:
            self._answers.pop(key, None)

    def __repr__(self) -> str:
        return f"<{len(self._answers)} remembered answers>"


class StdinPassword:
    """The first line of stdin, read once (``password_stdin``)."""

    def __init__(self) -> None:
        self._password: str | None = None
        self._taken = False

    async def read(self) -> str | None:
        """The password; None if stdin had none, or once it is ``spent``."""
        if not self._taken:
            self._taken = True
            line = await trio.to_thread.run_sync(read_line, abandon_on_cancel=True)
            self._password = line.rstrip("\r\n") if line else None
        return self._password

    def spent(self) -> None:
        """It is not to be given again from here: what is lies in the memory."""
        self._password = None


def read_line() -> str:
    """One line of stdin, and not a byte further: the rest is not ours."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return line.decode(errors="surrogateescape")
