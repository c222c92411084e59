"""Names of a server in another character set: one to one, whatever a server calls its files."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpfs.character_sets import MOST_NESTED, NameConversion, character_set
from sftpfs.types import LONGEST_NAME

PAIRS = [
    ("latin1", "UTF-8"),
    ("UTF-8", "latin1"),
    ("UTF-8", "ascii"),
    ("UTF-8", "UTF-8"),
    ("UTF-8-MAC", "UTF-8"),
    ("UTF-8", "UTF-8-MAC"),
    ("UTF-8-MAC", "shift_jis"),
    ("shift_jis", "UTF-8"),
    ("cp932", "UTF-8"),
    ("gb18030", "UTF-8"),
    ("cp1258", "UTF-8-MAC"),
    ("euc_kr", "UTF-8-MAC"),
    ("johab", "cp949"),
]

PIECES = [
    b"a",
    b"%",
    b"25",
    b"E9",
    b"C3",
    b"\\",
    b"~",
    b"\n",
    b"\xe9",
    "é".encode(),
    "e\u0301".encode(),
    "神".encode(),
    "\ufa19".encode(),
    "≠".encode(),
    "=\u0338".encode(),
    "각".encode(),
    b"\x87\x90",
    b"\x81\xe0",
    b"\xa4\xd4",
]
"""Of names in which conversions and escapes meet: composed and not, two codes of cp932 for one sign."""

NAMES = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=10).map(b"".join),
    st.binary(min_size=1, max_size=40).map(lambda name: name.replace(b"/", b"").replace(b"\0", b"") or b"x"),
)


def is_name(name: bytes) -> bool:
    return bool(name) and b"/" not in name and b"\0" not in name


@pytest.mark.parametrize("codes", PAIRS, ids="-".join)
@given(name=NAMES)
def test_a_name_of_the_server_and_its_name_here_lead_to_each_other(
    codes: tuple[str, str], name: bytes
) -> None:
    names = NameConversion(*codes)
    shown = names.shown(name)
    assert names.kept(shown) == name
    assert is_name(shown) and (shown not in (b".", b"..") or shown == name)


@pytest.mark.parametrize("codes", PAIRS, ids="-".join)
@given(name=NAMES)
def test_a_name_typed_here_is_one_of_the_server_or_none(codes: tuple[str, str], name: bytes) -> None:
    names = NameConversion(*codes)
    kept = names.kept(name)
    if kept is not None:
        assert names.shown(kept) == name
        assert is_name(kept) and (kept not in (b".", b"..") or kept == name)


@pytest.mark.parametrize("codes", PAIRS, ids="-".join)
def test_no_two_short_names_are_shown_alike(codes: tuple[str, str]) -> None:
    names = NameConversion(*codes)
    every = [byte for byte in range(1, 256) if byte != ord("/")]
    short = {bytes(name) for length in (1, 2) for name in itertools.product(every, repeat=length)}
    assert len({names.shown(name) for name in short}) == len(short)


@pytest.mark.parametrize(
    ("codes", "name", "shown"),
    [
        (("latin1", "UTF-8"), "café".encode("latin1"), "café".encode()),
        (
            ("shift_jis", "UTF-8"),
            "表.txt".encode("shift_jis"),
            "表.txt".encode(),
        ),  # ends in a backslash there
        (("UTF-8", "latin1"), "café".encode(), "café".encode("latin1")),
        (("UTF-8", "latin1"), "表".encode(), b"%E8%A1%A8"),
        (("UTF-8", "UTF-8"), b"caf\xe9 %", b"caf%E9 %25"),
        (("UTF-8", "UTF-8"), b"caf%E9", b"caf%25E9"),
        (("UTF-8", "UTF-8"), b"caf%C3%A9 a%20b %41", b"caf%C3%A9 a%20b %41"),
        (("cp932", "UTF-8"), b"\x81\xe0", "≒".encode()),
        (("cp932", "UTF-8"), b"\x87\x90", b"%87%90"),  # another code for the same sign
        (("UTF-8-MAC", "UTF-8"), "e\u0301".encode(), "é".encode()),
        (("UTF-8-MAC", "UTF-8"), "é".encode(), "e\u0301".encode()),
        (
            ("UTF-8-MAC", "UTF-8"),
            "\ufa19e\u0301".encode(),
            "\ufa19é".encode(),
        ),  # macOS leaves the ideograph alone
        (("UTF-8-MAC", "UTF-8"), "ée\u0301".encode(), "ée\u0301".encode()),
        (("UTF-8", "UTF-8-MAC"), "é".encode(), "e\u0301".encode()),
    ],
)
def test_what_names_are_shown_as(codes: tuple[str, str], name: bytes, shown: bytes) -> None:
    names = NameConversion(*codes)
    assert names.shown(name) == shown
    assert names.kept(shown) == name


def test_what_cannot_be_on_the_server_is_no_name_of_it() -> None:
    names = NameConversion("latin1", "UTF-8")
    assert names.kept("表".encode()) is None
    assert names.kept(b"caf\xe9") is None
    assert names.kept_path("/home/表/x".encode()) is None


def test_paths_and_targets_are_converted_name_by_name() -> None:
    names = NameConversion("UTF-8", "latin1")
    path, shown = "/é/../表/./x//".encode(), b"/\xe9/../%E8%A1%A8/./x//"
    assert names.shown_path(path) == shown
    assert names.kept_path(shown) == path
    assert names.shown_path(b"/plain/path") == b"/plain/path" == names.kept_path(b"/plain/path")


def test_escapes_of_escapes_end() -> None:
    """A hostile server's: how deep they go is looked at a few times, not a thousand."""
    names = NameConversion("UTF-8", "UTF-8")
    for depth in range(2 * MOST_NESTED):
        for end in (b"E9", b"41"):
            name = b"%" + b"25" * depth + end
            assert names.kept(names.shown(name)) == name


def test_a_name_that_would_be_too_long_is_escaped_and_shown() -> None:
    names = NameConversion("euc_kr", "UTF-8-MAC")
    name = ("각" * 127).encode("euc_kr")
    assert len(unicodedata.normalize("NFD", "각" * 127).encode()) > LONGEST_NAME
    assert names.shown(name) == b"%B0%A2" * 127
    assert names.kept(b"%B0%A2" * 127) == name


@pytest.mark.parametrize(
    "name", ["UTF-8-MAC", "utf8-mac", "UTF-8", "ISO-8859-15", "CP850", "SJIS", "MS932", "koi8-r"]
)
def test_character_sets_of_file_names(name: str) -> None:
    character_set(name)


@pytest.mark.parametrize(
    "name",
    ["", "nonsense", "UTF-16", "UTF-7", "cp037", "iso2022_jp", "hz", "rot13", "latin1//TRANSLIT", "a\0b"],
)
def test_character_sets_in_which_no_file_name_is(name: str) -> None:
    with pytest.raises(ValueError, match="Python knows"):
        character_set(name)
