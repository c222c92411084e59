"""argv → options and positionals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpfs.cli.options.parse import explain, parse_arguments, split_options
from sftpfs.errors import Failure, MountError


def names(argv: list[str]) -> list[tuple[str, str | None]]:
    return [(option.name or option.flags[0], value) for option, value in parse_arguments(argv).options]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("a,b=c", ["a", "b=c"]),
        (",a,,b,", ["a", "b"]),
        (r"a\,b,c", ["a,b", "c"]),
        (r"a\\,b", ["a\\", "b"]),
        (r"a\054b", ["a,b"]),
        (r"a\040b", ["a b"]),
        ("a\\", ["a\\"]),
        (r"x=\q", ["x=q"]),
    ],
)
def test_split_options(text: str, words: list[str]) -> None:
    assert split_options(text) == words


@given(st.lists(st.text(min_size=1, max_size=10), max_size=5))
def test_escaped_words_come_back(words: list[str]) -> None:
    escaped = ",".join(word.replace("\\", "\\\\").replace(",", "\\,") for word in words)
    assert split_options(escaped) == words


@pytest.mark.parametrize(
    "argv",
    [
        ["-p", "22", "-o", "ro,uid=3", "h:", "/m"],
        ["h:", "/m", "-p22", "-oro", "-o", "uid=3"],
        ["h:", "-p", "22", "/m", "-o", "ro,uid=3"],
    ],
)
def test_order_does_not_matter(argv: list[str]) -> None:
    arguments = parse_arguments(argv)
    assert arguments.positionals == ["h:", "/m"]
    assert sorted(names(argv)) == [("port", "22"), ("ro", None), ("uid", "3")]


def test_clustered_flags() -> None:
    assert names(["-fdp", "23"]) == [("-f", None), ("debug", None), ("port", "23")]
    assert names(["-fo", "ro"]) == [("-f", None), ("ro", None)]


def test_what_mount_8_and_autofs_add_is_taken() -> None:
    arguments = parse_arguments(["h:", "/m", "-s", "-n", "-v", "-t", "fuse.sftpfs", "-o", "rw,_netdev"])
    assert arguments.positionals == ["h:", "/m"]


def test_words_after_double_dash_are_positionals() -> None:
    assert parse_arguments(["--", "-h:", "/m"]).positionals == ["-h:", "/m"]


@pytest.mark.parametrize("argv", [["-h"], ["--help"], ["x", "-fh", "--nonsense"]])
def test_help_wins(argv: list[str]) -> None:
    assert parse_arguments(argv).show == "--help"


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(flag: str) -> None:
    assert parse_arguments([flag]).show == "--version"


def test_ssh_keywords_in_any_case_keep_their_order() -> None:
    arguments = parse_arguments(["-o", "identityfile=/k,ProxyJump=a\\,b,STRICTHOSTKEYCHECKING=no"])
    assert arguments.ssh_options == [
        ("IdentityFile", "/k"),
        ("ProxyJump", "a,b"),
        ("StrictHostKeyChecking", "no"),
    ]


def test_user_alone_is_fstabs_and_with_a_value_sshs() -> None:
    arguments = parse_arguments(["-o", "user,user=joe"])
    assert [option.name for option, _ in arguments.options] == ["user"]
    assert arguments.ssh_options == [("User", "joe")]


@pytest.mark.parametrize(
    "words",
    [
        "_netdev,nofail,noauto,auto,user,users,nouser,owner,group,defaults",
        "x-systemd.automount,x-systemd.idle-timeout=60,X-mount.mkdir,comment=hello",
        "context=system_u:object_r:x,atime,noatime,diratime,nodiratime,relatime,strictatime",
        "rw,suid,nosuid,dev,nodev,exec,noexec,sync,async,dirsync",
        "reconnect,nonempty,big_writes,ssh_protocol=2,dcache_clean_interval=60,intr,max_background=12",
        "slave,sshfs_debug,cache=yes,cache_timeout=3,no_readahead,workaround=rename:nofstat",
    ],
)
def test_generic_words_are_accepted(words: str) -> None:
    parse_arguments(["h:", "/m", "-o", words])


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["-o", "reconect"], ["reconect", "did you mean reconnect"]),
        (["-o", "max_con=3"], ["max_con", "did you mean max_conns"]),
        (["-o", "IdentityFiel=/x"], ["IdentityFiel", "did you mean IdentityFile"]),
        (["-o", "qwxyzzy"], ["unknown option qwxyzzy;"]),
        (["-o", "password=hunter2"], ["unknown option password"]),
        (["--hlp"], ["--hlp", "--help"]),
        (["-z"], ["unknown option -z"]),
        (["-fz"], ["unknown option -z (in -fz)"]),
        (["-p"], ["-p needs a value"]),
        (["-o"], ["-o needs a value"]),
        (["-o", "uid"], ["uid needs a value: uid=USER"]),
        (["-o", "uid="], ["uid needs a value"]),
        (["-o", "IdentityFile"], ["IdentityFile needs a value"]),
        (["-o", "allow_other=yes"], ["allow_other takes no value"]),
        (["-o", "modules=subdir,subdir=x"], ["subdir is not supported", "host:directory"]),
        (["-o", "remount"], ["remount is not supported"]),
    ],
)
def test_refused_by_name(argv: list[str], parts: list[str]) -> None:
    with pytest.raises(MountError) as caught:
        parse_arguments(argv)
    assert caught.value.failure is Failure.USAGE
    for part in parts:
        assert part in caught.value.message
    assert "hunter2" not in caught.value.message
    assert "\n" not in caught.value.message


def test_options_without_effect_are_explained() -> None:
    lines = explain(parse_arguments(["-s", "-o", "nonempty,noatime,ro,x-foo"]))
    assert len(lines) == 3
    assert lines[1].startswith("option nonempty has no effect: ")
