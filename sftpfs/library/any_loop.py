"""Blocking work that a program on asyncio or on trio can await.

Knows nothing of mounts. Imports neither library before somebody waits.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], stop: Callable[[], None] | None = None) -> T:
    """Runs ``work`` in its own thread, and returns or raises what it does.

    It is waited for to its end in any case, so that nothing of it goes on unseen. If the caller is cancelled
    meanwhile, ``stop`` is called, which must make ``work`` end soon, and the cancellation goes on. Without
    ``stop`` a failure of ``work`` takes precedence over the cancellation, because nothing would report it
    later.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="sftpfs", daemon=True).start()
    wait = _wait_in_trio if _within_trio() else _wait_in_asyncio
    try:
        await wait(outcome, stop)
    except BaseException:
        if stop is None:
            outcome.result()
        raise
    return outcome.result()


def _within_trio() -> bool:
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True


async def _wait_in_trio(outcome: Future[T], stop: Callable[[], None] | None) -> None:
    import trio

    token = trio.lowlevel.current_trio_token()
    done = trio.Event()
    outcome.add_done_callback(lambda _: token.run_sync_soon(done.set))
    with trio.CancelScope(shield=stop is None):
        try:
            await done.wait()
        except trio.Cancelled:
            if stop is not None:
                stop()
            with trio.CancelScope(shield=True):
                await done.wait()
            raise


async def _wait_in_asyncio(outcome: Future[T], stop: Callable[[], None] | None) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    outcome.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
    cancelled: asyncio.CancelledError | None = None
    while not done.is_set():
        try:
            await done.wait()
        except asyncio.CancelledError as error:
            if cancelled is None and stop is not None:
                stop()
            cancelled = error
    if cancelled is not None:
        raise cancelled
