"""What a client sends a mount to make: cut right wherever the bytes are split, and checked."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from sftpfs.control.protocol import MAX_REQUEST, ControlError
from sftpfs.control.tree_records import (
    DIRECTORY,
    END,
    FILE,
    LARGEST_CONTENT,
    LINK,
    Record,
    Records,
    packed,
    unpacked,
)

SENT = [
    (Record(1, DIRECTORY, 7, b"d\n\xff", 0o755), b""),
    (Record(2, FILE, 8, b'"\\', 0o600, size=5, keep=(0o644, -1, 1 << 60), owner=(0, 1000)), b"\n{}\0\xff"),
    (Record(3, LINK, 8, b"l", target=b"../\xc3\x28\n", keep=(0o777, 1, 2)), b""),
    (Record(4, FILE, 8, b"empty", 0o400), b""),
    (Record(0, END), b""),
]

STREAM = b"".join(packed(record) + content for record, content in SENT)


def test_as_sent_however_it_is_split() -> None:
    chance = random.Random(7)
    for most in (1, 2, 7, 64, len(STREAM)):
        records, found, at = Records(), [], 0
        while at < len(STREAM):
            end = at + chance.randint(1, most)
            found += records.feed(STREAM[at:end])
            at = end
        assert found == SENT
        assert records.ended


def test_nothing_comes_behind_the_end() -> None:
    with pytest.raises(ControlError):
        Records().feed(STREAM + b"{")


def test_a_line_without_an_end_is_not_kept() -> None:
    records = Records()
    with pytest.raises(ControlError):
        for _ in range(3):
            records.feed(b" " * MAX_REQUEST)


GOOD: dict[str, Any] = json.loads(packed(SENT[1][0]))

HOSTILE: list[tuple[str, Any]] = [
    ("kind", None),
    ("kind", "device"),
    ("name", ""),
    ("name", "."),
    ("name", ".."),
    ("name", "a/b"),
    ("name", "a\0b"),
    ("name", "\ud800"),
    ("name", 7),
    ("name", None),
    ("target", None),
    ("number", -1),
    ("number", True),
    ("number", 1 << 63),
    ("number", 1.5),
    ("directory", "7"),
    ("mode", 0o10000),
    ("size", LARGEST_CONTENT + 1),
    ("size", -1),
    ("size", None),
    ("keep", None),
    ("keep", [0o644, 1]),
    ("keep", [0o10000, 1, 1]),
    ("keep", [0o644, 1 << 63, 1]),
    ("keep", [0o644, 1.5, 1]),
    ("keep", [0o644, 1, False]),
    ("owner", 0),
    ("owner", [0]),
    ("owner", [0, -1]),
]


@pytest.mark.parametrize(("name", "value"), HOSTILE, ids=str)
def test_what_is_no_record_is_refused(name: str, value: object) -> None:
    unpacked(json.dumps(GOOD).encode())
    with pytest.raises(ControlError):
        unpacked(json.dumps({**GOOD, name: value}).encode())
    missing = {key: one for key, one in GOOD.items() if key != name}
    if name != "owner":
        with pytest.raises(ControlError):
            unpacked(json.dumps(missing).encode())


@pytest.mark.parametrize("kind", [DIRECTORY, LINK])
def test_only_a_file_has_content(kind: str) -> None:
    with pytest.raises(ControlError):
        unpacked(json.dumps({**GOOD, "kind": kind, "target": "t"}).encode())


def test_a_link_leads_somewhere() -> None:
    with pytest.raises(ControlError):
        unpacked(json.dumps({**GOOD, "kind": LINK, "size": 0}).encode())


@pytest.mark.parametrize("line", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 60000])
def test_what_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(ControlError):
        unpacked(line)
