"""Options → MountConfig."""

from __future__ import annotations

import math
import os
from typing import Any

import pytest

from sftpfs.cli.options.parse import parse_arguments
from sftpfs.cli.options.to_config import build_config
from sftpfs.config import Endpoint, IdMapping, MountConfig, SymlinkPolicy, TransportKind, UnmappedId
from sftpfs.errors import Failure, MountError


def config(*words: str, spec: str = "host:dir") -> MountConfig:
    return build_config(parse_arguments([spec, "/mnt", *words]))


def field(built: MountConfig, dotted: str) -> Any:
    value: Any = built
    for name in dotted.split("."):
        value = getattr(value, name)
    return value


def test_without_options_everything_is_the_default() -> None:
    assert config() == MountConfig(Endpoint("host", b"dir"), "/mnt")


CASES: list[tuple[str, str, Any]] = [
    ("port=2222", "endpoint.port", 2222),
    ("Port=2222", "endpoint.port", 2222),
    ("User=joe", "endpoint.user", "joe"),
    ("max_conns=2", "pool.max_connections", 2),
    ("timeout=1.5", "pool.timeout", 1.5),
    ("bwlimit=4096", "pool.bandwidth", (4096, 4096)),
    ("bwlimit=1.5M:200k", "pool.bandwidth", (1.5 * 2**20, 200 * 2**10)),
    ("bwlimit=off:1G", "pool.bandwidth", (math.inf, 2**30)),
    ("bwlimit=2M:off", "pool.bandwidth", (2**21, math.inf)),
    ("max_read=65536", "pool.max_read", 65536),
    ("max_write=65536", "pool.max_write", 65536),
    ("delay_connect", "delay_connect", True),
    ("no_check_root", "check_root", False),
    ("sshfs_sync", "data.synchronous_writes", True),
    ("sync", "data.synchronous_writes", True),
    ("no_readahead", "data.read_ahead", False),
    ("no_readahead", "pool.several_handles", False),
    ("direct_io", "data.direct_io", True),
    ("kernel_cache", "data.kernel_cache", True),
    ("noauto_cache", "data.auto_cache", False),
    ("dir_cache=no", "cache.enabled", False),
    ("cache=off", "cache.enabled", False),
    ("dcache_timeout=7", "cache.negative_timeout", 7.0),
    ("cache_timeout=7", "cache.directory_timeout", 7.0),
    ("dcache_stat_timeout=7", "cache.stat_timeout", 7.0),
    ("cache_dir_timeout=7", "cache.directory_timeout", 7.0),
    ("dcache_link_timeout=0", "cache.link_timeout", 0.0),
    ("negative_timeout=0", "cache.negative_timeout", 0.0),
    ("cache_max_size=5", "cache.max_entries", 5),
    ("entry_timeout=1", "cache.entry_timeout", 1.0),
    ("attr_timeout=1", "cache.attribute_timeout", 1.0),
    ("idmap=none", "ownership.id_mapping", IdMapping.NONE),
    ("idmap=name", "ownership.id_mapping", IdMapping.NAME),
    ("uid=root", "ownership.uid", 0),
    ("uid=1000", "ownership.uid", 1000),
    ("gid=root", "ownership.gid", 0),
    ("umask=027", "ownership.umask", 0o027),
    ("default_permissions", "fuse.default_permissions", True),
    ("no_default_permissions", "fuse.default_permissions", False),
    ("allow_other", "fuse.allow_other", True),
    ("allow_root", "fuse.allow_root", True),
    ("ro", "fuse.read_only", True),
    ("fsname=a\\,b", "fuse.filesystem_name", "a,b"),
    ("subtype=x", "fuse.subtype", "x"),
    ("transform_symlinks", "symlinks", SymlinkPolicy.TRANSFORM),
    ("no_contain_symlinks", "symlinks", SymlinkPolicy.PASS),
    ("follow_symlinks", "symlinks", SymlinkPolicy.FOLLOW),
    ("contain_symlinks,no_contain_symlinks", "symlinks", SymlinkPolicy.PASS),
    ("no_contain_symlinks,contain_symlinks", "symlinks", SymlinkPolicy.CONTAIN),
    ("ro,rw", "fuse.read_only", False),
    ("rw,ro", "fuse.read_only", True),
    ("hard,soft", "pool.hard", False),
    ("soft,hard", "pool.hard", True),
    ("no_reconnect,reconnect", "pool.reconnect", True),
    ("reconnect,no_reconnect", "pool.reconnect", False),
    ("transform_symlinks,contain_symlinks", "symlinks", SymlinkPolicy.CONTAIN),
    ("no_contain_symlinks,transform_symlinks", "symlinks", SymlinkPolicy.TRANSFORM),
    ("follow_symlinks,contain_symlinks", "symlinks", SymlinkPolicy.FOLLOW),
    ("disable_hardlink", "hard_links", False),
    ("modules=iconv", "names.modules", ("iconv",)),
    ("modules=iconv,from_code=latin1", "names.from_code", "latin1"),
    ("to_code=UTF-8-MAC,modules=iconv", "names.to_code", "UTF-8-MAC"),
    ("password_stdin", "transport.password_stdin", True),
    ("compression=yes", "transport.compression", True),
    ("ConnectTimeout=3", "transport.connect_timeout", 3.0),
    ("ServerAliveInterval=5", "transport.keepalive_interval", 5.0),
    ("ServerAliveCountMax=2", "transport.keepalive_count", 2),
    ("sftp_server=/usr/lib/sftp-server", "transport.sftp_server", "/usr/lib/sftp-server"),
    ("ssh_command=ssh -v 'a b'", "transport.ssh_command", ("ssh", "-v", "a b")),
    ("ssh_command=ssh", "transport.kind", TransportKind.COMMAND),
    ("directport=9", "transport.direct_port", 9),
    ("directport=9", "transport.kind", TransportKind.TCP),
    ("unix_socket=/s", "transport.kind", TransportKind.UNIX),
    ("vsock=2:99", "transport.vsock", (2, 99)),
    ("vsock=2:99", "transport.kind", TransportKind.VSOCK),
    ("passive", "transport.kind", TransportKind.PASSIVE),
    ("slave", "transport.kind", TransportKind.PASSIVE),
    ("debug", "foreground", True),
    ("sshfs_debug", "foreground", False),
    ("nosuid,noexec", "fuse.passthrough", ("nosuid", "noexec")),
    ("noexec,exec,sync,async", "fuse.passthrough", ("exec", "async")),
    ("sync,async", "data.synchronous_writes", False),
]


@pytest.mark.parametrize(("text", "dotted", "expected"), [case for case in CASES if case[2] is not None])
def test_option_sets_field(text: str, dotted: str, expected: Any) -> None:
    built = config("-o", text)
    assert field(built, dotted) == expected
    assert text in ("sshfs_debug", "sync,async") or field(config(), dotted) != expected or "," in text


def test_workarounds_are_checked_and_change_nothing() -> None:
    for words in ("all:nobuflimit", "rename:none", "nodelaysrv"):
        assert config("-o", f"workaround={words}") == config()


def test_short_options() -> None:
    built = config("-p", "22", "-C", "-F", "/cfg", "-f", "-v")
    assert built.endpoint.port == 22
    assert built.transport.compression
    assert built.transport.ssh_config_file == "/cfg"
    assert built.foreground and built.verbose and not built.debug
    assert config("-F", "none").transport.ssh_config_file == "none"
    assert config("-d").debug and config("-d").foreground and config("-d").transport.debug


def test_narrower_timeouts_win_wherever_they_stand() -> None:
    for words in ("dcache_stat_timeout=1,dcache_timeout=9", "dcache_timeout=9,dcache_stat_timeout=1"):
        cache = config("-o", words).cache
        assert (cache.stat_timeout, cache.directory_timeout) == (1.0, 9.0)


def test_later_values_win() -> None:
    assert config("-o", "uid=1,uid=2").ownership.uid == 2


def test_first_ssh_keyword_wins_as_in_ssh() -> None:
    assert config("-o", "User=a,User=b", spec="c@host:").endpoint.user == "a"


def test_ssh_keywords_are_kept_in_order() -> None:
    options = config("-o", "IdentityFile=~/k,ProxyJump=x,identityfile=/l").transport.ssh_options
    assert options == (("IdentityFile", "~/k"), ("ProxyJump", "x"), ("IdentityFile", "/l"))


def test_relative_files_are_made_absolute_for_the_daemon(
    tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = os.getcwd()
    built = config("-F", "cfg", "-o", "IdentityFile=key,UserKnownHostsFile=a ~/b /c,log_file=log")
    assert built.transport.ssh_config_file == f"{here}/cfg"
    assert built.transport.ssh_options == (
        ("IdentityFile", f"{here}/key"),
        ("UserKnownHostsFile", f"{here}/a ~/b /c"),
    )
    assert built.log_file == f"{here}/log"
    assert config("-o", "ssh_command=./my ssh").transport.ssh_command == (f"{here}/my", "ssh")
    assert config("-o", "IdentityAgent=none").transport.ssh_options == (("IdentityAgent", "none"),)


def test_mountpoint_is_absolute_and_free_of_links(
    tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("real")
    os.symlink("real", "link")
    assert build_config(parse_arguments(["h:", "link"])).mountpoint == os.path.realpath("real")


def test_idmap_file() -> None:
    built = config("-o", "idmap=file,uidfile=/u,gidfile=/g,nomap=ignore").ownership
    assert (built.id_mapping, built.uid_file, built.gid_file) == (IdMapping.FILE, "/u", "/g")
    assert built.unmapped is UnmappedId.IGNORE
    assert config("-o", "idmap=name").ownership.unmapped is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("port=abc", ["port", "a number from 1 to 65535", "'abc'"]),
        ("port=0", ["port", "a number from 1 to 65535"]),
        ("Port=70000", ["Port", "a number from 1 to 65535"]),
        ("port=٣", ["port", "a number"]),
        ("timeout=0", ["timeout", "more than zero"]),
        ("timeout=nan", ["timeout", "seconds"]),
        ("timeout=inf", ["timeout", "seconds"]),
        ("timeout=-1", ["timeout", "more than zero"]),
        ("timeout=x", ["timeout", "more than zero"]),
        ("dcache_timeout=-1", ["dcache_timeout", "seconds, zero or more"]),
        ("dir_cache=maybe", ["dir_cache", "yes or no"]),
        ("umask=8", ["umask", "octal"]),
        ("umask=1777", ["umask", "octal"]),
        ("umask=-1", ["umask", "octal"]),
        ("uid=nosuchuserhere", ["uid", "local user"]),
        ("uid=4294967295", ["uid", "a number from 0"]),
        ("gid=nosuchgrouphere", ["gid", "local group"]),
        ("idmap=all", ["idmap", "none or user or file or name"]),
        ("idmap=file", ["idmap=file", "uidfile"]),
        ("uidfile=/x", ["uidfile", "idmap=file"]),
        ("nomap=x", ["nomap", "error or ignore"]),
        ("workaround=foo", ["workaround", "renamexdev"]),
        ("vsock=3", ["vsock", "CID:PORT"]),
        ("ssh_command='a", ["ssh_command", "quotes"]),
        ("max_conns=0", ["max_conns", "a number from 1 to 64"]),
        *((f"bwlimit={text}", ["bwlimit", "UP[:DOWN]"]) for text in ("fast", "1", "-1K", "1M:", "1M:2M:3M")),
        *((f"bwlimit={text}", ["bwlimit", "UP[:DOWN]"]) for text in ("nan", "inf", "1T", "1M:0", "K")),
        ("max_read=99999999999999999999999", ["max_read", "a number"]),
        ("directport=1,ssh_command=x", ["directport and ssh_command", "exclude"]),
        ("passive,vsock=1:1", ["passive and vsock", "exclude"]),
        ("allow_other,allow_root", ["allow_other and allow_root"]),
        ("password_stdin,passive", ["password_stdin and passive"]),
        ("User=-x", ["User", "invalid remote username"]),
        ("Compression=fast", ["Compression", "yes or no"]),
        ("modules=iconv:subdir", ["modules", "iconv", "host:directory"]),
        ("modules=iconv,from_code=UTF-16", ["from_code", "contains ASCII", "'UTF-16'"]),
        ("modules=iconv,to_code=nonsense", ["to_code", "Python knows"]),
        ("from_code=latin1", ["from_code", "modules=iconv"]),
        ("to_code=latin1", ["to_code", "modules=iconv"]),
    ],
)
def test_malformed_and_conflicting_values(text: str, parts: list[str]) -> None:
    with pytest.raises(MountError) as caught:
        config("-o", text)
    assert caught.value.failure is Failure.USAGE
    for part in parts:
        assert part in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ([], "nothing to mount"),
        (["host:"], "host: needs a directory to be mounted on: sftpfs host: DIRECTORY"),
        (["host:", "/a", "/b"], "one argument too many: '/b'"),
        (["host:", ""], "mountpoint is empty"),
        ([":", "/a"], "no host named"),
    ],
)
def test_positionals(argv: list[str], part: str) -> None:
    with pytest.raises(MountError) as caught:
        build_config(parse_arguments(argv))
    assert part in caught.value.message


def test_passive_needs_no_host() -> None:
    assert config("-o", "passive", spec=":/dir").endpoint == Endpoint("", b"/dir")
