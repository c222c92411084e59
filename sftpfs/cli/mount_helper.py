"""``mount.sftpfs`` and ``mount.fuse.sftpfs``: the command as mount(8), systemd and autofs call it.

Owns the differences from a person's command line (mount(8), "External helpers"): the letters ``-f``, ``-s``
and ``-N`` mean something else, options follow the positionals, and the exit status is one of mount(8)'s.
"""

from __future__ import annotations

from collections.abc import Iterator

from sftpfs.cli import remount
from sftpfs.cli.mount_command import start
from sftpfs.cli.options.parse import parse_arguments, usage_error
from sftpfs.errors import Failure
from sftpfs.host.daemon import INTERNAL_STATUS, INTERRUPTED_STATUS, guarded, to_stderr

MOUNT_USAGE = 1
MOUNT_INTERNAL = 4
MOUNT_INTERRUPTED = 8
MOUNT_FAILURE = 32

STATUSES = {
    0: 0,
    Failure.USAGE.value: MOUNT_USAGE,
    INTERNAL_STATUS: MOUNT_INTERNAL,
    INTERRUPTED_STATUS: MOUNT_INTERRUPTED,
}
"""Our statuses as mount(8) counts them ("EXIT STATUS"); every other one is a failed mount."""


def mount_helper(words: list[str]) -> int:
    """Mounts as ``words`` say. Returns one of mount(8)'s statuses."""
    status = guarded(lambda: _run(words), to_stderr, debug=False)
    return STATUSES.get(status, MOUNT_FAILURE)


def _run(words: list[str]) -> int:
    plain, fake, sloppy = own_letters(words)
    if remount.is_remount(plain):
        return 0 if fake else remount.remount(plain)
    return start(parse_arguments(plain, sloppy), only_check=fake)


def own_letters(words: list[str]) -> tuple[list[str], bool, bool]:
    """``words`` without the helper's own letters, and whether ``-f`` and ``-s`` were there.

    ``-f``: fake, check everything and mount nothing. ``-s``: sloppy, ignore unknown options. ``-N
    NAMESPACE``: mount(8) has entered it before it calls us.
    """
    plain: list[str] = []
    letters: set[str] = set()
    rest = iter(words)
    for word in rest:
        if word in ("-o", "-t"):
            plain += [word, *_value(word, rest)]
        elif word == "-N":
            _value(word, rest)
        elif word.startswith("-") and not word.startswith(("-o", "-t", "--")) and len(word) > 1:
            letters |= set(word[1:])
            kept = "".join(letter for letter in word[1:] if letter not in "fs")
            plain += ["-" + kept] if kept else []
        else:
            plain.append(word)
    return plain, "f" in letters, "s" in letters


def _value(word: str, rest: Iterator[str]) -> list[str]:
    try:
        return [next(rest)]
    except StopIteration:
        raise usage_error(f"option {word} needs a value") from None
