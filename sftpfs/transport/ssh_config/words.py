"""What a line of ssh_config(5) or known_hosts is made of: keywords, quoted words, patterns. Pure."""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Sequence

from sftpfs.errors import Failure, MountError


def split_keyword(text: str) -> tuple[str, str]:
    """``Keyword value`` or ``Keyword=value`` taken apart."""
    match = re.match(r"""["]?([A-Za-z0-9]+)["]?(?:\s*=\s*|\s+|$)(.*)""", text, re.DOTALL)
    if not match:
        return text, ""
    return match[1], match[2].strip()


def split_words(value: str, where: str) -> list[str]:
    """The words of a line, without quotes and trailing comment. Raises MountError(CONFIGURATION)."""
    lexer = shlex.shlex(value, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.escape = ""  # a Windows login is DOMAIN\user
    try:
        words = list(lexer)
    except ValueError:
        raise MountError(Failure.CONFIGURATION, f"{where}: a quote is not closed") from None
    for index, word in enumerate(words):
        if word.startswith("#") and index:
            return words[:index]
    return words


def match_patterns(patterns: Sequence[str], subject: str) -> bool:
    """True if one pattern (``*`` and ``?``) matches, and none that is negated by ``!``."""
    found = False
    for pattern in patterns:
        if match_pattern(pattern.removeprefix("!"), subject):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def match_pattern(pattern: str, subject: str) -> bool:
    """ssh's wildcards: only ``*`` and ``?``; case does not count."""
    literal = pattern.lower().replace("[", "[[]")
    return fnmatch.fnmatchcase(subject.lower(), literal)
