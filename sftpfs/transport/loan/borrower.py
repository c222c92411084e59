"""The channels of one worker, and what it says of lending its connection. Used by ``worker_transport``."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from sftpfs.transport.loan.lendable_stream import LendableStream
from sftpfs.transport.messages import Message

_KINDS = ("offer", "keep", "lend", "recall")


def load() -> None:
    """Load the ciphers; to be called where nobody waits for this process, before anything is lent."""
    import sftpfs.transport.loan.lent_connection  # noqa: F401


class Borrower:
    """See the module.

    INVARIANT: a descriptor that came with a message is a stream's, or closed.
    """

    def __init__(
        self, say: Callable[[Message], bool], start: Callable[[Callable[[], Awaitable[None]]], None]
    ) -> None:
        """``say`` sends a message to the worker, and returns False if it is gone. ``start`` starts a task."""
        self._say = say
        self._start = start
        self._streams: dict[int, LendableStream] = {}
        """The channels that were opened, by number, as far as they were not seen to be closed."""
        self._offered: set[int] = set()
        """Channels for which the worker would lend before there is a stream."""

    def stream(self, number: int, fd: int) -> LendableStream:
        """The stream of the channel ``number``, whose data socket is ``fd``."""

        def say(message: Message) -> bool:
            return self._say(message | {"id": number})

        self._streams = {key: one for key, one in self._streams.items() if not one.closed}
        stream = self._streams[number] = LendableStream(fd, say, self._start)
        if number in self._offered:
            self._offered.remove(number)
            stream.offer()
        return stream

    def take(self, message: Message, fd: int | None) -> bool:
        """Passes on what is about a loan. False if ``message`` is not, and then ``fd`` is the caller's."""
        kind = message["type"]
        if kind not in _KINDS:
            return False
        stream = self._streams.get(message["id"])
        if kind == "lend":
            if stream is not None:
                stream.lend(message, fd)
            elif fd is not None:
                os.close(fd)
        elif stream is None:
            if kind == "offer":
                self._offered.add(message["id"])
        elif kind == "offer":
            stream.offer()
        elif kind == "keep":
            stream.keep()
        else:
            stream.recall()
        return True

    def give_back(self) -> None:
        """Return what is lent: the worker is to end."""
        for stream in self._streams.values():
            stream.recall()
