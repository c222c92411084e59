"""What the front makes of a worker's end, whoever notices it first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from sftpfs.aio import Slot
from sftpfs.errors import MountError
from sftpfs.transport import messages
from sftpfs.transport.worker_transport import WorkerTransport

LAST_WORDS = {"type": "closed", "reason": "the server did not answer 3 keepalives"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([LAST_WORDS], "the server did not answer 3 keepalives"),
        (
            [{"type": "ended", "id": 1, "reason": "an end"}, LAST_WORDS],
            "the server did not answer 3 keepalives",
        ),
        ([], "the transport process is gone"),
        ([{"type": "closed"}], "the transport process sent an invalid message: KeyError('reason')"),
    ],
)
def test_who_asks_a_worker_that_is_gone_is_told_what_it_said_last(
    said: list[messages.Message], told: str
) -> None:
    """Also if that was not read before: a new channel was asked for first."""

    async def check() -> None:
        ours, theirs = messages.socketpair()
        ours.setblocking(False)
        with ours:
            exited: Slot[int] = Slot()
            owner: Any = SimpleNamespace(config=SimpleNamespace(connect_timeout=10.0))
            transport = WorkerTransport(cast(Any, owner), (1, ours, exited))
            with theirs:
                for message in said:
                    messages.send(theirs, message)
            with pytest.raises(MountError) as caught:
                await transport.open_channel()
            assert caught.value.message == transport.reason == told
            assert transport.closed.is_set()

    trio.run(check)
