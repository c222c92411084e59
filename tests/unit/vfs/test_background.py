"""Work nobody waits for must not take the mount with it."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing

from sftpfs.vfs.prefetch.background import BackgroundTasks


@pytest.mark.parametrize(
    ("failure", "level"), [(OSError(5, "refused"), logging.DEBUG), (KeyError("slip"), logging.ERROR)]
)
def test_work_that_fails_is_logged_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture, failure: Exception, level: int
) -> None:
    done = []

    async def fail() -> None:
        raise failure

    async def work(value: int) -> None:
        done.append(value)

    async def main() -> None:
        background = BackgroundTasks()
        background.spawn(work, 0)  # before it runs: not done
        async with trio.open_nursery() as nursery:
            nursery.start_soon(background.run)
            await trio.testing.wait_all_tasks_blocked()
            background.spawn(fail)
            await trio.testing.wait_all_tasks_blocked()
            background.spawn(work, 1)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    with caplog.at_level(logging.DEBUG, logger="sftpfs.vfs.prefetch.background"):
        trio.run(main)
    assert done == [1]
    assert [record.levelno for record in caplog.records] == [level]
