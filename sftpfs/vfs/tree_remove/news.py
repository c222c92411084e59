"""What a removal has to say: how far it is, what failed and why, and, if asked for, what went.

Bounded: a removal waits for whoever should take its news.
"""

from __future__ import annotations

from typing import NamedTuple

import trio

MOST_UNTAKEN = 5000
"""Paths nobody took yet, at which the removal waits: they are taken some times a second, and a person reads
no more."""


class Failed(NamedTuple):
    """A path that could not be removed."""

    target: int
    path: bytes
    """Below what was asked for; empty for that itself."""
    problem: OSError


class Went(NamedTuple):
    """A path that was removed."""

    target: int
    path: bytes
    directory: bool


class News:
    """See the module. ``count`` is how many names were removed, ``failures`` how many could not be."""

    def __init__(self, *, verbose: bool) -> None:
        self.count = 0
        self.failures = 0
        self.stopped: OSError | None = None
        """Why the removal ended early: the server is out of reach."""
        self._verbose = verbose
        self._failed: list[Failed] = []
        self._went: list[Went] = []
        self._taken = trio.Event()

    def failed(self, target: int, path: bytes, problem: OSError) -> None:
        """A path could not be removed."""
        self.failures += 1
        self._failed.append(Failed(target, path, problem))

    def went(self, target: int, path: bytes, *, directory: bool) -> None:
        """A path was removed."""
        self.count += 1
        if self._verbose:
            self._went.append(Went(target, path, directory))

    @property
    def verbose(self) -> bool:
        """Somebody wants to know each path."""
        return self._verbose

    def take(self) -> tuple[list[Failed], list[Went]]:
        """What is new."""
        new = self._failed, self._went
        self._failed, self._went = [], []
        self._taken.set()
        self._taken = trio.Event()
        return new

    async def room(self) -> None:
        """Waits until there is room for more."""
        while len(self._failed) + len(self._went) >= MOST_UNTAKEN:
            await self._taken.wait()
