"""Asks a person: on the terminal, or by an askpass program, or not at all if there is neither.

Owns the choice between them, which is OpenSSH's (ssh(1), ENVIRONMENT).
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import subprocess
import termios
from collections.abc import Mapping
from contextlib import suppress

import trio

from sftpfs.errors import said
from sftpfs.transport.api import PromptKind

TERMINAL = "/dev/tty"
ANSWER_LIMIT = 4096
"""Bytes of one answer."""

ASKPASS = "/usr/bin/ssh-askpass"
"""The askpass program if SSH_ASKPASS names none: Debian's alternative, as in its ssh."""

log = logging.getLogger(__name__)


class NoPrompter:
    """Nobody can be asked."""

    @property
    def available(self) -> bool:
        """Never."""
        return False

    async def ask(self, kind: PromptKind, text: str, echo: bool) -> str | None:
        """No answer."""
        await trio.lowlevel.checkpoint()
        return None


class TerminalPrompter:
    """Asks on /dev/tty, whatever stdin and stdout are.

    INVARIANT: while no question is open the terminal is as it was found.
    """

    def __init__(self, terminal: str = TERMINAL) -> None:
        self._terminal = terminal
        self._detached = False

    @property
    def available(self) -> bool:
        """True while there is a terminal and ``detach`` was not called."""
        if self._detached:
            return False
        try:
            fd = os.open(self._terminal, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return False
        os.close(fd)
        return True

    def detach(self) -> None:
        """From now on nobody can be asked: the daemon leaves its terminal."""
        self._detached = True

    async def ask(self, kind: PromptKind, text: str, echo: bool) -> str | None:
        """The typed line; None at end of file. If cancelled, it restores the terminal before it returns."""
        if self._detached:
            return None
        try:
            fd = os.open(self._terminal, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return None
        stop_read, stop_write = os.pipe2(os.O_CLOEXEC)
        # the thread owns the descriptors but stop_write: closing that ends it, and it is waited for
        # no longer than that takes, so that the terminal is put back before anybody else writes to it
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()
        answer: list[str | None] = [None]

        def question() -> None:
            try:
                answer[0] = read_answer(fd, stop_read, text, echo)
            finally:
                os.close(fd)
                os.close(stop_read)
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(done.set)

        trio.lowlevel.start_thread_soon(question, lambda outcome: outcome)
        try:
            await done.wait()
        finally:
            os.close(stop_write)
            with trio.CancelScope(shield=True):
                await done.wait()
        return answer[0]


class AskpassPrompter:
    """Asks by a program that shows a window and writes the answer to its standard output."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._detached = False

    @property
    def available(self) -> bool:
        """True if the program can be run and ``detach`` was not called."""
        return not self._detached and shutil.which(self._program) is not None

    def detach(self) -> None:
        """From now on nobody is asked: no window appears unexpectedly."""
        self._detached = True

    async def ask(self, kind: PromptKind, text: str, echo: bool) -> str | None:
        """The line that the program writes; None if it fails or the window was closed.

        If cancelled, it ends the program. The answer passes only through its pipe.
        """
        if self._detached:
            return None
        try:
            done = await trio.run_process(
                [self._program, text], stdin=subprocess.DEVNULL, capture_stdout=True, check=False
            )
        except (OSError, ValueError) as problem:
            log.info("the askpass program %s cannot be run: %s", self._program, said(problem))
            return None
        if done.returncode:
            return None
        line, _, _ = done.stdout[:ANSWER_LIMIT].partition(b"\n")
        return line.decode(errors="surrogateescape").rstrip("\r")


def make_prompter(environment: Mapping[str, str]) -> TerminalPrompter | AskpassPrompter:
    """The one that asks: the terminal, or if there is none but a display, an askpass program.

    SSH_ASKPASS names the program. SSH_ASKPASS_REQUIRE changes when it is used: ``never``; ``prefer``, also
    with a terminal; ``force``, also without a display.
    """
    terminal = TerminalPrompter()
    require = environment.get("SSH_ASKPASS_REQUIRE", "").lower()
    display = bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
    allowed = require == "force" or (display and require != "never")
    if not allowed or (require not in ("force", "prefer") and terminal.available):
        return terminal
    return AskpassPrompter(environment.get("SSH_ASKPASS") or ASKPASS)


def read_answer(fd: int, stop: int, text: str, echo: bool) -> str | None:
    """Ask on the terminal ``fd`` until a line, end of file, or ``stop`` becomes readable."""
    before = termios.tcgetattr(fd)
    quiet = list(before)
    if not echo:
        quiet[3] &= ~(termios.ECHO | termios.ECHOE | termios.ECHOK)
        quiet[3] |= termios.ECHONL
    try:
        termios.tcsetattr(fd, termios.TCSADRAIN if echo else termios.TCSAFLUSH, quiet)
        os.write(fd, text.encode(errors="replace"))
        return read_line(fd, stop)
    except OSError:
        return None
    finally:
        with suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSANOW, before)


def read_line(fd: int, stop: int) -> str | None:
    """One line; None at end of file, or if ``stop`` says to give up."""
    line = b""
    while not line.endswith(b"\n") and len(line) < ANSWER_LIMIT:
        ready, _, _ = select.select([fd, stop], [], [])
        if stop in ready:
            os.write(fd, b"\n")  # what is said of it has a line of its own
            return None
        chunk = os.read(fd, ANSWER_LIMIT)
        if not chunk:
            return None
        line += chunk
    return line.decode(errors="surrogateescape").rstrip("\r\n")
