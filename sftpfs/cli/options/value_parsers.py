"""Parsers for option values: text in, a value of the configuration out.

Each raises ``ValueError``, whose text completes "expected ...". They touch no file except the user and group
databases, and know nothing of options.
"""

from __future__ import annotations

import codecs
import grp
import locale
import math
import os
import pwd
import shlex
from collections.abc import Callable
from typing import TypeVar

from sftpfs import character_sets
from sftpfs.host.account import in_home
from sftpfs.types import Bandwidth

T = TypeVar("T")

MAX_ID = 2**32 - 2
"""The largest uid or gid; the next number means "leave it" to chown(2)."""

WORKAROUNDS = ("rename", "renamexdev", "truncate", "buflimit", "fstat", "createmode", "nodelaysrv")

TRUE_WORDS = ("yes", "true", "on", "1")
FALSE_WORDS = ("no", "false", "off", "0")


def integer(low: int, high: int) -> Callable[[str], int]:
    """A parser of decimal numbers from ``low`` to ``high``."""
    expected = f"a number from {low} to {high}"

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not low <= int(text[:20]) <= high:
            raise ValueError(expected)
        return int(text)

    return parse


port = integer(1, 65535)


def number(text: str) -> float:
    """A number, with a fraction or not. Text that is no number gives one that fits no bounds."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def seconds(text: str) -> float:
    """Seconds, zero or more, a fraction allowed."""
    value = number(text)
    if not 0 <= value < math.inf:
        raise ValueError("seconds, zero or more")
    return value


def positive_seconds(text: str) -> float:
    """Seconds, more than zero."""
    value = number(text)
    if not 0 < value < math.inf:
        raise ValueError("seconds, more than zero")
    return value


RATE_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
LEAST_RATE = 1 << 10
"""Bytes a second. At this rate a page that a program waits for takes four seconds."""


def _rate(text: str) -> float:
    """Bytes a second; infinite for ``off``."""
    if text == "off":
        return math.inf
    unit = text[-1:].upper() if text[-1:].isalpha() else ""
    value = number(text[: len(text) - len(unit)]) * RATE_UNITS.get(unit, math.nan)
    if not LEAST_RATE <= value < math.inf:
        raise ValueError("UP[:DOWN], bytes a second (K, M, G), 1K or more, or off")
    return value


def bandwidth(text: str) -> Bandwidth:
    """``UP[:DOWN]``, as rclone has it: one for both ways, or one each."""
    up, colon, down = text.partition(":")
    return Bandwidth(_rate(up), _rate(down if colon else up))


def boolean(text: str) -> bool:
    """yes or no, as ssh_config and sshfs write it."""
    word = text.lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise ValueError("yes or no")


def octal(text: str) -> int:
    """Permission bits in octal."""
    try:
        value = int(text, 8)
    except ValueError:
        value = -1
    if not 0 <= value <= 0o777 or not text.isdigit():
        raise ValueError("permission bits in octal, for example 022")
    return value


def text(value: str) -> str:
    """Any text but the empty one."""
    if not value:
        raise ValueError("a value")
    return value


def path(value: str) -> str:
    """A file's path, made absolute: the daemon leaves the directory it was started in."""
    return os.path.abspath(in_home(text(value)))


def path_or_none(value: str) -> str:
    """A path, or the word none."""
    return value if value == "none" else path(value)


def user(value: str) -> int:
    """A uid, as a number or a name."""
    if value.isascii() and value.isdigit():
        return integer(0, MAX_ID)(value)
    try:
        return pwd.getpwnam(value).pw_uid
    except (KeyError, ValueError):
        raise ValueError("a uid or the name of a local user") from None


def group(value: str) -> int:
    """A gid, as a number or a name."""
    if value.isascii() and value.isdigit():
        return integer(0, MAX_ID)(value)
    try:
        return grp.getgrnam(value).gr_gid
    except (KeyError, ValueError):
        raise ValueError("a gid or the name of a local group") from None


def choice(table: dict[str, T]) -> Callable[[str], T]:
    """A parser of the words that are the keys of ``table``."""
    expected = " or ".join(table)

    def parse(value: str) -> T:
        if value not in table:
            raise ValueError(expected)
        return table[value]

    return parse


def command(value: str) -> tuple[str, ...]:
    """A command line, split as a shell splits it; a relative program path made absolute."""
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ValueError(f"a command line with its quotes closed ({error})") from None
    if not words:
        raise ValueError("a command line")
    program = words[0]
    if "/" in program:
        program = path(program)
    return (program, *words[1:])


def modules(value: str) -> tuple[str, ...]:
    """libfuse's modules: iconv is the only one that exists here."""
    if value != "iconv":
        raise ValueError("iconv, and in place of subdir the directory as host:directory")
    return (value,)


def character_set(value: str) -> str:
    """The name of a character set that file names can be in."""
    character_sets.character_set(value)
    return value


def character_set_here() -> str:
    """The locale's character set; UTF-8 if the locale names only ASCII, or one that no file name is in."""
    named = locale.nl_langinfo(locale.CODESET)
    try:
        return "UTF-8" if codecs.lookup(named).name == "ascii" else character_set(named)
    except (LookupError, ValueError):
        return "UTF-8"


def vsock_address(value: str) -> tuple[int, int]:
    """``CID:PORT``."""
    context, _, number = value.partition(":")
    try:
        return integer(0, 2**32 - 1)(context), integer(0, 2**32 - 1)(number)
    except ValueError:
        raise ValueError("CID:PORT, two numbers") from None


def workarounds(value: str) -> str:
    """sshfs's colon separated list: names, ``no`` before a name, ``none``, ``all``."""
    for word in value.split(":"):
        if word not in ("none", "all", *WORKAROUNDS) and word.removeprefix("no") not in WORKAROUNDS:
            raise ValueError("a colon separated list of none, all, " + ", ".join(WORKAROUNDS))
    return value
