"""Paths are checked before they are sent."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpfs.remote.paths import check_link_target, check_path, name_of, parent_of, valid_name


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (b"", errno.EINVAL),
        (b"relative", errno.EINVAL),
        (b"/a\0b", errno.EINVAL),
        (b"/" + b"n" * 1025, errno.ENAMETOOLONG),
        (b"/d/" + b"n" * 1025 + b"/e", errno.ENAMETOOLONG),
        (b"/n" * 2048, errno.ENAMETOOLONG),
    ],
)
def test_refused(path: bytes, number: int) -> None:
    with pytest.raises(OSError) as raised:
        check_path(path)
    assert raised.value.errno == number


@pytest.mark.parametrize(
    "path", [b"/", b"/a", b"/" + b"n" * 255, (b"/" + b"n" * 255) * 15, b"/n" * 2047, b"/\xff\n \\"]
)
def test_taken(path: bytes) -> None:
    check_path(path)


@pytest.mark.parametrize(
    ("target", "number"),
    [(b"", errno.ENOENT), (b"x" * 4096, errno.ENAMETOOLONG), (b"a\0", errno.EINVAL)],
)
def test_link_target_refused(target: bytes, number: int) -> None:
    with pytest.raises(OSError) as raised:
        check_link_target(target)
    assert raised.value.errno == number


def test_link_target_taken() -> None:
    check_link_target(b"../" * 1365)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"a\0"])
def test_invalid_names(name: bytes) -> None:
    assert not valid_name(name)


@given(st.lists(st.binary(min_size=1, max_size=20).filter(valid_name), min_size=1, max_size=5))
def test_parent_and_name_join_to_the_path(names: list[bytes]) -> None:
    path = b"".join(b"/" + name for name in names)
    assert parent_of(path).rstrip(b"/") + b"/" + name_of(path) == path
    assert parent_of(path + b"/") == parent_of(path)


def test_the_root_is_its_own_parent() -> None:
    assert parent_of(b"/") == b"/"
