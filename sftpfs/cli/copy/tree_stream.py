"""One connection to a mount, by which it is handed what it is to make (``control.tree_records``).

Used by many threads. Each record has a callback, which is called once, in the thread that takes the answers:
with the answer, or with None if there will be none, as the connection ended before.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import NamedTuple

from sftpfs.control.client import connect
from sftpfs.control.tree_records import END, Record, packed
from sftpfs.errors import MountError
from sftpfs.host.mountpoint import MountedAt


class Answer(NamedTuple):
    """What became of a record: an errno or 0, and one of ``tree_records.OUTCOMES``."""

    errno: int
    outcome: str


Answered = Callable[[Answer | None], None]


class TreeStream:
    """See the module. Made by ``open_stream``."""

    def __init__(self, mount: MountedAt) -> None:
        self._client = connect(mount)
        self._numbers = itertools.count(1)
        self._sending = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: dict[int, Answered] = {}
        self._over = False
        """Nobody is answered any more."""
        self._ready = threading.Event()
        self._taker = threading.Thread(target=self._take, daemon=True)
        self._taker.start()

    def begun(self) -> bool:
        """Waits until the mount takes records. False if it never will, being of an older version."""
        self._ready.wait()
        return not self._over

    def send(self, record: Record, content: bytes, answered: Answered) -> None:
        """Hands over ``record``, whose number is given here. Waits while the mount has enough to do."""
        number = next(self._numbers)
        with self._lock:
            over = self._over
            if not over:
                self._waiting[number] = answered
        if over:
            answered(None)
            return
        try:
            with self._sending:
                self._client.send(packed(record._replace(number=number, size=len(content))) + content)
        except OSError:
            self._client.no_more()  # the taker finds out, and calls whoever waits

    def finish(self) -> None:
        """Waits until all records are answered. Nothing is sent afterwards."""
        try:
            with self._sending:
                self._client.send(packed(Record(0, END)))
        except OSError:
            self._client.no_more()
        self._taker.join()
        self._client.close()

    def withdraw(self) -> None:
        """Gives up what is not made yet; the mount takes away what is not whole. Everything is answered soon.
        Does not wait."""
        self._client.no_more()

    def _take(self) -> None:
        try:
            for values in self._client.stream("write_tree"):
                self._ready.set()
                for number, failure, outcome in values.get("made", ()):
                    with self._lock:
                        answered = self._waiting.pop(number, None)
                    if answered is not None:
                        answered(Answer(failure, outcome))
        except MountError:
            pass  # what has no answer is copied another way, which shows why
        finally:
            self._client.no_more()
            with self._lock:
                self._over = True
                left, self._waiting = list(self._waiting.values()), {}
            self._ready.set()
            for answered in left:
                answered(None)


def open_stream(mount: MountedAt) -> TreeStream | None:
    """A connection to ``mount``; None if it takes no such records."""
    try:
        stream = TreeStream(mount)
    except MountError:
        return None
    return stream if stream.begun() else None
