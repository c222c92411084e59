"""What must not overtake what, on a server that carries requests out in any order."""

from __future__ import annotations

import random

import pytest

from sftpfs.sftp import packets
from sftpfs.sftp.table.request_order import RepeatedHandleError, RequestOrder, meet
from sftpfs.types import AttributeChange, OpenFlags

READS, WRITES, APPENDS = OpenFlags.READ, OpenFlags.WRITE, OpenFlags.WRITE | OpenFlags.APPEND


def by_path(kind: int, path: bytes) -> bytes:
    return packets.encode_string_request(kind, 0, path)


def rename(old: bytes, new: bytes) -> bytes:
    return packets.encode_strings_request(packets.RENAME, 0, old, new)


def opening(path: bytes, flags: int) -> bytes:
    return packets.encode_open(0, path, flags, None)


def read(handle: bytes, offset: int, length: int) -> bytes:
    return packets.encode_read(0, handle, offset, length)


def write(handle: bytes, offset: int, length: int) -> bytes:
    return packets.encode_write_header(0, handle, offset, length)


def setting(handle: bytes) -> bytes:
    return packets.encode_setstat(packets.FSETSTAT, 0, handle, AttributeChange(size=1))


def lstat(path: bytes) -> bytes:
    return by_path(packets.LSTAT, path)


MKDIR = packets.encode_mkdir(0, b"/d/x", 0o755)
REMOVE = by_path(packets.REMOVE, b"/d/x")

APART = [
    (MKDIR, lstat(b"/d/x")),
    (MKDIR, lstat(b"/d")),
    (MKDIR, by_path(packets.OPENDIR, b"/d")),
    (MKDIR, packets.encode_mkdir(0, b"/d/x/y", 0o755)),
    (lstat(b"/d/x"), REMOVE),
    (rename(b"/a", b"/b"), lstat(b"/a/x/y")),
    (rename(b"/a", b"/b"), lstat(b"/b")),
    (rename(b"/a/x", b"/b"), by_path(packets.RMDIR, b"/a")),
    (opening(b"/f", WRITES | OpenFlags.CREATE), lstat(b"/f")),
    (opening(b"/f", WRITES | OpenFlags.TRUNCATE), lstat(b"/f")),
    (write(b"w", 0, 10), by_path(packets.FSTAT, b"w")),
    (write(b"w", 0, 10), by_path(packets.FSTAT, b"r")),
    (write(b"w", 0, 10), setting(b"w")),
    (setting(b"w"), write(b"w", 0, 10)),
    (write(b"w", 0, 10), by_path(packets.CLOSE, b"w")),
    (write(b"w", 0, 10), packets.encode_extended(0, b"fsync@openssh.com", packets.encode_string(b"w"))),
    (write(b"w", 0, 10), write(b"w", 5, 10)),
    (write(b"w", 0, 10), read(b"r", 5, 10)),
    (write(b"w", 100, 10), read(b"r", 5, 10)),
    (write(b"a", 0, 10), write(b"a", 10, 10)),
    (write(b"w", 0, 10), lstat(b"/file")),
    (write(b"w", 0, 10), opening(b"/file", READS)),
    (write(b"w", 0, 10), rename(b"/file", b"/other")),
    (by_path(packets.CLOSE, b"w"), lstat(b"/file")),
    (by_path(packets.CLOSE, b"w"), rename(b"/file", b"/other")),
    (by_path(packets.READDIR, b"d"), by_path(packets.READDIR, b"d")),
    (by_path(packets.READDIR, b"d"), by_path(packets.CLOSE, b"d")),
]
"""The second waits for the first."""

BESIDE = [
    (lstat(b"/d/x"), lstat(b"/d/x")),
    (MKDIR, packets.encode_mkdir(0, b"/d/y", 0o755)),
    (MKDIR, lstat(b"/d/xx")),
    (MKDIR, lstat(b"/")),
    (opening(b"/f", READS), lstat(b"/f")),
    (write(b"w", 0, 10), write(b"w", 10, 10)),
    (write(b"w", 0, 10), read(b"r", 10, 10)),
    (read(b"r", 0, 10), read(b"r", 0, 10)),
    (write(b"w", 0, 10), lstat(b"/")),
    (write(b"w", 0, 10), MKDIR),
    (by_path(packets.CLOSE, b"r"), lstat(b"/file")),
    (by_path(packets.READDIR, b"d"), lstat(b"/d/x")),
]


@pytest.fixture
def order() -> RequestOrder:
    """With handles ``r``, ``w`` and ``a`` of ``/file`` and ``/log``, ``d`` of ``/d``."""
    made = RequestOrder()
    handles = {
        b"r": opening(b"/file", READS),
        b"w": opening(b"/file", WRITES),
        b"a": opening(b"/log", APPENDS),
        b"d": by_path(packets.OPENDIR, b"/d"),
    }
    for number, (handle, packet) in enumerate(handles.items()):
        assert made.enter(-number - 1, packet)
        assert made.answered(-number - 1, handle, True) == []
    return made


@pytest.mark.parametrize(("first", "second"), APART)
def test_what_could_be_mixed_up_waits(order: RequestOrder, first: bytes, second: bytes) -> None:
    assert order.enter(1, first)
    assert not order.enter(2, second)
    assert order.answered(1, None, True) == [2]
    assert order.answered(2, None, True) == []


@pytest.mark.parametrize(("first", "second"), BESIDE)
def test_other_requests_go_together(order: RequestOrder, first: bytes, second: bytes) -> None:
    assert order.enter(1, first)
    assert order.enter(2, second)


@pytest.mark.parametrize(
    ("made", "name"), [(opening(b"/d/new", WRITES | OpenFlags.CREATE), b"/d/new"), (MKDIR, b"/d/x")]
)
def test_a_look_at_what_is_made_may_go_beside_it(order: RequestOrder, made: bytes, name: bytes) -> None:
    assert order.enter(1, made)
    assert not order.enter(2, lstat(name))
    assert order.enter(3, lstat(name), (1,))
    assert order.answered(3, None, False) == []
    assert order.answered(1, b"n", True) == [2]


def test_a_look_does_not_go_beside_what_has_to_wait(order: RequestOrder) -> None:
    removed, made = by_path(packets.REMOVE, b"/d/new"), opening(b"/d/new", WRITES | OpenFlags.CREATE)
    assert order.enter(1, removed)
    assert not order.enter(2, made)
    assert not order.enter(3, lstat(b"/d/new"), (2,))
    assert order.answered(1, None, True) == [2]
    assert order.answered(2, b"n", True) == [3]


def test_what_waits_is_not_overtaken(order: RequestOrder) -> None:
    assert order.enter(1, write(b"w", 0, 10))
    assert not order.enter(2, by_path(packets.FSTAT, b"w"))
    assert not order.enter(3, write(b"w", 10, 10))
    assert order.answered(1, None, True) == [2]
    assert order.answered(2, None, True) == [3]


def test_whatever_comes_no_two_that_meet_are_under_way(order: RequestOrder) -> None:
    packets_made = [packet for pair in (*APART, *BESIDE) for packet in pair]
    chance = random.Random(7)
    made: dict[int, bytes] = {}
    under_way: set[int] = set()
    most = 0
    for number in range(1, 400):
        if chance.random() < 0.55 or not under_way:
            made[number] = chance.choice(packets_made)
            if order.enter(number, made[number]):
                under_way.add(number)
        else:
            ended = chance.choice(sorted(under_way))
            under_way.discard(ended)
            del made[ended]
            under_way.update(order.answered(ended, None, False))
        abouts = order._abouts
        for later, about in abouts.items():
            met = {one for one in abouts if one < later and meet(about, abouts[one])}
            assert met == order._waits.get(later, set())
            assert (later in under_way) is (not met)
        most = max(most, len(under_way))
    assert most > 5
    while under_way:
        ended = under_way.pop()
        under_way.update(order.answered(ended, None, False))
        del made[ended]
    assert not made, "what waits is let go in the end"


def test_a_failed_request_lets_others_go(order: RequestOrder) -> None:
    assert order.enter(1, MKDIR)
    assert not order.enter(2, lstat(b"/d/x"))
    assert order.answered(1, None, False) == [2]


def test_a_handle_goes_with_its_file(order: RequestOrder) -> None:
    assert order.enter(1, rename(b"/file", b"/other"))
    assert order.answered(1, None, True) == []
    assert order.enter(2, write(b"w", 0, 10))
    assert order.enter(3, lstat(b"/file"))
    assert not order.enter(4, lstat(b"/other"))


def test_a_close_may_go_beside_the_change_of_its_handle_and_a_look_beside_both(order: RequestOrder) -> None:
    assert order.enter(1, setting(b"w"))
    assert order.enter(2, by_path(packets.CLOSE, b"w"), order.ends(b"w"))
    assert order.enter(3, lstat(b"/file"), order.ends(b"w"))
    assert not order.enter(4, lstat(b"/file"))
    assert order.answered(1, None, True) == []
    assert order.answered(2, None, True) == [4]


def test_no_handle_is_made_beside_a_change_that_a_close_may_overtake(order: RequestOrder) -> None:
    """It could be the one that was closed: the change would be another file's."""
    assert order.enter(1, setting(b"w"))
    assert order.enter(6, MKDIR)
    assert not order.enter(2, opening(b"/d/x/file", READS))
    assert order.enter(3, by_path(packets.CLOSE, b"w"), order.ends(b"w"))
    assert not order.enter(4, opening(b"/third", READS))
    assert not order.enter(5, by_path(packets.OPENDIR, b"/e"))
    assert order.answered(3, None, True) == []
    assert order.answered(6, None, True) == []
    assert order.answered(1, None, False) == [2, 4, 5]


def test_a_close_waits_for_the_change_where_a_handle_is_being_made(order: RequestOrder) -> None:
    assert order.enter(1, opening(b"/third", READS))
    assert order.enter(2, setting(b"w"))
    assert not order.enter(3, by_path(packets.CLOSE, b"w"), order.ends(b"w"))
    assert not order.enter(4, lstat(b"/file"), order.ends(b"w"))
    assert order.answered(2, None, True) == [3]


def test_a_close_waits_for_what_is_read_beside_a_change(order: RequestOrder) -> None:
    assert order.enter(1, read(b"w", 0, 10))
    assert not order.enter(2, setting(b"w"))
    assert not order.enter(3, by_path(packets.CLOSE, b"w"), order.ends(b"w"))
    assert order.answered(1, None, True) == [2]
    assert order.answered(2, None, True) == [3]


def test_a_handle_given_twice_is_refused(order: RequestOrder) -> None:
    assert order.enter(1, opening(b"/third", READS))
    with pytest.raises(RepeatedHandleError):
        order.answered(1, b"r", True)


def test_a_closed_handle_may_come_again(order: RequestOrder) -> None:
    assert order.enter(1, by_path(packets.CLOSE, b"r"))
    assert order.answered(1, None, True) == []
    assert order.enter(2, opening(b"/third", READS))
    assert order.answered(2, b"r", True) == []
    assert order.open_handles == 4


def test_a_handle_may_come_again_before_the_answer_to_its_close(order: RequestOrder) -> None:
    """A server that keeps no order of answers either: CLOSE was carried out, and its number given again."""
    assert order.enter(1, by_path(packets.CLOSE, b"w"))
    assert order.enter(2, opening(b"/third", WRITES))
    assert order.answered(2, b"w", True) == []
    assert not order.enter(3, write(b"w", 0, 10)), "of the handle that is being closed, for all that is known"
    assert order.answered(1, None, True) == [3]
    assert not order.enter(4, lstat(b"/third")), "the handle is that of the new file"
    assert order.enter(5, lstat(b"/file"))
    assert order.open_handles == 4
    assert order.enter(6, opening(b"/fourth", READS))
    with pytest.raises(RepeatedHandleError):
        order.answered(6, b"w", True)


def test_a_handle_whose_close_waits_is_open(order: RequestOrder) -> None:
    assert order.enter(1, read(b"w", 0, 10))
    assert not order.enter(2, by_path(packets.CLOSE, b"w"))
    assert order.enter(3, opening(b"/third", READS))
    with pytest.raises(RepeatedHandleError):
        order.answered(3, b"w", True)
