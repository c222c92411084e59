"""What to mount, as people write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpfs.cli.options.endpoint import parse_endpoint
from sftpfs.config import Endpoint
from sftpfs.errors import Failure, MountError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host:", Endpoint("host")),
        ("host:dir", Endpoint("host", b"dir")),
        ("host:/a/b", Endpoint("host", b"/a/b")),
        ("host:~/x", Endpoint("host", b"~/x")),
        ("host:a:b@c", Endpoint("host", b"a:b@c")),
        ("user@host:/a", Endpoint("host", b"/a", "user")),
        ("CORP\\joe doe$@host:", Endpoint("host", b"", "CORP\\joe doe$")),
        ("user@corp.example@host:", Endpoint("host", b"", "user@corp.example")),
        ("[::1]:dir", Endpoint("::1", b"dir")),
        ("user@[fe80::1%eth0]:/d", Endpoint("fe80::1%eth0", b"/d", "user")),
        ("[user@::1]:/d", Endpoint("::1", b"/d", "user")),
        ("[user@host]:d", Endpoint("host", b"d", "user")),
        (":/dir", Endpoint("", b"/dir")),
        ("host:a[b]:c", Endpoint("host", b"a[b]:c")),
        ("host:caf\udce9", Endpoint("host", b"caf\xe9")),
        ("sshfs#user@host:/a", Endpoint("host", b"/a", "user")),
        ("sftpfs#host:", Endpoint("host")),
        ("1:2:3", Endpoint("1", b"2:3")),
        ("sftp://host", Endpoint("host")),
        ("sftp://host/", Endpoint("host", b"/")),
        ("sftp://Host/a%20b", Endpoint("Host", b"/a b")),
        ("sftp://u%40x@host:2222/~/p", Endpoint("host", b"p", "u@x", 2222)),
        ("sftp://user@[::1]:22/d", Endpoint("::1", b"/d", "user", 22)),
    ],
)
def test_forms(text: str, expected: Endpoint) -> None:
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("host", "written with a colon, host:"),
        ("joe@host/dir", "written with a colon, joe@host:/dir"),
        ("root@host:2340:/dir", "-p 2340 root@host:/dir"),
        ("host:22:", "-p 22 host:"),
        ("ssh://host/dir", "write sftp://host/dir"),
        ("/a/b", "no host followed by a colon"),
        ("./x:y", "no host followed by a colon"),
        ("::1:/dir", "brackets"),
        ("fe80::1:/dir", "brackets"),
        ("2001:db8:0:1:1:1:1:1:/dir", "brackets"),
        ("[::1]dir", "]:"),
        ("@host:dir", "user before @ is empty"),
        ("-oProxyCommand=x:dir", "invalid hostname: a word of it starts with '-'"),
        ("[-oProxyCommand=x y]:dir", "invalid hostname: a word of it starts with '-'"),
        ("-u@host:dir", "starts with '-'"),
        ("u@-host:dir", "starts with '-'"),
        ("a b:dir", "hostname contains invalid characters: a blank"),
        ("host\n:dir", "hostname contains invalid characters: a blank or control"),
        ("a,b:dir", 'hostname contains invalid characters: ","'),
        ("`id`:dir", 'hostname contains invalid characters: "`"'),
        ("sftp://$(id)/dir", 'hostname contains invalid characters: "$"'),
        ("sftp://%60id%60@host/dir", 'remote username contains invalid characters: "`"'),
        ("sshfs#`id`@host:", 'remote username contains invalid characters: "`"'),
        ("[joe;id@::1]:", 'remote username contains invalid characters: ";"'),
        ("joe\\@host:", "remote username contains invalid characters"),
        ("joe -oX@host:", "starts with '-'"),
        ("sftp://host:99999/", "the port is no number from 1 to 65535"),
        ("sftp://host:x/", "the port is no number from 1 to 65535"),
        ("sftp:///dir", "no host"),
        ("sftp://host/a?b", "%3F"),
        ("sftp://host/%00", "NUL"),
    ],
)
def test_refused(text: str, part: str) -> None:
    with pytest.raises(MountError) as caught:
        parse_endpoint(text)
    assert caught.value.failure is Failure.USAGE
    assert part in caught.value.message


def test_password_in_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(MountError) as caught:
        parse_endpoint("sftp://joe:hunter2@host/dir")
    assert "password" in caught.value.message
    assert "hunter2" not in caught.value.message


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        endpoint = parse_endpoint(text)
    except MountError as error:
        assert error.failure is Failure.USAGE
    except UnicodeEncodeError:
        # argv holds no lone surrogates but those of undecodable bytes
        assert any(0xD800 <= ord(c) <= 0xDFFF for c in text)
    else:
        assert not endpoint.host.startswith("-")
        assert not (endpoint.user or "").startswith("-")
        assert not set("'`\"&;|<>()") & set(endpoint.host + (endpoint.user or ""))


@given(
    st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True),
    # A colon in the directory may make the whole look like an IPv6 address: refused, with the cure.
    st.binary(max_size=30).filter(lambda b: b"\0" not in b and b":" not in b),
    st.none() | st.from_regex(r"[a-z]{1,8}", fullmatch=True),
)
def test_what_is_shown_can_be_read_again(host: str, directory: bytes, user: str | None) -> None:
    import os

    head = f"{user}@{host}" if user else host
    endpoint = parse_endpoint(f"{head}:{os.fsdecode(directory)}")
    assert (endpoint.host, endpoint.directory, endpoint.user) == (host, directory, user)


@pytest.mark.parametrize("directory", ["a:b", "/srv/x:y", "notes: today"])
def test_a_directory_may_hold_colons_where_no_address_could_be_meant(directory: str) -> None:
    assert parse_endpoint(f"host:{directory}").directory == directory.encode()


def test_two_colons_are_taken_for_an_address() -> None:
    with pytest.raises(MountError, match="brackets"):
        parse_endpoint("host::module")
