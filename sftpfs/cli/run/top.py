"""``sftpfs top MNT``."""

from __future__ import annotations

import os
import queue
import select
import sys
import termios
import threading
import tty
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live

from sftpfs.cli.tools.top_view import View
from sftpfs.control.client import Client, connect_to
from sftpfs.control.protocol import Values
from sftpfs.errors import MountError

PLAIN_SIZE = (100, 40)
"""Columns and lines without a terminal."""

QUIT_KEYS = b"qQ\x04"


def run(given: Namespace) -> int:
    """Shows it until a person quits or the mount ends; without a terminal, once."""
    client, _ = connect_to(given.mnt)
    for name in ("COLUMNS", "LINES"):  # rich would believe them, and so not see the terminal resized
        os.environ.pop(name, None)
    console = Console(highlight=False)
    view = View(ascii_only=not console.encoding.lower().startswith("utf"))
    with client:
        if not console.is_terminal:
            return _show_once(client, given.interval, view)
        messages = Messages(client, given.interval)
        with Live(console=console, screen=True, auto_refresh=False) as live, keys() as pressed:
            while not (pressed(messages.wake) & set(QUIT_KEYS)):
                for values in messages.take():
                    view.update(values)
                live.update(Group(*view.lines(*console.size)), refresh=True)
    return 0


def _show_once(client: Client, interval: float, view: View) -> int:
    """Uses two messages, so that there are rates."""
    for values, _ in zip(client.stream("top", interval=interval), range(2), strict=False):
        view.update(values)
    print("\n".join(line.plain.rstrip() for line in view.lines(*PLAIN_SIZE)[:-1]).rstrip())
    return 0


class Messages:
    """What the mount sends, read in a thread; ``wake`` becomes readable with each message."""

    def __init__(self, client: Client, interval: float) -> None:
        self._queue: queue.SimpleQueue[Values | MountError] = queue.SimpleQueue()
        self.wake, self._signal = os.pipe()
        threading.Thread(target=self._read, args=(client, interval), daemon=True).start()

    def _read(self, client: Client, interval: float) -> None:
        try:
            for values in client.stream("top", interval=interval):
                self._put(values)
        except MountError as error:
            self._put(error)

    def _put(self, message: Values | MountError) -> None:
        self._queue.put(message)
        os.write(self._signal, b"x")

    def take(self) -> Iterator[Values]:
        """The messages that have come. Raises MountError if the mount sends no more."""
        while not self._queue.empty():
            message = self._queue.get()
            if isinstance(message, MountError):
                raise message
            yield message


@contextmanager
def keys() -> Iterator[Callable[[int], set[int]]]:
    """A function that waits until a key is pressed or ``wake`` is readable; the keys pressed."""
    stdin = sys.stdin.fileno()
    watched = [stdin] if os.isatty(stdin) else []
    before = termios.tcgetattr(stdin) if watched else None

    def pressed(wake: int) -> set[int]:
        ready, _, _ = select.select([*watched, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
        return set(os.read(stdin, 64) or QUIT_KEYS) if stdin in ready else set()

    try:
        if before is not None:
            tty.setcbreak(stdin)
        yield pressed
    except KeyboardInterrupt:
        pass  # a way to quit like any other
    finally:
        if before is not None:
            termios.tcsetattr(stdin, termios.TCSADRAIN, before)
