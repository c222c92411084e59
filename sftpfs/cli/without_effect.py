"""The part of the option table that changes nothing here: fstab's words, and what libfuse and sshfs need.

Each says why, so that ``-v`` can tell. Owns rows only.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpfs.cli import values
from sftpfs.cli.option import Option, Section


def _moot(
    why: str,
    *names: str,
    flags: tuple[str, ...] = (),
    value: bool = False,
    parse: Callable[[str], object] | None = None,
) -> list[Option]:
    parse = values.text if value else parse
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
        "about the fstab line, not the mount", "defaults", "auto", "noauto", "nofail", "_netdev", "comment"
    ),
    *_fstab("who may mount is mount(8)'s affair", "user", "nouser", "users", "nousers", "owner", "group"),
    *_fstab("who may mount is mount(8)'s affair", "uhelper", "helper"),
    *_fstab("the server keeps access times", "atime", "noatime", "diratime", "nodiratime", "relatime"),
    *_fstab("the server keeps access times", "norelatime", "strictatime", "nostrictatime"),
    *_fstab("the server keeps times", "lazytime", "nolazytime"),
    *_fstab("a change in a directory is on the server before it returns", "dirsync"),
    *_fstab(
        "without meaning over SFTP", "mand", "nomand", "iversion", "noiversion", "silent", "loud", "symfollow"
    ),
]
"""Words starting with ``x-`` or ``X-`` are accepted as well."""

MOOT: list[Option] = [
    *_moot("what sshfs works around is found out or not there", "workaround", parse=values.workarounds),
    *_moot("requests are answered concurrently in any case", "", flags=("-s",)),
    *_moot("there is no mtab", "", flags=("-n",)),
    *_moot("the type is known", "", flags=("-t",), value=True),
    *_moot("version 2 is the only one there is", "ssh_protocol", value=True),
    *_moot("it chose a cipher of version 1; Ciphers= is version 2's", "cipher", value=True),
    *_moot("what is cached ends by itself", "dcache_clean_interval", "dcache_min_clean_interval", value=True),
    *_moot("what is cached ends by itself", "cache_clean_interval", "cache_min_clean_interval", value=True),
    *_moot("follows dcache_stat_timeout", "ac_attr_timeout", value=True),
    *_moot("listings are asked for as the server keeps up", "sync_readdir"),
    *_moot("a mountpoint need not be empty", "nonempty"),
    *_moot("inode numbers are always right", "use_ino", "readdir_ino"),
    *_moot("open files that are removed need no hidden name", "hard_remove"),
    *_moot("requests always end by themselves", "intr", "intr_signal"),
    *_moot("always so", "big_writes", "large_read", "async_read", "atomic_o_trunc"),
    *_moot("reads are asked for ahead in any case", "sync_read", "max_readahead"),
    *_moot("names are kept as long as the kernel needs them", "noforget", "remember"),
    *_moot("a flush of a file only read costs nothing", "no_rofd_flush"),
    *_moot("SFTP has no locks: they are local", "no_remote_lock", "no_remote_flock", "no_remote_posix_lock"),
    *_moot("root may set it under /sys/fs/fuse/connections", "max_background", "congestion_threshold"),
    *_moot("there is one thread", "max_idle_threads", "max_threads", "clone_fd"),
    *_moot("data passes through this process", "splice_read", "splice_write", "splice_move"),
    *_moot("data passes through this process", "no_splice_read", "no_splice_write", "no_splice_move"),
    *_moot("would show stale files, and is always off", "writeback_cache"),
    *_moot("macOS's", "defer_permissions", "volname", "noappledouble", "noapplexattr", "local"),
]

REFUSED: list[Option] = [
    *_refused("name the directory as host:directory", "subdir"),
    *_refused("unmount and mount again with the other options", "remount"),
    *_refused("not possible with libfuse", "blkdev", "nosymfollow", "bind", "rbind", "move", "loop"),
]
