"""The kernel's second question for a name whose first one took the whole deadline: not the deadline again."""

from __future__ import annotations

import errno
import stat
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
import trio
import trio.testing

from sftpfs.config import CacheConfig, SymlinkPolicy
from sftpfs.errors import SessionLostError
from sftpfs.remote.api import Remote
from sftpfs.types import Attributes
from sftpfs.vfs.file_identity import FileIdentity
from sftpfs.vfs.mapping.letter_case import LetterCase
from sftpfs.vfs.prefetch.background import BackgroundTasks
from sftpfs.vfs.prefetch.prefetcher import Prefetcher
from sftpfs.vfs.resolver import Resolver
from sftpfs.vfs.softreval import SoftRevalidation
from sftpfs.vfs.tree.tree import Tree
from tests.harness.server_time import known_clock

TIMEOUT = 30.0
FILE = Attributes(stat.S_IFREG | 0o644, 1, 0, 0, 1, 1)


class Server:
    """Lets everybody in; what it is asked it answers after ``histogram`` seconds, or not by the deadline."""

    away = False
    keeps_case_apart = True

    def __init__(self) -> None:
        self.latency = 0.0
        self.asked = 0

    async def lstat(self, _path: bytes) -> Attributes:
        self.asked += 1
        await trio.sleep(min(self.latency, TIMEOUT))
        if self.latency > TIMEOUT:
            raise SessionLostError("the server did not answer", errno.ETIMEDOUT)
        return FILE


class Nothing:
    """Stands where what works ahead stands: nothing is asked ahead."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_: None


Look = Callable[[], Awaitable[Any]]


def run(test: Callable[[Server, Look], Awaitable[None]]) -> None:
    """``test`` with a way to look up one name, on a clock that jumps over every wait."""

    async def inside() -> None:
        server = Server()
        remote = cast(Remote, server)
        tree = Tree(
            b"/srv",
            Attributes(stat.S_IFDIR | 0o755, 4096, 0, 0, 1, 1),
            CacheConfig(enabled=False),
            known_clock(),
        )
        ahead = cast(Prefetcher, Nothing())
        offline, identity = SoftRevalidation(remote, False, BackgroundTasks()), FileIdentity(tree, remote)
        cases = LetterCase(tree, remote)
        resolver = Resolver(tree, remote, ahead, offline, identity, cases, SymlinkPolicy.PASS, b"/mnt")
        await test(server, lambda: resolver.lookup(tree.root, b"name"))

    trio.run(inside, clock=trio.testing.MockClock(autojump_threshold=0))


async def fails(look: Look) -> float:
    """Seconds until the lookup has timed out."""
    begun = trio.current_time()
    with pytest.raises(SessionLostError) as raised:
        await look()
    assert raised.value.errno == errno.ETIMEDOUT
    return trio.current_time() - begun


def test_the_second_question_does_not_take_the_deadline_again() -> None:
    async def test(server: Server, look: Look) -> None:
        server.latency = 1000.0
        assert await fails(look) == TIMEOUT
        assert await fails(look) < 1.0
        assert server.asked == 2
        assert await fails(look) == TIMEOUT, "the next system call has a deadline of its own"

    run(test)


def test_the_second_question_is_answered_where_the_server_is_back() -> None:
    async def test(server: Server, look: Look) -> None:
        server.latency = 1000.0
        await fails(look)
        server.latency = 0.1
        assert (await look()).attributes == FILE

    run(test)
