"""What a command is: the row type of the table of commands (``sftpfs status``, ``sftpfs flush`` …).

Plain data: parsing, ``--help``, the man page and completion are made from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Word(Enum):
    """What a word stands for; completion offers such words."""

    MOUNTPOINT = "mountpoint"
    PATH = "path"
    DIRECTORY = "directory"
    SERVER = "server"
    OTHER = "other"


class Count(Enum):
    """How many words an argument takes; the values are argparse's."""

    ONE = ""
    OPTIONAL = "?"
    SOME = "+"
    ANY = "*"


@dataclass(frozen=True, slots=True)
class Argument:
    """A word that is no option. ``name`` is what the help shows; lowered, the attribute given to ``run``.

    ``parse`` as a ``Switch`` has it; None: the word as it is.
    """

    name: str
    help: str
    word: Word = Word.OTHER
    count: Count = Count.ONE
    parse: Callable[[str], object] | None = None


@dataclass(frozen=True, slots=True)
class Switch:
    """An option of a command.

    If ``parse`` is None it takes no value; otherwise ``parse`` raises ValueError, whose text completes
    "expected ...". ``default`` is text, parsed as if it had been given. Only one of those with the same
    ``excludes`` may be given. ``word`` is what the value stands for.
    """

    flags: tuple[str, ...]
    help: str
    parse: Callable[[str], object] | None = None
    metavar: str = ""
    default: str = ""
    excludes: str = ""
    word: Word = Word.OTHER

    @property
    def name(self) -> str:
        """The attribute given to ``run``: the first long form, ``--dry-run`` as ``dry_run``."""
        long = next((flag for flag in self.flags if flag.startswith("--")), self.flags[0])
        return long.lstrip("-").replace("-", "_")

    @property
    def label(self) -> str:
        """As a person writes it: ``-i SECONDS, --interval SECONDS``."""
        return ", ".join(f"{flag} {self.metavar}".rstrip() for flag in self.flags)


@dataclass(frozen=True, slots=True)
class Command:
    """One command. ``run(given)`` of ``sftpfs/cli/run/NAME.py`` carries it out (``-`` in the name as ``_``).

    ``given`` is an ``argparse.Namespace`` with an attribute for every argument and switch. With ``as_mount``
    the command's words are those of a mount (server, ``-p``, ``-o`` …): ``given.words`` holds them unparsed,
    for ``parse_arguments``, and ``switches`` and ``arguments`` are for the help only.
    """

    name: str
    summary: str
    """Half a line, for the list of commands."""
    description: str
    """What the command's own help says, whole sentences; paragraphs are separated by an empty line."""
    arguments: tuple[Argument, ...] = ()
    switches: tuple[Switch, ...] = ()
    as_mount: bool = False

    @property
    def module(self) -> str:
        """The module whose ``run`` carries it out."""
        return "sftpfs.cli.run." + self.name.replace("-", "_")

    @property
    def synopsis(self) -> str:
        """``sftpfs status [MNT]``."""
        forms = {Count.ONE: "{}", Count.OPTIONAL: "[{}]", Count.SOME: "{}…", Count.ANY: "[{}…]"}
        letters = [switch for switch in self.switches if len(switch.flags[0]) == 2 and not switch.parse]
        words = [f"[-{''.join(switch.flags[0][1] for switch in letters)}]"] if letters else []
        words += [f"[{each.label.split(', ')[-1]}]" for each in self.switches if each not in letters]
        words += [forms[argument.count].format(argument.name) for argument in self.arguments]
        return " ".join(["sftpfs", self.name, *words])
