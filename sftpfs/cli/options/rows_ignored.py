"""The rows of options that change nothing here: fstab's words, and what only libfuse and sshfs need.

Each row says why, so that ``-v`` can say it. Owns rows only.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpfs.cli.options import value_parsers
from sftpfs.cli.options.row import Option, Section


def _moot(
    why: str,
    *names: str,
    flags: tuple[str, ...] = (),
    value: bool = False,
    parse: Callable[[str], object] | None = None,
) -> list[Option]:
    parse = value_parsers.text if value else parse
    return [
        Option(n, why, Section.MOOT, flags=flags, parse=parse, metavar="VALUE", optional_value=True, why=why)
        for n in names
    ]


def _fstab(why: str, *names: str) -> list[Option]:
    return [Option(name, why, Section.FSTAB, optional_value=True, why=why) for name in names]


def _refused(why: str, *names: str) -> list[Option]:
    return [Option(name, why, Section.REFUSED, optional_value=True, why=why) for name in names]


FSTAB_WORDS: list[Option] = [
    *_fstab(
        "it concerns the fstab line, not the mount",
        "defaults",
        "auto",
        "noauto",
        "nofail",
        "_netdev",
        "comment",
    ),
    *_fstab("mount(8) decides who may mount", "user", "nouser", "users", "nousers", "owner", "group"),
    *_fstab("mount(8) decides who may mount", "uhelper", "helper"),
    *_fstab("the server keeps access times", "atime", "noatime", "diratime", "nodiratime", "relatime"),
    *_fstab("the server keeps access times", "norelatime", "strictatime", "nostrictatime"),
    *_fstab("the server keeps times", "lazytime", "nolazytime"),
    *_fstab("a change in a directory is always on the server when the call returns", "dirsync"),
    *_fstab(
        "it has no meaning over SFTP",
        "mand",
        "nomand",
        "iversion",
        "noiversion",
        "silent",
        "loud",
        "symfollow",
    ),
]
"""Words starting with ``x-`` or ``X-`` are accepted as well."""

MOOT: list[Option] = [
    *_moot(
        "what sshfs works around is detected, or does not occur here",
        "workaround",
        parse=value_parsers.workarounds,
    ),
    *_moot("requests are always answered concurrently", "", flags=("-s",)),
    *_moot("there is no mtab to write", "", flags=("-n",)),
    *_moot("the type is always the same", "", flags=("-t",), value=True),
    *_moot("only version 2 of SSH is spoken", "ssh_protocol", value=True),
    *_moot("it chose a cipher of SSH version 1; Ciphers= chooses those of version 2", "cipher", value=True),
    *_moot(
        "what is cached expires by itself", "dcache_clean_interval", "dcache_min_clean_interval", value=True
    ),
    *_moot(
        "what is cached expires by itself", "cache_clean_interval", "cache_min_clean_interval", value=True
    ),
    *_moot("the kernel follows dcache_stat_timeout", "ac_attr_timeout", value=True),
    *_moot("a listing is requested as fast as the server answers", "sync_readdir"),
    *_moot("a mountpoint need not be empty here", "nonempty"),
    *_moot("inode numbers are always right", "use_ino", "readdir_ino"),
    *_moot("a removed file that is open needs no hidden name here", "hard_remove"),
    *_moot("every request ends by itself", "intr", "intr_signal"),
    *_moot("it is always on", "big_writes", "large_read", "async_read", "atomic_o_trunc"),
    *_moot("sftpfs reads ahead in any case", "sync_read", "max_readahead"),
    *_moot("names are kept as long as the kernel needs them", "noforget", "remember"),
    *_moot("flushing a file that was only read costs nothing", "no_rofd_flush"),
    *_moot("SFTP has no locks: they are local", "no_remote_lock", "no_remote_flock", "no_remote_posix_lock"),
    *_moot("root may set this under /sys/fs/fuse/connections", "max_background", "congestion_threshold"),
    *_moot("one thread serves the kernel", "max_idle_threads", "max_threads", "clone_fd"),
    *_moot("data always passes through this process", "splice_read", "splice_write", "splice_move"),
    *_moot("data always passes through this process", "no_splice_read", "no_splice_write", "no_splice_move"),
    *_moot("it would show stale files, and is always off", "writeback_cache"),
    *_moot(
        "it is an option of macOS only",
        "defer_permissions",
        "volname",
        "noappledouble",
        "noapplexattr",
        "local",
    ),
]

REFUSED: list[Option] = [
    *_refused("name the directory as host:directory", "subdir"),
    *_refused(
        "use mount -o remount,ro DIRECTORY, or rw; for other options unmount, and mount again", "remount"
    ),
    *_refused("libfuse does not offer it", "blkdev", "nosymfollow", "bind", "rbind", "move", "loop"),
]
