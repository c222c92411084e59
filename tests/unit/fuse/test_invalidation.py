"""Telling the kernel of names may take as long as the server does: nothing else waits with it."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pyfuse3
import pytest
import trio

from sftpfs.fuse import kernel_mount as fuse_mount
from sftpfs.fuse.kernel_mount import FuseMount
from tests.unit.vfs.test_tree import DIRECTORY

MANY = 60
"""More than the 40 threads that trio has for everybody."""


def test_nothing_else_waits_for_the_kernel_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    free, all_blocked = threading.Event(), trio.Event()
    blocked: list[bytes] = []

    def invalidate(directory: int, name: bytes) -> None:
        blocked.append(name)
        if len(blocked) == MANY:
            trio.from_thread.run_sync(all_blocked.set)
        assert free.wait(60)

    monkeypatch.setattr(pyfuse3, "invalidate_entry", invalidate)
    monkeypatch.setattr(fuse_mount, "Filesystem", lambda *_: SimpleNamespace())
    nothing = cast(Any, None)
    mount = FuseMount(nothing, nothing, nothing, b"/", DIRECTORY, nothing)
    mount._mounted = True
    invalidation = SimpleNamespace(expected=lambda numbers: None)
    mount._operations = cast(Any, SimpleNamespace(invalidation=invalidation))

    async def invalidate_and_work() -> None:
        async with trio.open_nursery() as nursery:
            try:
                for number in range(MANY):
                    nursery.start_soon(mount.forget, [(number, b"name")], [])
                with trio.fail_after(30):
                    await all_blocked.wait()
                    assert await trio.to_thread.run_sync(lambda: 5) == 5
            finally:
                free.set()

    trio.run(invalidate_and_work)
