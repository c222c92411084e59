"""The manual pages sftpfs(1) and mount.sftpfs(8), made from the tables of options and commands.

Pure text, in the man(7) macros. ``contrib/generate`` writes the pages.
"""

from __future__ import annotations

from collections.abc import Iterator

from sftpfs import __version__
from sftpfs.cli.commands.table import COMMANDS
from sftpfs.cli.docs.help import EXIT_STATUSES, SSH_NOTE, rows
from sftpfs.cli.options.row import Section

DESCRIPTION = """\
sftpfs makes a directory of an SSH server a local directory. The server needs nothing beyond what SSH brings.

Without a directory, host: means the home directory on the server; a relative directory starts there. Put an \
IPv6 address in brackets. The command returns once the mount is there and its root was read, if that may be \
listed. Otherwise it says in one line what failed, and leaves nothing mounted.

sftpfs uses whatever ssh uses: ~/.ssh/config, the agent, keys, certificates, passwords, jump hosts. It \
checks host keys. It asks questions on the terminal; if there is none but a display, the program that \
SSH_ASKPASS names asks them.

sftpfs umount unmounts. So do umount(8), fusermount3 -u and SIGTERM. The process ends when everything is on \
the server. A signal gives programs that use the mount one second, and the log names them. A second signal \
does not wait for that second. A third saves on this machine what was not written yet, and ends at once. \
SIGUSR1 logs statistics. Log lines go to syslog, or to the file that log_file= names.
"""

OPTION_NOTE = """\
Options may stand before or after the server and the mountpoint. -o takes several, separated by commas. \
Write a comma inside a value as \\\\, and a backslash as \\\\\\\\.
"""

FILES = (
    ("~/.ssh/config, /etc/ssh/ssh_config", "read as ssh reads them; -F names another one"),
    ("~/.ssh/known_hosts, /etc/ssh/ssh_known_hosts", "host keys"),
    (
        "$XDG_STATE_HOME/sftpfs/lost, ~/.local/state/sftpfs/lost, /var/lib/sftpfs/lost",
        "what a server did not take, for sftpfs restore; the last is for root and for users without a home",
    ),
    ("/etc/fuse.conf", "its line user_allow_other lets users give the option allow_other"),
)

EXAMPLES = (
    ("Mount a directory, and unmount it:", ("sftpfs joe@host:work ~/work", "sftpfs umount ~/work")),
    ("Through a jump host, with a key:", ("sftpfs host: ~/x -o ProxyJump=gate,IdentityFile=~/.ssh/id",)),
    (
        "As root, like any other file system, once the helpers are installed:",
        ("mount -t sftpfs host:/srv /mnt",),
    ),
)

HELPER_DESCRIPTION = """\
mount(8) and umount(8) run these helpers for the types sftpfs and fuse.sftpfs; sftpfs install-helpers puts \
them where mount(8) and umount(8) look for them. Options are those of sftpfs(1).

mount.sftpfs ends with status 0 once the mount is there and its root was read, if that may be listed. \
Without a terminal it asks nobody for anything: name a key without a passphrase, and have the host key in \
known_hosts. It needs neither HOME nor PATH.

umount.sftpfs ends when everything is on the server and the mount's process is gone. With -l it does not \
wait. If another mount namespace keeps a copy of the mount, it ends once everything is on the server, and \
says which. If something could not be written, it says what, and where it was saved, and ends with status 74.

umount.fuse, which umount(8) runs for every FUSE file system that root unmounts, is a small script. It asks \
sftpfs only about mounts of sftpfs, and leaves all others to umount(8).

mount -o remount changes ro and rw, and nosuid, nodev and noexec and their opposites. The kernel itself does \
that, while programs work. A file that is open for writing keeps the mount from becoming read-only. The \
command says which other options stay as they were: to change those, unmount, and mount again.

In fstab(5) write a comma inside a value as \\, and a blank as \\040. \\054 is the comma between two \
options, because mount(8) makes a comma of it before it runs mount.sftpfs.
"""

HELPER_LETTERS = (
    ("-o OPTIONS", "options, separated by commas"),
    (
        "-f",
        "mount.sftpfs: check what can be checked without the server, and mount nothing; umount.sftpfs: force",
    ),
    ("-s", "ignore unknown options"),
    ("-v", "say what is done"),
    ("-l", "umount.sftpfs: detach now, do not wait"),
    ("-n, -r, -t TYPE, -N NAMESPACE", "accepted"),
)

HELPER_STATUSES = (
    ("0", "mounted, or unmounted"),
    ("1", "the options are wrong"),
    ("4", "an error in sftpfs itself"),
    ("8", "interrupted"),
    ("32", "the mount or the unmount failed; one line says why"),
    ("74", "unmounted, but some data could not be written to the server"),
)

FSTAB_EXAMPLE = (
    "joe@host:/srv /mnt/srv sftpfs noauto,nofail,_netdev,x-systemd.automount,"
    "IdentityFile=/etc/sftpfs/id_ed25519,UserKnownHostsFile=/etc/ssh/ssh_known_hosts,allow_other 0 0"
)


def escaped(text: str) -> str:
    """Text as roff takes it: hyphens that are typed, no line taken for a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return "\\&" + text if text[:1] in (".", "'") else text


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs separated by empty lines."""
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield ".PP"
        yield escaped(paragraph.replace("\\\\", "\\"))


def _tagged(label: str, text: str) -> list[str]:
    return [".TP", f"\\fB{escaped(label)}\\fR", escaped(text)]


def _example(lines: tuple[str, ...]) -> list[str]:
    return [".PP", ".nf", ".RS", *(escaped(line) for line in lines), ".RE", ".fi"]


def _head(title: str, section: int) -> list[str]:
    return [
        '.\\" Made by contrib/generate from the tables of sftpfs.cli; do not edit.',
        f'.TH {title} {section} "" "sftpfs {__version__}" ""',
    ]


def _options() -> Iterator[str]:
    for section in Section:
        yield f'.SS "{escaped(section.value)}"'
        for label, description in rows(section):
            yield from _tagged(label, description)
        if section is Section.CONNECTION:
            yield from (".PP", escaped(SSH_NOTE))


def _commands() -> Iterator[str]:
    for command in COMMANDS:
        yield f'.SS "{escaped(command.synopsis)}"'
        yield from paragraphs(command.description)
        for argument in command.arguments:
            yield from _tagged(argument.name, argument.help)
        for switch in command.switches:
            default = f" (default {switch.default})" if switch.default else ""
            yield from _tagged(switch.label, switch.help + default)


def command_page() -> str:
    """sftpfs(1)."""
    lines = [
        *_head("SFTPFS", 1),
        ".SH NAME",
        "sftpfs \\- mount a directory of an SFTP server",
        ".SH SYNOPSIS",
        ".nf",
        "\\fBsftpfs\\fR [\\fIuser\\fR@]\\fIhost\\fR:[\\fIdirectory\\fR] \\fImountpoint\\fR [\\fIoptions\\fR]",
        "\\fBsftpfs\\fR sftp://[\\fIuser\\fR@]\\fIhost\\fR[:\\fIport\\fR]/\\fIdirectory\\fR "
        "\\fImountpoint\\fR [\\fIoptions\\fR]",
        "\\fBsftpfs\\fR \\fIcommand\\fR ...",
        ".fi",
        ".SH DESCRIPTION",
        *paragraphs(DESCRIPTION),
        ".SH COMMANDS",
        *_commands(),
        ".SH OPTIONS",
        *paragraphs(OPTION_NOTE),
        *_options(),
        ".SH EXIT STATUS",
    ]
    for status, meaning in EXIT_STATUSES.items():
        lines += _tagged(str(status), meaning)
    lines.append(".SH FILES")
    for name, meaning in FILES:
        lines += _tagged(name, meaning)
    lines.append(".SH EXAMPLES")
    for words, example in EXAMPLES:
        lines += [".PP", escaped(words), *_example(example)]
    lines += [".SH SEE ALSO", "mount.sftpfs(8), ssh_config(5), fusermount3(1), mount(8), fstab(5)"]
    return "\n".join(lines) + "\n"


def helper_page() -> str:
    """mount.sftpfs(8)."""
    lines = [
        *_head("MOUNT.SFTPFS", 8),
        ".SH NAME",
        "mount.sftpfs, umount.sftpfs \\- helpers of mount(8) and umount(8)",
        ".SH SYNOPSIS",
        ".nf",
        "\\fBmount \\-t sftpfs\\fR [\\fIuser\\fR@]\\fIhost\\fR:[\\fIdirectory\\fR] \\fImountpoint\\fR "
        "[\\fB\\-o\\fR \\fIoptions\\fR]",
        "\\fBmount.sftpfs\\fR \\fIserver\\fR \\fImountpoint\\fR [\\fB\\-sfnv\\fR] [\\fB\\-N\\fR "
        "\\fInamespace\\fR] [\\fB\\-o\\fR \\fIoptions\\fR] [\\fB\\-t\\fR \\fItype\\fR]",
        "\\fBumount.sftpfs\\fR \\fImountpoint\\fR [\\fB\\-flnrv\\fR] [\\fB\\-N\\fR \\fInamespace\\fR] "
        "[\\fB\\-t\\fR \\fItype\\fR]",
        ".fi",
        ".SH DESCRIPTION",
        *paragraphs(HELPER_DESCRIPTION),
        ".SH OPTIONS",
    ]
    for label, meaning in HELPER_LETTERS:
        lines += _tagged(label, meaning)
    lines += [".PP", "A line of fstab that systemd mounts on first use:", *_example((FSTAB_EXAMPLE,))]
    lines.append(".SH EXIT STATUS")
    for status, meaning in HELPER_STATUSES:
        lines += _tagged(status, meaning)
    lines += [".SH SEE ALSO", "sftpfs(1), mount(8), umount(8), fstab(5), systemd.mount(5)"]
    return "\n".join(lines) + "\n"
