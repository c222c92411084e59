"""Lets the same process mount again without asking its person again.

Owns the answers, in this process's memory and for one command only: the mount that asked sends them here
through a pipe that nobody else has.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace

from sftpfs.config import MountConfig
from sftpfs.host import interrupts
from sftpfs.host.daemon import INTERNAL_STATUS, guarded, to_stderr
from sftpfs.host.interrupts import Interrupts
from sftpfs.mount.service import MountPrompter
from sftpfs.mount.start import run
from sftpfs.transport.answer_memory import LASTING, read_line
from sftpfs.transport.api import PromptKind
from sftpfs.transport.prompter import make_prompter


class ReplayingPrompter:
    """Repeats what was answered before, each question once. Asks ``person`` the others and reports them."""

    def __init__(self, person: MountPrompter, answers: Mapping[str, str], report: int) -> None:
        """``report``: the pipe's end for what was answered; closed by ``detach``."""
        self._person = person
        self._answers = dict(answers)
        self._report = report

    @property
    def available(self) -> bool:
        """True if there is an answer to give, or somebody to ask."""
        return bool(self._answers) or self._person.available

    def detach(self) -> None:
        """The mount is there: no more questions, nothing more to report."""
        self._answers.clear()
        self._person.detach()
        os.close(self._report)

    async def ask(self, kind: PromptKind, text: str, echo: bool) -> str | None:
        """As ``Prompter.ask``."""
        answer = self._answers.pop(text, None)  # asked again, it was wrong
        if answer is None:
            answer = await self._person.ask(kind, text, echo)
        if answer is not None and kind in LASTING:
            os.write(self._report, json.dumps([text, answer]).encode() + b"\n")
        return answer


class Mounts:
    """Mounts of one configuration, one after the other."""

    def __init__(self, config: MountConfig, interrupts: Interrupts) -> None:
        self._config = replace(config, foreground=False)
        self._interrupts = interrupts
        self._answers: dict[str, str] = {}
        self._password = read_line().encode() if config.transport.password_stdin else None

    def mount(self, mountpoint: str) -> int:
        """Mounts in its own daemon. Returns the exit status of the command that does so."""
        config = replace(self._config, mountpoint=mountpoint)
        report, reported = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(report)
            _in_child(lambda: self._serve(config, reported))
        os.close(reported)
        try:
            with self._interrupts.allowed(), open(report, encoding="utf-8") as lines:
                self._answers |= dict(map(json.loads, lines))
        except BaseException:
            os.kill(pid, signal.SIGTERM)  # it cleans up; perhaps the mount was there just before
            raise
        finally:
            _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else INTERNAL_STATUS

    def _serve(self, config: MountConfig, reported: int) -> int:
        if self._password is not None:
            stdin, typed = os.pipe()
            os.write(typed, self._password)
            os.close(typed)
            os.dup2(stdin, 0)
        return run(config, [], ReplayingPrompter(make_prompter(os.environ), self._answers, reported))


def _in_child(serve: Callable[[], int]) -> None:
    """Never returns: the child must not do what the parent would do next."""
    status = INTERNAL_STATUS
    interrupts.default()
    try:
        status = guarded(serve, to_stderr, debug=False)
    finally:
        os._exit(status)
