"""Which appends arrived though their answers were lost, by what is at the end of the file."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from sftpfs.aio import Slot
from sftpfs.remote.files.append_recovery import behind_ours, drop_completed
from sftpfs.remote.transfers.write_request import Write, WritePiece
from tests.unit.remote.test_resend import WRITE, ScriptedFile

LINES = [b"line one\n", b"line two\n", b"line three\n"]

FOREIGN = b"somebody else's\n"


def sent(lines: list[bytes]) -> tuple[list[WritePiece], list[Slot[Any]]]:
    """Appends on their way as their session was lost; each is a view of the writer's bytes."""
    file = ScriptedFile(0, WRITE)
    slots = [Write(file, 0, memoryview(line), 1000).start() for line in lines]
    pieces = [one for one in file.outbox.take() if isinstance(one, WritePiece)]
    for piece in pieces:
        piece._handle = object()  # type: ignore[assignment]
    return pieces, slots


@pytest.mark.parametrize("arrived", range(4))
@pytest.mark.parametrize("how", ["alone", "foreign before", "foreign behind", "foreign between"])
def test_what_arrived_is_not_sent_again(arrived: int, how: str) -> None:
    pieces, slots = sent(LINES)
    there = LINES[:arrived]
    match how:
        case "foreign before":
            there = [FOREIGN, *there]
        case "foreign behind":
            there = [*there, FOREIGN]
        case "foreign between":
            there = [one for line in there for one in (line, FOREIGN)]
    left = drop_completed(pieces, b"".join(there))
    assert list(left) == pieces[arrived:]
    assert [slot.done for slot in slots] == [True] * arrived + [False] * (3 - arrived)


@pytest.mark.parametrize("behind", [None, b"xxx", FOREIGN + b"a\n"])
def test_what_cannot_be_told_fails(behind: bytes | None) -> None:
    pieces, slots = sent([b"a\n", b"b\n"])
    assert not drop_completed(pieces, behind)
    for slot in slots:
        assert isinstance(slot.error, OSError) and slot.error.errno == errno.EIO


def test_short_ones_alone_are_told_by_all_of_it() -> None:
    pieces, _ = sent([b"a\n", b"a\n", b"a\n"])
    assert list(drop_completed(pieces, b"a\na\n")) == pieces[2:]


def test_a_file_is_known_by_our_last_bytes() -> None:
    assert behind_ours(b"..our line\nbehind", b"our line\n") == b"behind"
    assert behind_ours(b"our line\nour line\n", b"our line\n") == b""
    assert behind_ours(b"another file", b"our line\n") is None
    assert behind_ours(b"a\nbehind", b"a\n") is None, "too few to tell"
