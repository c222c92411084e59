"""Runs a command line whose first word is a command: parses it by the command's row, or shows the command's
help."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
import textwrap
from collections.abc import Callable
from itertools import pairwise
from typing import NoReturn

from sftpfs.cli.commands.row import Command, Count
from sftpfs.cli.commands.table import COMMANDS
from sftpfs.cli.options import suggestions
from sftpfs.cli.options.parse import usage_error

BY_NAME: dict[str, Command] = {command.name: command for command in COMMANDS}


def find_command(argv: list[str]) -> Command | None:
    """The command that ``argv`` begins with, or None if it is a mount. Raises MountError(USAGE).

    Its first word can be a command's name (``cli.main``).
    """
    word = argv[0]
    command = BY_NAME.get(word)
    if command is None:
        hint = suggestions.first_word(word, argv[1:])
        if hint is not None:
            raise usage_error(f"there is no command {word}: {hint}")
        near = difflib.get_close_matches(word, BY_NAME, n=1, cutoff=0.6)
        if near:
            raise usage_error(
                f"there is no command {word} (did you mean {near[0]}?); a server has a colon, {word}:"
            )
    return command


def run_command(command: Command, words: list[str]) -> int:
    """Carries out ``command`` with the words that followed it. Returns the exit status. Raises MountError."""
    if command.as_mount:
        if any(word in ("-h", "--help") for word in words):
            sys.stdout.write(command_help(command))
            return 0
        given = argparse.Namespace(words=words)
    else:
        hint = suggestions.command_flag(command.name, words)
        if hint is not None:
            raise usage_error(f"{command.name} has no such option: {hint}")
        given = _parser(command).parse_intermixed_args(words)
        if given.help:
            sys.stdout.write(command_help(command))
            return 0
        _demand_arguments(command, given)
    run: Callable[[argparse.Namespace], int] = importlib.import_module(command.module).run
    return run(given)


class _Parser(argparse.ArgumentParser):
    """Reports what is wrong as every other failure is reported: in one line."""

    def error(self, message: str) -> NoReturn:
        raise usage_error(f"{message}; {self.prog} --help explains")


def _parser(command: Command) -> _Parser:
    prog = f"sftpfs {command.name}"
    parser = _Parser(prog=prog, usage=command.synopsis, add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    groups: dict[str, argparse._MutuallyExclusiveGroup] = {}
    for switch in command.switches:
        target: argparse._ActionsContainer = parser
        if switch.excludes:
            target = groups.setdefault(switch.excludes, parser.add_mutually_exclusive_group())
        if switch.parse is None:
            target.add_argument(*switch.flags, dest=switch.name, action="store_true")
        else:
            target.add_argument(
                *switch.flags,
                dest=switch.name,
                type=_argparse_type(switch.parse),
                default=switch.default or None,
                metavar=switch.metavar,
            )
    for argument in command.arguments:
        several = argument.count in (Count.SOME, Count.ANY)
        parse = _argparse_type(argument.parse) if argument.parse else str
        parser.add_argument(
            argument.name.lower(), nargs="*" if several else "?", metavar=argument.name, type=parse
        )
    return parser


def _demand_arguments(command: Command, given: argparse.Namespace) -> None:
    """Reports missing words. It runs after parsing, because with --help none is missing. An argument behind
    several takes the last word."""
    for before, argument in pairwise(command.arguments):
        words = getattr(given, before.name.lower())
        if before.count is Count.SOME and argument.count is Count.ONE and len(words) > 1:
            setattr(given, argument.name.lower(), words.pop())
    for argument in command.arguments:
        if argument.count in (Count.ONE, Count.SOME) and not getattr(given, argument.name.lower()):
            raise usage_error(f"{command.name} needs {argument.name}, {argument.help}: {command.synopsis}")


def _argparse_type(parse: Callable[[str], object]) -> Callable[[str], object]:
    """``parse`` with its ValueError as argparse passes it on."""

    def parsed(text: str) -> object:
        try:
            return parse(text)
        except ValueError as problem:
            raise argparse.ArgumentTypeError(f"expected {problem}, not {text!r}") from None

    return parsed


WIDTH = 79
"""Columns of what is printed: a terminal has 80."""
INDENT = 26


def _row(label: str, text: str) -> list[str]:
    blank = " " * INDENT
    body = textwrap.wrap(text, WIDTH, initial_indent=blank, subsequent_indent=blank)
    if len(label) + 4 < INDENT:
        return [f"    {label}".ljust(INDENT) + body[0].strip(), *body[1:]]
    return [f"    {label}", *body]


def command_help(command: Command) -> str:
    """What ``sftpfs NAME --help`` prints."""
    lines = [f"usage: {command.synopsis}", ""]
    for paragraph in command.description.split("\n\n"):
        lines += [*textwrap.wrap(paragraph, WIDTH), ""]
    for argument in command.arguments:
        lines += _row(argument.name, argument.help)
    for switch in command.switches:
        default = f" (default {switch.default})" if switch.default else ""
        lines += _row(switch.label, switch.help + default)
    return "\n".join([*lines, *_row("-h, --help", "show this help and end")]) + "\n"


def command_rows() -> list[str]:
    """The list of commands as ``sftpfs --help`` shows it."""
    return [
        line
        for command in COMMANDS
        for line in _row(command.synopsis.removeprefix("sftpfs "), command.summary)
    ]
