"""The tables of options, commands and statuses as text: for ``--help``, and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from sftpfs.cli.commands.dispatch import WIDTH, command_rows
from sftpfs.cli.commands.table import COMMANDS
from sftpfs.cli.options.row import Option, Section
from sftpfs.cli.options.table import OPTIONS
from sftpfs.errors import Failure
from sftpfs.host.daemon import DATA_LOST_STATUS, INTERNAL_STATUS, INTERRUPTED_STATUS

INDENT = 31

SYNOPSIS = """\
usage: sftpfs [user@]host:[directory] mountpoint [options]
       sftpfs sftp://[user@]host[:port]/directory mountpoint [options]
       sftpfs COMMAND …

Mounts a directory of an SFTP server; sftpfs umount unmounts it.

    sftpfs joe@host:work ~/remote      asks what ssh asks, reads ~/.ssh/config
    sftpfs umount ~/remote             returns when every byte is on the server
    sftpfs doctor joe@host:            says what is wrong, and what mends it
"""

OPTIONS_HEAD = r"""# Options, exit statuses

Options may stand before or after the server and the mountpoint. `-o` takes several, separated by
commas. Write a comma inside a value as `\,` and a backslash as `\\`. `contrib/generate` makes this page.
"""

SSH_NOTE = (
    "Any ssh_config(5) keyword may be given as -o Name=value: IdentityFile, ProxyJump, "
    "ServerAliveInterval, StrictHostKeyChecking, User and so on. This value wins over the file's."
)

EXIT_STATUSES: dict[int, str] = {
    0: "mounted (in the foreground: unmounted again, everything is on the server)",
    Failure.USAGE.value: "the command line is wrong",
    Failure.NAME_NOT_FOUND.value: "the host name is not known",
    Failure.REFUSED.value: "the connection was refused",
    Failure.TIMED_OUT.value: "the server did not answer in time",
    Failure.UNREACHABLE.value: "the network or host cannot be reached",
    Failure.HOST_KEY_UNKNOWN.value: "the host key is unknown and was not accepted",
    Failure.HOST_KEY_CHANGED.value: "the host key is not the known one",
    Failure.AUTHENTICATION.value: "the server refused the login",
    Failure.NO_SFTP.value: "the server offers no SFTP",
    Failure.REMOTE_DIRECTORY.value: "the remote directory is missing, no directory, or may not be read",
    Failure.MOUNTPOINT.value: "the mountpoint is missing, no directory, dead, in use, replaced, or no mount",
    Failure.FUSE.value: "FUSE is missing or does not allow the mount",
    Failure.PROTOCOL.value: "the server violates the protocol",
    Failure.CONFIGURATION.value: "a configuration or key file cannot be used",
    Failure.TRANSPORT.value: "the transport failed in another way",
    Failure.COMMAND.value: "a mount could not do what a command asked",
    INTERNAL_STATUS: "an error in sftpfs itself",
    DATA_LOST_STATUS: "unmounted, but some data could not be written to the server",
    INTERRUPTED_STATUS: "interrupted",
}


def _describe(option: Option) -> str:
    return f"{option.help} (default {option.default})" if option.default else option.help


def rows(section: Section) -> Iterator[tuple[str, str]]:
    """(labels, description); neighbours with the same description share a row."""
    shared: list[str] = []
    previous = ""
    terse = section in (Section.FSTAB, Section.MOOT, Section.REFUSED)
    for option in OPTIONS:
        if option.section is not section:
            continue
        label = (option.name or option.flags[0]) if terse else option.label
        description = option.why if terse else _describe(option)
        if shared and description != previous:
            yield ", ".join(shared), previous
            shared = []
        shared.append(label)
        previous = description
    if shared:
        yield ", ".join(shared), previous


def help_text() -> str:
    """What ``sftpfs --help`` prints."""
    lines = [SYNOPSIS, "Commands (sftpfs COMMAND --help tells more):", *command_rows(), ""]
    for section in Section:
        lines.append(f"{section.value}:")
        for label, description in rows(section):
            lines += _help_row(label, description)
        if section is Section.CONNECTION:
            lines += ["", *textwrap.wrap(SSH_NOTE, WIDTH, initial_indent="    ", subsequent_indent="    ")]
        if section is Section.FSTAB:
            lines += _help_row("x-*, X-*", "for others")
        lines.append("")
    lines.append("Exit status:")
    for status, meaning in EXIT_STATUSES.items():
        lines += textwrap.wrap(meaning, WIDTH, initial_indent=f"    {status:<3} ", subsequent_indent=" " * 8)
    return "\n".join(lines) + "\n"


def _help_row(label: str, description: str) -> list[str]:
    blank = " " * INDENT
    body = textwrap.wrap(description, WIDTH, initial_indent=blank, subsequent_indent=blank)
    if len(label) + 4 < INDENT:
        return [f"    {label}".ljust(INDENT) + body[0].strip(), *body[1:]]
    head = textwrap.wrap(
        label, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
    )
    return [*head, *body]


def options_page() -> str:
    """OPTIONS.md."""
    return f"{OPTIONS_HEAD}\n{_option_tables()}\n## Exit status\n\n{_statuses()}"


def _option_tables() -> str:
    lines: list[str] = []
    for section in Section:
        lines += [f"## {section.value}", "", "| option | meaning |", "|---|---|"]
        for label, description in rows(section):
            labels = ", ".join(f"`{word}`" for word in label.split(", "))
            lines.append(f"| {_cell(labels)} | {_cell(description)} |")
        lines.append("")
        if section is Section.CONNECTION:
            lines += [SSH_NOTE, ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """A bar inside a cell would end it."""
    return text.replace("|", r"\|")


def readme_commands() -> str:
    """The table of commands of the README."""
    rows = [f"| `{command.synopsis}` | {command.summary} |" for command in COMMANDS]
    return "\n".join(["| command | what it does |", "|---|---|", *rows]) + "\n"


def _statuses() -> str:
    rows = [f"| {status} | {meaning} |" for status, meaning in EXIT_STATUSES.items()]
    return "\n".join(["| status | meaning |", "|---|---|", *rows]) + "\n"
