"""The worker's end of its control socket: messages from the mount's front, and to it.

Owns what the socket has not taken yet and the questions nobody has answered. Used by
``transport.worker.worker`` only, which says what a message means; ``transport.messages`` has their form.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable

from sftpfs.errors import MountError, traced
from sftpfs.transport import messages
from sftpfs.transport.messages import Message, one_line

LOG_LIMIT = 100
"""Log lines kept for a front that does not read."""


class FrontSocket:
    """See the module; lives on one event loop.

    INVARIANT: ``_outgoing`` not empty exactly while a writer is registered.
    """

    def __init__(
        self, sock: socket.socket, received: Callable[[Message, int | None], None], gone: Callable[[], None]
    ) -> None:
        """``received`` is called with each message and the descriptor that came with it, and ``gone`` once
        there is no front any more."""
        self._socket = sock
        self._socket.setblocking(False)
        self._received = received
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._listening = False
        self._outgoing: deque[bytes] = deque()
        self._answers: dict[int, asyncio.Future[str | None]] = {}
        self._next_prompt = 0

    def listen(self) -> None:
        """Take messages, until ``stop``."""
        self._listening = True
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def stop(self) -> None:
        """Take no more messages."""
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._socket.fileno())

    def _readable(self) -> None:
        while self._listening:
            try:
                message = messages.receive(self._socket)
            except BlockingIOError:
                return
            except OSError:
                message = None
            if message is None:
                self._gone()
                return
            self._received(*message)

    def send(self, message: Message) -> None:
        """Send ``message``, now or as soon as the front reads."""
        data = messages.encode(message)
        if self._outgoing:
            self._outgoing.append(data)
            return
        try:
            self._socket.send(data)
        except BlockingIOError:
            self._outgoing.append(data)
            self._loop.add_writer(self._socket.fileno(), self._flush)
        except OSError:
            self._gone()

    def send_with(self, message: Message, fd: int) -> bool:
        """Send ``message`` and ``fd`` with it; False if the front does not take it at once."""
        if self._outgoing:
            return False
        try:
            messages.send(self._socket, message, [fd])
        except OSError:
            return False
        return True

    def read(self) -> None:
        """Take what has come by now."""
        self._readable()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                self._socket.send(self._outgoing[0])
                self._outgoing.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._outgoing.clear()
            self._gone()
        self._loop.remove_writer(self._socket.fileno())

    def log(self, text: str) -> None:
        """Logs one line, whoever worded it: a second line could begin like a question of ours."""
        if text and len(self._outgoing) < LOG_LIMIT:
            self.send({"type": "log", "text": messages.shown(text).replace("\n", " ")})

    def fault(self, error: BaseException) -> None:
        """Makes the mount log a fault of ours, or of a library's, because nobody sees what is written
        here."""
        self.send({"type": "fault", "text": one_line(traced(error))})

    def fail(self, error: MountError, request: int | None = None) -> None:
        """Reports that something the front asked for cannot be had: the connection, or the channel of
        ``request``."""
        message = one_line(error.message)
        self.send({"type": "failed", "id": request, "failure": error.failure.name, "message": message})

    def ask(self, question: Message) -> asyncio.Future[str | None]:
        """Has a person asked ``question``. Returns the answer, or None if there is none."""
        number = self._next_prompt
        self._next_prompt += 1
        waiting: asyncio.Future[str | None] = self._loop.create_future()
        self._answers[number] = waiting
        self.send({"type": "prompt", "id": number, **question})
        return waiting

    def answered(self, message: Message) -> None:
        """``message`` has the answer to a question."""
        waiting = self._answers.pop(message["id"], None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message["text"])
