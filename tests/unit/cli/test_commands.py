"""The table of commands: each row leads to a module, has its help, and is told from a server."""

from __future__ import annotations

import importlib

import pytest

from sftpfs.cli.commands import dispatch
from sftpfs.cli.commands.dispatch import command_help, find_command, run_command
from sftpfs.cli.commands.row import Argument, Command, Count, Switch
from sftpfs.cli.commands.table import COMMANDS
from sftpfs.cli.docs.help import help_text
from sftpfs.cli.main import may_be_command
from sftpfs.cli.options.value_parsers import positive_seconds
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

RESTORE = next(command for command in COMMANDS if command.name == "restore")

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
    for word in ("echo-it:", "me@echo-it:dir", "-f", "./echo-it"):
        assert not may_be_command(word)
    assert may_be_command("echo-it")
    assert find_command(["elsewhere"]) is None
    assert find_command(["echo-it", "x"]) is ECHO
    with pytest.raises(MountError, match="did you mean echo-it"):
        find_command(["echo-its"])


def test_wrong_words_are_told_in_one_line() -> None:
    assert "needs WHAT" in usage(ECHO)
    assert "--colour" in usage(ECHO, "x", "--colour")
    assert "expected seconds, more than zero, not '0'" in usage(ECHO, "x", "-i", "0")
    assert "--json" in usage(ECHO, "x", "--json", "--text")
    assert "-i SECONDS, --interval SECONDS" in command_help(ECHO)


@pytest.mark.parametrize("words", [["--drop"], ["--force"], ["--to", "/nowhere/file"]], ids=" ".join)
def test_restore_does_not_only_list_where_it_was_told_to_do_something(words: list[str]) -> None:
    assert f"{words[0]} needs WHAT" in usage(RESTORE, *words)


def test_restore_does_not_drop_what_it_was_told_to_write_elsewhere() -> None:
    assert "not allowed with" in usage(RESTORE, "--drop", "--to", "/nowhere/file", "all")
