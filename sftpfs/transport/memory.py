"""Answers a person gave, kept for further connections: in memory only, and only what worked."""

from __future__ import annotations

from sftpfs.transport.api import PromptKind

LASTING = (PromptKind.PASSWORD, PromptKind.PASSPHRASE)


class AnswerMemory:
    """The secrets of one mount.

    INVARIANT: holds only answers given on connections that were then let in, never a
    one-time answer.
    """

    __slots__ = ("_answers",)

    def __init__(self) -> None:
        self._answers: dict[str, str] = {}

    def recall(self, kind: PromptKind, key: str, attempt: int) -> str | None:
        """The answer for ``key``, on its first try only: after that it is wrong."""
        return self._answers.get(key) if kind in LASTING and attempt == 0 else None

    def keep(self, answers: dict[str, str]) -> None:
        """Add what led to a login."""
        self._answers.update(answers)

    def __repr__(self) -> str:
        return f"<{len(self._answers)} remembered answers>"
