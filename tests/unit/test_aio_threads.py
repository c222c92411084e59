"""Work in a thread where the system lets nobody start one for a while."""

from __future__ import annotations

import errno
import threading
from typing import Never

import pytest
import trio
import trio.testing
from trio._core import _thread_cache

from sftpfs import aio


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """As many threads as are in the list are refused; none is left over from before."""
    left = [0]
    real = threading.Thread.start

    def start(self: threading.Thread) -> None:
        if left[0]:
            left[0] -= 1
            raise RuntimeError(aio.NO_THREAD)
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(_thread_cache, "THREAD_CACHE", _thread_cache.ThreadCache())
    return left


def in_trio(work: object) -> object:
    async def run() -> object:
        return await aio.in_thread(lambda: work() if callable(work) else work, patience=3)

    return trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0.01))


def test_a_thread_is_waited_for(refused: list[int], caplog: pytest.LogCaptureFixture) -> None:
    refused[0] = 25
    assert in_trio(5) == 5
    assert len([one for one in caplog.records if "no thread can be started" in one.getMessage()]) == 1


def test_not_for_ever(refused: list[int]) -> None:
    refused[0] = 1000
    with pytest.raises(OSError, match="no thread") as failed:
        in_trio(5)
    assert failed.value.errno == errno.EAGAIN


def test_what_the_work_raises_is_its_own() -> None:
    def work() -> Never:
        raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match="of its own"):
        in_trio(work)
