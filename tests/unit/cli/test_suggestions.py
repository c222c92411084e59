"""What people used to other programs type gets the line that would have worked."""

from __future__ import annotations

import pytest

from sftpfs.cli.commands.dispatch import find_command, run_command
from sftpfs.cli.commands.table import COMMANDS
from sftpfs.cli.options import suggestions
from sftpfs.cli.options.parse import parse_arguments
from sftpfs.cli.options.table import BY_FLAG, BY_NAME
from sftpfs.errors import Failure, MountError


def hint_of(*argv: str) -> str:
    """The one line for a command line that cannot be read."""
    with pytest.raises(MountError) as caught:
        command = find_command(list(argv))
        if command is not None:
            run_command(command, list(argv[1:]))
        parse_arguments(list(argv))
    assert caught.value.failure is Failure.USAGE
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("mount joe@host: there", "sftpfs joe@host: there"),
        ("mount", "sftpfs [user@]host:[directory] mountpoint"),
        ("list", "sftpfs status"),
        ("ls", "sftpfs status"),
        ("help", "sftpfs --help"),
        ("version", "sftpfs --version"),
        ("unmount there", "sftpfs umount"),
        ("umount -l there", "umount -l DIRECTORY"),
        ("umount -f there", "--force"),
        ("umount -z there", "umount -l DIRECTORY"),
        ("umount -lf there", "umount -l DIRECTORY"),
        ("umount -a", "umount -a -t fuse.sftpfs"),
        ("fusermount3 -u there", "sftpfs umount DIRECTORY"),
        ("-u there", "sftpfs umount"),
        ("-i key host: there", "-o IdentityFile=KEY"),
        ("-J jump host: there", "-o ProxyJump=HOST"),
        ("--read-only host: there", "-o ro"),
        ("--vfs-cache-mode full host: there", "leave it out"),
        ("--vfs-cache-mode=full host: there", "leave it out"),
        ("--dir-cache-time=5s host: there", "-o cache_timeout=SECONDS"),
        ("--allow-other host: there", "write -o allow_other;"),
        ("--umask 022 host: there", "-o umask=MASK"),
        ("--cache host: there", "-o cache="),
    ],
)
def test_the_line_that_would_have_worked(line: str, hint: str) -> None:
    """The message holds it."""
    assert hint in hint_of(*line.split())


def test_no_hint_stands_in_the_way_of_what_there_is() -> None:
    """What is a command or an option is none of the habits, and what a hint names is there."""
    assert not suggestions.FIRST_WORDS.keys() & {command.name for command in COMMANDS}
    assert not suggestions.FLAGS.keys() & BY_FLAG.keys()
    for hint in suggestions.FLAGS.values():
        option = hint.partition("write -o ")[2].partition("=")[0].partition(" ")[0]
        assert not option or option in BY_NAME or option[0].isupper(), hint
