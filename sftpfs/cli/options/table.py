"""The one table of options: parsing, ``--help``, the man page and OPTIONS.md are made from it.

Its rows own names, types, defaults and help texts. The rows of the kernel are here; those of the connection
and of files have their own modules. ``fields`` are dotted paths into ``MountConfig``. Nothing here reads argv
or builds a configuration.
"""

from __future__ import annotations

from sftpfs.cli.options import value_parsers
from sftpfs.cli.options.row import Option, Section
from sftpfs.cli.options.rows_connection import COMMAND, CONNECTION
from sftpfs.cli.options.rows_files import CACHE, DATA, LINKS, OWNERSHIP
from sftpfs.cli.options.rows_ignored import FSTAB_WORDS, MOOT, REFUSED


def _kernel(name: str, help: str, **more: object) -> Option:
    return Option(name, help, Section.KERNEL, to_kernel=True, **more)  # type: ignore[arg-type]


_KERNEL = [
    Option("ro", "read-only", Section.KERNEL, ("fuse.read_only",), flags=("-r",)),
    Option(
        "rw",
        "read and write (default)",
        Section.KERNEL,
        ("fuse.read_only",),
        flags=("-w",),
        constant=False,
    ),
    Option(
        "fsname",
        "name shown as the mount's source; the default is the server and directory",
        Section.KERNEL,
        ("fuse.filesystem_name",),
        value_parsers.text,
        "NAME",
    ),
    Option(
        "subtype",
        "the mount's type is fuse.NAME",
        Section.KERNEL,
        ("fuse.subtype",),
        value_parsers.text,
        "NAME",
        default="sftpfs",
    ),
    _kernel("nosuid", "ignore set-user-id bits (default)"),
    _kernel("suid", "honour set-user-id bits (root only)"),
    _kernel("nodev", "ignore devices (default)"),
    _kernel("dev", "honour devices (root only)"),
    _kernel("noexec", "let no program be executed"),
    _kernel("exec", "let programs be executed (default)"),
    _kernel("sync", "every write waits for the server", fields=("data.synchronous_writes",)),
    _kernel(
        "async",
        "writes are collected before they are sent (default)",
        fields=("data.synchronous_writes",),
        constant=False,
    ),
    _kernel("auto_unmount", "unmount when the process dies"),
    *(
        _kernel(
            f"{kind}context",
            "SELinux label, if the kernel has SELinux",
            parse=value_parsers.text,
            metavar="LABEL",
        )
        for kind in ("", "fs", "def", "root")
    ),
]

OPTIONS: tuple[Option, ...] = (
    *COMMAND,
    *CONNECTION,
    *CACHE,
    *DATA,
    *OWNERSHIP,
    *LINKS,
    *_KERNEL,
    *FSTAB_WORDS,
    *MOOT,
    *REFUSED,
)

BY_NAME: dict[str, Option] = {
    name: option for option in OPTIONS if option.name for name in (option.name, *option.aliases)
}
"""By what may follow ``-o``."""

BY_FLAG: dict[str, Option] = {flag: option for option in OPTIONS for flag in option.flags}
