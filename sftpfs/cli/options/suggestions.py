"""Suggestions for people used to ssh, sshfs, rclone and mount(8): the line that works here for what they
typed.

Pure: only words for messages; nothing becomes valid by them. Each hint continues a message after its "; " or
": ".
"""

from __future__ import annotations

import shlex

from sftpfs.cli.options.table import BY_NAME

FIRST_WORDS = {
    "mount": "leave the word out: sftpfs {rest}",
    "unmount": "sftpfs umount DIRECTORY unmounts",
    "fusermount": "sftpfs umount DIRECTORY unmounts",
    "fusermount3": "sftpfs umount DIRECTORY unmounts",
    "stop": "sftpfs umount DIRECTORY unmounts",
    "list": "sftpfs status shows the mounts",
    "ls": "sftpfs status shows the mounts",
    "mounts": "sftpfs status shows the mounts",
    "info": "sftpfs status shows the mounts",
    "help": "sftpfs --help, or man sftpfs",
    "version": "sftpfs --version tells it",
    "install": "sftpfs install-helpers lets mount(8) know sftpfs",
    "check": "sftpfs doctor [user@]host: examines a server",
    "config": "servers are named in ~/.ssh/config; sftpfs doctor [user@]host: examines one",
}
"""First words that are no command here."""

FLAGS = {
    "-i": "write -o IdentityFile=KEY",
    "-l": "write user@host:",
    "-J": "write -o ProxyJump=HOST",
    "-P": "write -p PORT",
    "-c": "write -o Ciphers=CIPHER",
    "-4": "write -o AddressFamily=inet",
    "-6": "write -o AddressFamily=inet6",
    "-A": "leave it out: files need no agent on the server",
    "-u": "sftpfs umount DIRECTORY unmounts",
    "-z": "umount -l DIRECTORY unmounts",
    "--port": "write -p PORT",
    "--verbose": "write -v",
    "--foreground": "write -f",
    "--daemon": "leave it out: it is the default",
    "--read-only": "write -o ro",
    "--dir-cache-time": "write -o cache_timeout=SECONDS",
    "--attr-timeout": "write -o attr_timeout=SECONDS",
    "--vfs-cache-mode": "leave it out: random writes go to the server as such",
    "--vfs-cache-max-age": "write -o cache_timeout=SECONDS",
    "--vfs-read-ahead": "leave it out: reading ahead follows the link",
    "--sftp-host": "write [user@]host:[directory]",
    "--sftp-user": "write user@host:[directory]",
    "--sftp-port": "write -p PORT",
    "--sftp-key-file": "write -o IdentityFile=KEY",
    "--sftp-known-hosts-file": "write -o UserKnownHostsFile=FILE",
    "--sftp-ssh": "write -o ssh_command=ssh",
    "--config": "write -F FILE",
    "--cache": "write -o cache=yes or no",
}
"""Flags of ssh, sftp, fusermount3 and rclone, and what is written here instead."""

COMMAND_FLAGS = {
    "umount": {
        "-l": "umount -l DIRECTORY lets programs in it go on; sftpfs umount --force does not wait for them",
        "-z": "umount -l DIRECTORY lets programs in it go on; sftpfs umount --force does not wait for them",
        "-f": "write --force",
        "-u": "leave it out",
        "-a": "umount -a -t fuse.sftpfs unmounts all of them",
    },
}
"""Flags that other programs give for what a command of ours does."""


def first_word(word: str, rest: list[str]) -> str | None:
    """A hint for a command line that begins with ``word``, which is no command, and goes on with ``rest``."""
    hint = FIRST_WORDS.get(word)
    return hint and hint.format(rest=shlex.join(rest) or "[user@]host:[directory] mountpoint")


def flag(word: str) -> str | None:
    """What to do about the flag ``word`` (``--name=value`` too), which is unknown."""
    name = word.partition("=")[0]
    known = FLAGS.get(name)
    if known is None and name.startswith("--"):
        option = name.removeprefix("--").replace("-", "_")
        row = BY_NAME.get(option)
        if row is not None:
            known = f"write -o {option}" + (f"={row.metavar}" if row.takes_value else "")
    return known


def command_flag(command: str, words: list[str]) -> str | None:
    """A hint for one of ``words`` that ``command`` does not know."""
    hints = COMMAND_FLAGS.get(command, {})
    # of letters written together the first counts
    return next((hints[word[:2]] for word in words if word[:2] in hints and not word.startswith("--")), None)
