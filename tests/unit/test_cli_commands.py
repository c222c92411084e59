"""The table of commands: each row leads to a module, has its help, and is told from a server."""

from __future__ import annotations

import importlib

import pytest

from sftpfs.cli import dispatch
from sftpfs.cli.command import Argument, Command, Count, Switch
from sftpfs.cli.commands import COMMANDS
from sftpfs.cli.dispatch import command_help, find_command, run_command
from sftpfs.cli.help import help_text
from sftpfs.cli.values import positive_seconds
from sftpfs.errors import Failure, MountError

ECHO = Command(
    "echo-it",
    "say it again",
    "Says what it was given.",
    (Argument("WHAT", "a word", count=Count.SOME),),
    (
        Switch(("-i", "--interval"), "a pause", positive_seconds, "SECONDS", default="1"),
        Switch(("--json",), "one form", excludes="form"),
        Switch(("--text",), "another form", excludes="form"),
    ),
)

TERMINAL = 80
"""Columns; a longer line is broken within a word."""


def usage(command: Command, *words: str) -> str:
    with pytest.raises(MountError) as caught:
        run_command(command, list(words))
    assert caught.value.failure is Failure.USAGE
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_there_and_explained(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(importlib.import_module(command.module).run)
    assert command.summary[0].islower() and not command.summary.endswith(".")
    assert command.description.endswith(".")
    assert run_command(command, ["--help"]) == 0
    shown = capsys.readouterr().out
    assert command.synopsis in shown
    assert all(switch.label in shown for switch in command.switches)
    assert f"    {command.name}" in help_text()
    assert max(map(len, [*shown.splitlines(), *help_text().splitlines()])) < TERMINAL


def test_a_first_word_that_is_a_server_is_not_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "BY_NAME", {"echo-it": ECHO})
    for words in (["echo-it:", "mnt"], ["me@echo-it:dir", "mnt"], ["-f", "echo-it"], [], ["elsewhere"]):
        assert find_command(words) is None
    assert find_command(["echo-it", "x"]) is ECHO
    with pytest.raises(MountError, match="did you mean echo-it"):
        find_command(["echo-its"])


def test_wrong_words_are_told_in_one_line() -> None:
    assert "needs WHAT" in usage(ECHO)
    assert "--colour" in usage(ECHO, "x", "--colour")
    assert "expected seconds, more than zero, not '0'" in usage(ECHO, "x", "-i", "0")
    assert "--json" in usage(ECHO, "x", "--json", "--text")
    assert "-i SECONDS, --interval SECONDS" in command_help(ECHO)
