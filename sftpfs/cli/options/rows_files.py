"""Rows of the table of options: what is cached, and how files, their owners and links are shown.

Read through ``cli.options.table``.
"""

from __future__ import annotations

from sftpfs.cli.options import value_parsers
from sftpfs.cli.options.row import Option, Section
from sftpfs.config import IdMapping, SymlinkPolicy, UnmappedId


def _lease(name: str, *fields: str, help: str, default: str = "20") -> Option:
    aliases = (name.replace("dcache_", "cache_"),) if name.startswith("dcache_") else ()
    return Option(
        name, help, Section.CACHE, fields, value_parsers.seconds, "SECONDS", default=default, aliases=aliases
    )


CACHE = [
    Option(
        "dir_cache",
        "keep names, attributes and link targets for a while",
        Section.CACHE,
        ("cache.enabled",),
        value_parsers.boolean,
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
        help="how long cached metadata is believed; the next four set one kind each",
    ),
    _lease("dcache_stat_timeout", "cache.stat_timeout", help="how long attributes are believed"),
    _lease(
        "dcache_dir_timeout", "cache.directory_timeout", help="how long listings of directories are believed"
    ),
    _lease(
        "dcache_link_timeout", "cache.link_timeout", help="how long targets of symbolic links are believed"
    ),
    _lease(
        "negative_timeout", "cache.negative_timeout", help="how long a name is believed not to exist, at most"
    ),
    Option(
        "dcache_max_size",
        "how many names are kept at most: of those known not to exist, and of those that no program uses",
        Section.CACHE,
        ("cache.max_entries",),
        value_parsers.integer(1, 100_000_000),
        default="10000",
        aliases=("cache_max_size",),
    ),
    _lease(
        "entry_timeout", "cache.entry_timeout", help="how long the kernel keeps a name, at most", default=""
    ),
    _lease(
        "attr_timeout",
        "cache.attribute_timeout",
        help="how long the kernel keeps attributes, at most",
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
        "read only what programs read, and open a file only when a program opens it, by one handle",
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
        "keep the kernel's pages while size and time are unchanged (default)",
        Section.DATA,
        ("data.auto_cache",),
    ),
    Option(
        "noauto_cache",
        "drop the kernel's pages at every open",
        Section.DATA,
        ("data.auto_cache",),
        constant=False,
    ),
]

OWNERSHIP = [
    Option(
        "idmap",
        "user: files of your remote account are yours here; name: files of each user and group belong to the "
        "one of the same name here; file: uidfile and gidfile map the ids; none: the server's ids are shown",
        Section.OWNERSHIP,
        ("ownership.id_mapping",),
        value_parsers.choice({kind.value: kind for kind in IdMapping}),
        "none|user|file|name",
        default="user",
    ),
    Option(
        "uidfile",
        "name:remote-uid lines for idmap=file",
        Section.OWNERSHIP,
        ("ownership.uid_file",),
        value_parsers.path,
        "FILE",
    ),
    Option(
        "gidfile",
        "name:remote-gid lines for idmap=file",
        Section.OWNERSHIP,
        ("ownership.gid_file",),
        value_parsers.path,
        "FILE",
    ),
    Option(
        "nomap",
        "what happens to ids that are not mapped; the default is error with idmap=file, ignore with name",
        Section.OWNERSHIP,
        ("ownership.unmapped",),
        value_parsers.choice({kind.value: kind for kind in UnmappedId}),
        "error|ignore",
    ),
    Option(
        "uid",
        "show every file as owned by this user",
        Section.OWNERSHIP,
        ("ownership.uid",),
        value_parsers.user,
        "USER",
    ),
    Option(
        "gid",
        "show every file as belonging to this group",
        Section.OWNERSHIP,
        ("ownership.gid",),
        value_parsers.group,
        "GROUP",
    ),
    Option(
        "umask",
        "show every file with all permissions except those of MASK, octal",
        Section.OWNERSHIP,
        ("ownership.umask",),
        value_parsers.octal,
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
    Option(
        "allow_other",
        "let every user use the mount",
        Section.OWNERSHIP,
        ("fuse.allow_other",),
        excludes="allow",
    ),
    Option(
        "allow_root",
        "let root use the mount; other users may only stat what was just looked up, which the kernel answers",
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
        "iconv: names on the server are in another character set than here; from_code and to_code say which",
        Section.LINKS,
        ("names.modules",),
        value_parsers.modules,
        "iconv",
    ),
    Option(
        "from_code",
        "with modules=iconv, the character set of names on the server: one that Python knows and that "
        "contains ASCII, or UTF-8-MAC, which writes accents as macOS does",
        Section.LINKS,
        ("names.from_code",),
        value_parsers.character_set,
        "CHARSET",
        default="UTF-8",
    ),
    Option(
        "to_code",
        "with modules=iconv, the character set of names here; without it the locale's",
        Section.LINKS,
        ("names.to_code",),
        value_parsers.character_set,
        "CHARSET",
    ),
    Option(
        "disable_hardlink",
        "link(2) fails with EPERM, as on a file system without hard links",
        Section.LINKS,
        ("hard_links",),
        constant=False,
    ),
]
