"""The one table of options: parsing, ``--help`` and the README are made from it.

Its rows own names, types, defaults and help texts: those of the kernel here, those of the
connection and of files in modules of their own. ``fields`` are dotted paths into
``MountConfig``. Nothing here reads argv or builds a configuration.
"""

from __future__ import annotations

from sftpfs.cli import values
from sftpfs.cli.connection_options import COMMAND, CONNECTION
from sftpfs.cli.file_options import CACHE, DATA, LINKS, OWNERSHIP
from sftpfs.cli.option import Option, Section
from sftpfs.cli.without_effect import FSTAB_WORDS, MOOT, REFUSED


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
        "name shown as the mount's source; without it the endpoint",
        Section.KERNEL,
        ("fuse.filesystem_name",),
        values.text,
        "NAME",
    ),
    Option(
        "subtype",
        "the mount's type is fuse.NAME",
        Section.KERNEL,
        ("fuse.subtype",),
        values.text,
        "NAME",
        default="sftpfs",
    ),
    _kernel("nosuid", "ignore set-user-id bits (default)"),
    _kernel("suid", "honour set-user-id bits (root only)"),
    _kernel("nodev", "ignore devices (default)"),
    _kernel("dev", "honour devices (root only)"),
    _kernel("noexec", "let nothing be executed"),
    _kernel("exec", "let programs be executed (default)"),
    _kernel("sync", "every write waits for the server", fields=("data.synchronous_writes",)),
    _kernel("async", "writes are gathered (default)", fields=("data.synchronous_writes",), constant=False),
    _kernel("auto_unmount", "unmount when the process dies"),
    *(
        _kernel(
            f"{kind}context",
            "SELinux label, where the kernel has SELinux",
            parse=values.text,
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
