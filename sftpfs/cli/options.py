"""The one table of options: parsing, ``--help`` and the README are made from it.

Owns names, types, defaults and help texts. ``fields`` are dotted paths into
``MountConfig``. Nothing here reads argv or builds a configuration.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpfs.cli import values
from sftpfs.cli.option import Option, Section
from sftpfs.cli.without_effect import FSTAB_WORDS, MOOT, REFUSED
from sftpfs.config import IdMapping, SymlinkPolicy, TransportKind, UnmappedId


def _lease(name: str, *fields: str, help: str, default: str = "20") -> Option:
    aliases = (name.replace("dcache_", "cache_"),) if name.startswith("dcache_") else ()
    return Option(
        name, help, Section.CACHE, fields, values.seconds, "SECONDS", default=default, aliases=aliases
    )


def _transport(name: str, field: str, parse: Callable[[str], object], metavar: str, help: str) -> Option:
    return Option(name, help, Section.CONNECTION, (field,), parse, metavar, excludes="transport")


_COMMAND = [
    Option("", "show this help and end", Section.COMMAND, flags=("-h", "--help")),
    Option("", "show the version and end", Section.COMMAND, flags=("-V", "--version")),
    Option("", "stay in the foreground, log to stderr", Section.COMMAND, ("foreground",), flags=("-f",)),
    Option(
        "debug",
        "foreground, and log in detail",
        Section.COMMAND,
        ("debug", "foreground", "transport.debug"),
        flags=("-d", "--debug"),
    ),
    Option(
        "sshfs_debug",
        "log in detail",
        Section.COMMAND,
        ("debug", "transport.debug"),
    ),
    Option(
        "verbose",
        "log what is done and which options have no effect",
        Section.COMMAND,
        ("verbose",),
        flags=("-v",),
        aliases=("sshfs_verbose",),
    ),
    Option(
        "log_file",
        "log to FILE instead of syslog or stderr",
        Section.COMMAND,
        ("log_file",),
        values.path,
        "FILE",
    ),
]

_CONNECTION = [
    Option(
        "port",
        "port to connect to",
        Section.CONNECTION,
        ("endpoint.port",),
        values.port,
        "PORT",
        flags=("-p",),
    ),
    Option(
        "ssh_config",
        "read FILE instead of ~/.ssh/config and /etc/ssh/ssh_config; none: read no file",
        Section.CONNECTION,
        ("transport.ssh_config_file",),
        values.path_or_none,
        "FILE",
        flags=("-F",),
    ),
    Option("", "compress, as Compression=yes", Section.CONNECTION, ("transport.compression",), flags=("-C",)),
    Option(
        "password_stdin",
        "read the password from standard input",
        Section.CONNECTION,
        ("transport.password_stdin",),
    ),
    Option(
        "max_conns",
        "connections to the server at most; further ones are made when bulk data needs them",
        Section.CONNECTION,
        ("pool.max_connections",),
        values.integer(1, 64),
        default="4",
    ),
    Option(
        "timeout",
        "a request without an answer for so long fails",
        Section.CONNECTION,
        ("pool.timeout",),
        values.positive_seconds,
        "SECONDS",
        default="30",
    ),
    Option(
        "reconnect",
        "operations and open files survive the loss of a connection (default)",
        Section.CONNECTION,
        ("pool.reconnect",),
        excludes="reconnect",
    ),
    Option(
        "no_reconnect",
        "what is under way or open when a connection is lost fails; later requests connect again",
        Section.CONNECTION,
        ("pool.reconnect",),
        constant=False,
        excludes="reconnect",
    ),
    Option(
        "soft",
        "operations fail when the server is lost for longer than timeout= (default)",
        Section.CONNECTION,
        ("pool.hard",),
        constant=False,
        excludes="patience",
    ),
    Option(
        "hard",
        "operations wait for ever for a server that is lost",
        Section.CONNECTION,
        ("pool.hard",),
        excludes="patience",
    ),
    Option("delay_connect", "connect when the mount is first used", Section.CONNECTION, ("delay_connect",)),
    Option(
        "no_check_root",
        "do not look whether the directory exists on the server",
        Section.CONNECTION,
        ("check_root",),
        constant=False,
    ),
    Option(
        "sftp_server",
        "subsystem, or path of the server program on the remote side",
        Section.CONNECTION,
        ("transport.sftp_server",),
        values.text,
        "NAME",
        default="sftp",
    ),
    _transport(
        "ssh_command",
        "transport.ssh_command",
        values.command,
        "COMMAND",
        "connect with COMMAND, for example ssh",
    ),
    _transport(
        "directport",
        "transport.direct_port",
        values.port,
        "PORT",
        "speak SFTP on a bare TCP port, without SSH",
    ),
    _transport(
        "unix_socket", "transport.unix_path", values.path, "PATH", "speak SFTP on a UNIX socket, without SSH"
    ),
    _transport(
        "vsock", "transport.vsock", values.vsock_address, "CID:PORT", "speak SFTP on a vsock, without SSH"
    ),
    Option(
        "passive",
        "speak SFTP on standard input and output",
        Section.CONNECTION,
        ("transport.kind",),
        constant=TransportKind.PASSIVE,
        aliases=("slave",),
        excludes="transport",
    ),
    Option(
        "max_read",
        "bytes one request reads at most; without it, what the server takes",
        Section.CONNECTION,
        ("pool.max_read",),
        values.integer(512, 1 << 20),
        "BYTES",
    ),
    Option(
        "max_write",
        "bytes one request writes at most; without it, what the server takes",
        Section.CONNECTION,
        ("pool.max_write",),
        values.integer(512, 1 << 20),
        "BYTES",
    ),
]

_CACHE = [
    Option(
        "dir_cache",
        "keep names, attributes and link targets for a while",
        Section.CACHE,
        ("cache.enabled",),
        values.boolean,
        "yes|no",
        default="yes",
        aliases=("cache",),
    ),
    _lease(
        "dcache_timeout",
        "cache.stat_timeout",
        "cache.directory_timeout",
        "cache.link_timeout",
        "cache.negative_timeout",
        help="for how long they are believed; the next four set one kind each",
    ),
    _lease("dcache_stat_timeout", "cache.stat_timeout", help="attributes"),
    _lease("dcache_dir_timeout", "cache.directory_timeout", help="listings of directories"),
    _lease("dcache_link_timeout", "cache.link_timeout", help="targets of symbolic links"),
    _lease("negative_timeout", "cache.negative_timeout", help="names known not to exist"),
    Option(
        "dcache_max_size",
        "names known not to exist that are kept at most",
        Section.CACHE,
        ("cache.max_entries",),
        values.integer(1, 100_000_000),
        default="10000",
        aliases=("cache_max_size",),
    ),
    _lease("entry_timeout", "cache.entry_timeout", help="bounds what the kernel keeps of names", default=""),
    _lease(
        "attr_timeout",
        "cache.attribute_timeout",
        help="bounds what the kernel keeps of attributes",
        default="",
    ),
]

_DATA = [
    Option(
        "sshfs_sync",
        "every write waits for the server",
        Section.DATA,
        ("data.synchronous_writes",),
    ),
    Option(
        "no_readahead", "read only what was asked for", Section.DATA, ("data.read_ahead",), constant=False
    ),
    Option("direct_io", "bypass the kernel's page cache", Section.DATA, ("data.direct_io",)),
    Option(
        "kernel_cache",
        "keep the kernel's pages across opens even when the file changed on the server",
        Section.DATA,
        ("data.kernel_cache",),
    ),
    Option(
        "auto_cache",
        "keep them while size and time are unchanged (default)",
        Section.DATA,
        ("data.auto_cache",),
    ),
    Option("noauto_cache", "drop them at every open", Section.DATA, ("data.auto_cache",), constant=False),
]

_OWNERSHIP = [
    Option(
        "idmap",
        "user: your remote account's files are yours here; name: so are everybody's who has the same name on "
        "both sides; file: by uidfile and gidfile; none: no change",
        Section.OWNERSHIP,
        ("ownership.id_mapping",),
        values.choice({kind.value: kind for kind in IdMapping}),
        "none|user|file|name",
        default="user",
    ),
    Option(
        "uidfile",
        "name:remote-uid lines for idmap=file",
        Section.OWNERSHIP,
        ("ownership.uid_file",),
        values.path,
        "FILE",
    ),
    Option(
        "gidfile",
        "name:remote-gid lines for idmap=file",
        Section.OWNERSHIP,
        ("ownership.gid_file",),
        values.path,
        "FILE",
    ),
    Option(
        "nomap",
        "what becomes of ids that are not mapped: error is the default of idmap=file, ignore of idmap=name",
        Section.OWNERSHIP,
        ("ownership.unmapped",),
        values.choice({kind.value: kind for kind in UnmappedId}),
        "error|ignore",
    ),
    Option(
        "uid",
        "show every file as owned by this user",
        Section.OWNERSHIP,
        ("ownership.uid",),
        values.user,
        "USER",
    ),
    Option(
        "gid",
        "show every file as of this group",
        Section.OWNERSHIP,
        ("ownership.gid",),
        values.group,
        "GROUP",
    ),
    Option(
        "umask",
        "permission bits to take away, octal",
        Section.OWNERSHIP,
        ("ownership.umask",),
        values.octal,
        "MASK",
    ),
    Option(
        "default_permissions",
        "the kernel checks permissions (default with allow_other and allow_root)",
        Section.OWNERSHIP,
        ("fuse.default_permissions",),
    ),
    Option(
        "no_default_permissions",
        "the server alone decides",
        Section.OWNERSHIP,
        ("fuse.default_permissions",),
        constant=False,
        aliases=("nodefault_permissions",),
    ),
    Option("allow_other", "let every user in", Section.OWNERSHIP, ("fuse.allow_other",), excludes="allow"),
    Option("allow_root", "let root in", Section.OWNERSHIP, ("fuse.allow_root",), excludes="allow"),
]


def _symlinks(name: str, policy: SymlinkPolicy, help: str, excludes: str = "") -> Option:
    return Option(name, help, Section.LINKS, ("symlinks",), constant=policy, excludes=excludes)


_LINKS = [
    _symlinks(
        "contain_symlinks",
        SymlinkPolicy.CONTAIN,
        "links to targets inside the mount work, others are refused (default)",
        excludes="contain",
    ),
    _symlinks("no_contain_symlinks", SymlinkPolicy.PASS, "show every target as it is", excludes="contain"),
    _symlinks(
        "transform_symlinks",
        SymlinkPolicy.TRANSFORM,
        "rewrite absolute targets inside the mount, show the others as they are",
    ),
    _symlinks("follow_symlinks", SymlinkPolicy.FOLLOW, "the server follows links: the mount shows none"),
    Option("disable_hardlink", "link(2) fails with ENOSYS", Section.LINKS, ("hard_links",), constant=False),
]


def _kernel(name: str, help: str, **more: object) -> Option:
    return Option(name, help, Section.KERNEL, to_kernel=True, **more)  # type: ignore[arg-type]


_KERNEL = [
    Option("ro", "read-only", Section.KERNEL, ("fuse.read_only",), flags=("-r",), excludes="access"),
    Option(
        "rw",
        "read and write (default)",
        Section.KERNEL,
        ("fuse.read_only",),
        flags=("-w",),
        constant=False,
        excludes="access",
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
    *_COMMAND,
    *_CONNECTION,
    *_CACHE,
    *_DATA,
    *_OWNERSHIP,
    *_LINKS,
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

TRANSPORT_KINDS = {
    "ssh_command": TransportKind.COMMAND,
    "directport": TransportKind.TCP,
    "unix_socket": TransportKind.UNIX,
    "vsock": TransportKind.VSOCK,
    "passive": TransportKind.PASSIVE,
}
"""The option that gives each transport other than the default."""
