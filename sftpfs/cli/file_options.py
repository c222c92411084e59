"""Rows of the table of options: what is kept, and how files, their owners and links are shown.

Read through ``cli.options``.
"""

from __future__ import annotations

from sftpfs.cli import values
from sftpfs.cli.option import Option, Section
from sftpfs.config import IdMapping, SymlinkPolicy, UnmappedId


def _lease(name: str, *fields: str, help: str, default: str = "20") -> Option:
    aliases = (name.replace("dcache_", "cache_"),) if name.startswith("dcache_") else ()
    return Option(
        name, help, Section.CACHE, fields, values.seconds, "SECONDS", default=default, aliases=aliases
    )


CACHE = [
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

DATA = [
    Option(
        "sshfs_sync",
        "every write waits for the server",
        Section.DATA,
        ("data.synchronous_writes",),
    ),
    Option(
        "no_readahead",
        "read only what was asked for, and open only what is opened, each file by one handle",
        Section.DATA,
        ("data.read_ahead", "pool.several_handles"),
        constant=False,
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

OWNERSHIP = [
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
        "show every file with all permissions but those of MASK, octal",
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
    Option(
        "allow_root",
        "let root in; others may stat what was just looked up, as the kernel answers that, and no more",
        Section.OWNERSHIP,
        ("fuse.allow_root",),
        excludes="allow",
    ),
]


def _symlinks(name: str, policy: SymlinkPolicy, help: str) -> Option:
    return Option(name, help, Section.LINKS, ("symlinks",), constant=policy)


LINKS = [
    _symlinks(
        "contain_symlinks",
        SymlinkPolicy.CONTAIN,
        "links to targets inside the mount work, others are refused (default)",
    ),
    _symlinks("no_contain_symlinks", SymlinkPolicy.PASS, "show every target as it is"),
    _symlinks(
        "transform_symlinks",
        SymlinkPolicy.TRANSFORM,
        "rewrite absolute targets inside the mount, show the others as they are",
    ),
    _symlinks("follow_symlinks", SymlinkPolicy.FOLLOW, "the server follows links: the mount shows none"),
    Option(
        "modules",
        "iconv: names are in another character set on the server than here, as from_code and to_code say",
        Section.LINKS,
        ("names.modules",),
        values.modules,
        "iconv",
    ),
    Option(
        "from_code",
        "with modules=iconv, what names are in on the server: a character set that Python knows and that "
        "contains ASCII, or UTF-8-MAC, as macOS writes accents",
        Section.LINKS,
        ("names.from_code",),
        values.character_set,
        "CHARSET",
        default="UTF-8",
    ),
    Option(
        "to_code",
        "with modules=iconv, what names are in here; without it what the locale says",
        Section.LINKS,
        ("names.to_code",),
        values.character_set,
        "CHARSET",
    ),
    Option(
        "disable_hardlink",
        "link(2) fails with EPERM, as where there are no hard links",
        Section.LINKS,
        ("hard_links",),
        constant=False,
    ),
]
