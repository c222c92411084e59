"""argv → options and positionals, checked against the table. It does not know what they mean.

Pure. Takes options before, between and after the positionals, because mount(8) puts them last.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from sftpfs.cli.options import suggestions
from sftpfs.cli.options.row import Option, Section
from sftpfs.cli.options.ssh_keywords import SSH_KEYWORDS
from sftpfs.cli.options.table import BY_FLAG, BY_NAME
from sftpfs.errors import Failure, MountError

USAGE_HINT = "usage: sftpfs [user@]host:[directory] mountpoint [options]; sftpfs --help lists them"


@dataclass(slots=True)
class Arguments:
    """What argv said, in its order."""

    positionals: list[str] = field(default_factory=list)
    options: list[tuple[Option, str | None]] = field(default_factory=list)
    """Options of the table and their values as written."""
    ssh_options: list[tuple[str, str]] = field(default_factory=list)
    """(keyword as ssh_config(5) writes it, value)."""
    show: str = ""
    """``--help`` or ``--version``, if asked for."""
    sloppy: bool = False
    """Unknown words after ``-o`` are ignored (``mount -s``)."""
    passed_over: list[str] = field(default_factory=list)
    """The words that were ignored."""


def usage_error(message: str) -> MountError:
    """A MountError for what was typed."""
    return MountError(Failure.USAGE, message)


def split_options(text: str) -> list[str]:
    r"""The words of a ``-o`` list; ``\,`` is a comma, ``\\`` a backslash, ``\ooo`` a byte in octal.

    libfuse's rules, which mount(8) and sshfs's scripts follow. Empty words are dropped.
    """
    words: list[str] = []
    word = ""
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == ",":
            words.append(word)
            word = ""
            continue
        if character == "\\" and position < len(text):
            digits = text[position : position + 3]
            if len(digits) == 3 and all(d in "01234567" for d in digits) and 0 < int(digits, 8) < 128:
                word += chr(int(digits, 8))
                position += 3
                continue
            character = text[position]
            position += 1
        word += character
    words.append(word)
    return [word for word in words if word]


def parse_arguments(argv: list[str], sloppy: bool = False) -> Arguments:
    """The arguments (without the program's name). Raises MountError(USAGE)."""
    arguments = Arguments(sloppy=sloppy)
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            arguments.positionals += rest
            break
        if word.startswith("--") or word in BY_FLAG:
            _long_or_exact(arguments, word, rest)
        elif word.startswith("-") and len(word) > 1:
            _cluster(arguments, word, rest)
        else:
            arguments.positionals.append(word)
        if arguments.show:
            break
    return arguments


def _long_or_exact(arguments: Arguments, word: str, rest: list[str]) -> None:
    option = BY_FLAG.get(word)
    if option is None:
        raise _unknown(word, list(BY_FLAG))
    _flag(arguments, option, word, rest)


def _flag(arguments: Arguments, option: Option, word: str, rest: list[str]) -> None:
    if word in ("-h", "--help"):
        arguments.show = "--help"
    elif word in ("-V", "--version"):
        arguments.show = "--version"
    elif option.takes_value:
        arguments.options.append((option, _value(word, rest)))
    else:
        arguments.options.append((option, None))


def _value(word: str, rest: list[str]) -> str:
    if not rest:
        raise usage_error(f"option {word} needs a value")
    return rest.pop(0)


def _cluster(arguments: Arguments, word: str, rest: list[str]) -> None:
    """``-fd``, ``-p22``, ``-oro,port=22``: letters, the last perhaps with its value attached."""
    letters = word[1:]
    while letters:
        flag, letters = "-" + letters[0], letters[1:]
        if flag == "-o":
            for item in split_options(letters or _value("-o", rest)):
                _named(arguments, item)
            return
        option = BY_FLAG.get(flag)
        if option is None:
            raise _unknown(flag if len(word) == 2 else f"{flag} (in {word})", list(BY_FLAG))
        if option.takes_value:
            _flag(arguments, option, flag, [letters] if letters else rest)
            return
        _flag(arguments, option, flag, rest)
        if arguments.show:
            return


def _named(arguments: Arguments, item: str) -> None:
    name, equals, value = item.partition("=")
    given = value if equals else None
    if name.startswith(("x-", "X-")):
        return
    option = BY_NAME.get(name)
    keyword = SSH_KEYWORDS.get(name.lower())
    if keyword and given is not None and (option is None or option.section is Section.FSTAB):
        # "user" alone is fstab's word, "user=joe" and "User=joe" are ssh_config's
        if not given:
            raise usage_error(f"option {name} needs a value: {name}=VALUE")
        arguments.ssh_options.append((keyword, given))
        return
    if option is None:
        if keyword:
            raise usage_error(f"option {name} needs a value: {name}=VALUE")
        if arguments.sloppy:
            arguments.passed_over.append(name)
            return
        raise _unknown(name, [*BY_NAME, *SSH_KEYWORDS.values()])
    _check_form(option, name, given)
    arguments.options.append((option, given))


def _check_form(option: Option, name: str, given: str | None) -> None:
    if option.section is Section.REFUSED:
        raise usage_error(f"option {name} is not supported: {option.why}")
    if option.optional_value:
        return
    if option.takes_value and not given:
        raise usage_error(f"option {name} needs a value: {name}={option.metavar}")
    if not option.takes_value and given is not None:
        raise usage_error(f"option {name} takes no value")


def _unknown(name: str, known: list[str]) -> MountError:
    instead = suggestions.flag(name.partition(" ")[0]) if name.startswith("-") else None
    if instead is not None:
        return usage_error(f"unknown option {name}: {instead}; sftpfs --help lists the options")
    by_folded = {word.lower(): word for word in known}
    near = difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=0.6)
    hint = f" (did you mean {by_folded[near[0]]}?)" if near else ""
    return usage_error(f"unknown option {name}{hint}; sftpfs --help lists them")


def explain(arguments: Arguments) -> list[str]:
    """One line for every option given that has no effect, for the log."""
    lines = [f"option {name} is unknown and passed over" for name in arguments.passed_over]
    for option, _ in arguments.options:
        if option.section in (Section.MOOT, Section.FSTAB):
            lines.append(f"option {option.name or option.flags[0]} has no effect: {option.why}")
    return lines
