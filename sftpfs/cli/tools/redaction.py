"""Removes secrets from text, for a report that a person hands to others. Pure.

Removes the arguments of commands (they may hold anything), passwords in URLs, and what follows a word that
announces a secret. Keeps names of hosts, users and files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sftpfs.cli.options.parse import Arguments, parse_arguments
from sftpfs.errors import MountError

LEFT_OUT = "[left-out]"

SHORTEST = 4
"""Characters of a text that is searched for everywhere; a shorter one is in every other word."""

_COMMANDS = ("command", "sftp_server", "setenv")
"""Options with such a part in their lowered name take a command, or values of the environment."""

_PATTERNS = (
    (re.compile(r"-----BEGIN [^\n]*?-----.*?(-----END [^\n]*?-----|\Z)", re.DOTALL), LEFT_OUT),
    (re.compile(r"(://[^\s:/@]*):\S+@"), rf"\1:{LEFT_OUT}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {LEFT_OUT}"),
    (
        re.compile(
            r"(?i)((?:[\w-]*(?:passwo?r?d|passphrase|token|secret|api[_-]?key|credential|signature)[\w-]*|"
            r"--?(?:proxy-)?(?:auth|user))['\"]?[ ]*[=:][ ]*|--[\w-]*(?:passwo?r?d|token|secret|auth|user) +)"
            r"(?!asked|yes\b|no\b)('[^']*'|\"[^\"]*\"|[^\s&,;'\"]+)"
        ),
        rf"\1{LEFT_OUT}",
    ),
    (
        re.compile(r"(?i)((?:proxy|local|remote|knownhosts|ssh_)_?command=['\"]?[^\s'\",]+)[^\n]*"),
        rf"\1 {LEFT_OUT}",
    ),
)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without what looks like a secret, and without each of ``secrets`` wherever it stands."""
    for secret in sorted({one for one in secrets if len(one) >= SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, LEFT_OUT)
    for pattern, put in _PATTERNS:
        text = pattern.sub(put, text)
    return text


def without_secrets(value: Any, secrets: Iterable[str]) -> Any:
    """A value of JSON with each text in it ``redacted``."""
    if isinstance(value, str):
        return redacted(value, secrets)
    if isinstance(value, dict):
        return {name: without_secrets(inner, secrets) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_secrets(inner, secrets) for inner in value]
    return value


def options_of(words: list[str]) -> tuple[list[str], set[str]]:
    """The lines that say how a mount was made, from its command line, and the secrets found in it.

    Of a command only its program is shown, because arguments are among the secrets. If the words are not
    understood (a mount of another version), nothing of them is shown.
    """
    try:
        arguments = parse_arguments(words, sloppy=True)
    except MountError:
        return ["the command line is not one of this version of sftpfs, and is left out"], set()
    secrets: set[str] = set()
    lines = list(arguments.positionals)
    for name, value in _named(arguments):
        if value is not None and any(part in name.lower() for part in _COMMANDS):
            program, _, rest = value.strip().partition(" ")
            if "=" in program:  # an assignment before the program, or SetEnv
                program, rest = "", value.strip()
            secrets.update((rest.strip(), *rest.split()) if rest else ())
            value = f"{program} {LEFT_OUT}".strip() if rest else program
        lines.append(f"-o {name}" if value is None else f"-o {name}={value}")
    return lines, {secret for secret in secrets if len(secret) >= SHORTEST and not _plain(secret)}


def _named(arguments: Arguments) -> list[tuple[str, str | None]]:
    given = [(option.name or option.flags[-1], value) for option, value in arguments.options]
    return [*given, *arguments.ssh_options]


def _plain(word: str) -> bool:
    """Whether it is no secret, but a part of every command, such as ``%h:%p`` or ``exec``."""
    return word.startswith("%") or word in ("exec", "proxy", "connect")
