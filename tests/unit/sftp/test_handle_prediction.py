"""The forecast of handles against OpenSSH's own way of giving them, and against others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpfs.sftp.handle_prediction import HandlePredictor


class OpenSSH:
    """handle_new and handle_unused of sftp-server.c: a table, and a list of its free places."""

    def __init__(self) -> None:
        self.free: list[int] = []
        self.used: set[int] = set()

    def make(self) -> bytes:
        """The next handle."""
        place = self.free.pop() if self.free else len(self.used) + len(self.free)
        self.used.add(place)
        return place.to_bytes(4, "big")

    def close(self, handle: bytes) -> None:
        """Free its place."""
        place = int.from_bytes(handle, "big")
        self.used.remove(place)
        self.free.append(place)


class Conversation:
    """Requests sent, carried out in order, and answered in order, each a while after the other."""

    def __init__(self, server: OpenSSH) -> None:
        self.server = server
        self.forecast = HandlePredictor()
        self.sent: deque[tuple[int, Callable[[], bytes | None]]] = deque()
        self.answers: deque[tuple[int, bytes | None]] = deque()
        self.predicted: dict[int, bytes | None] = {}
        self.hit: list[bytes] = []
        self.open: list[bytes] = []
        self.identifier = 0

    def make(self, fails: bool) -> None:
        """OPENDIR, and READDIR by the handle expected."""
        self.identifier += 1
        expected = self.forecast.predict()
        self.predicted[self.identifier] = expected
        self.forecast.open_sent(self.identifier)

        def carry_out() -> bytes | None:
            made = None if fails else self.server.make()
            if expected is not None and expected != made:
                self.hit += [expected] * (int.from_bytes(expected, "big") in self.server.used)
            return made

        self.sent.append((self.identifier, carry_out))

    def close(self, which: int) -> None:
        """CLOSE of a handle that came."""
        if self.open:
            handle = self.open.pop(which % len(self.open))
            self.forecast.close_sent(handle)
            self.sent.append((0, lambda: self.server.close(handle)))

    def carry_out(self) -> None:
        """The server does the next."""
        if self.sent:
            identifier, work = self.sent.popleft()
            answer = work()
            if identifier:
                self.answers.append((identifier, answer))

    def receive(self) -> None:
        """The next answer comes."""
        if self.answers:
            identifier, handle = self.answers.popleft()
            self.forecast.answered(identifier, handle)
            if handle is not None:
                self.open.append(handle)

    def settle(self) -> None:
        """Everything sent is answered."""
        while self.sent or self.answers:
            self.carry_out()
            self.receive()


STEPS = st.lists(st.one_of(st.sampled_from(("make", "fail", "do", "do", "receive")), st.integers(0, 20)))


@given(STEPS)
def test_openssh_is_told_beforehand(steps: list[str | int]) -> None:
    """Whatever fails in between: it is never broken, no wrong handle is one in use, and
    where nothing is under way the next one is known."""
    talk = Conversation(OpenSSH())
    for step in steps:
        if isinstance(step, int):
            talk.close(step)
        elif step == "do":
            talk.carry_out()
        elif step == "receive":
            talk.receive()
        else:
            talk.make(step == "fail")
    talk.settle()
    assert not talk.forecast.broken
    assert not talk.hit
    expected = talk.forecast.predict()
    if expected is not None:
        assert expected == talk.server.make()


@given(st.lists(st.integers(0, 20), max_size=30))
def test_every_handle_is_told_where_none_fails(steps: list[int]) -> None:
    talk = Conversation(OpenSSH())
    talk.make(False)
    talk.settle()
    talk.close(0)
    talk.make(False)
    talk.settle()
    begun = talk.identifier
    for step in steps:
        talk.make(False) if step % 2 else talk.close(step)
        if step % 3 == 0:
            talk.carry_out()
    asked = {number: expected for number, expected in talk.predicted.items() if number > begun}
    while talk.sent or talk.answers:
        talk.carry_out()
        if talk.answers and talk.answers[0][0] > begun:
            assert asked.pop(talk.answers[0][0]) == talk.answers[0][1]
        talk.receive()
    assert not asked


def test_nothing_is_told_before_a_place_was_given_again() -> None:
    talk = Conversation(OpenSSH())
    for _ in range(3):
        assert talk.forecast.predict() is None
        talk.make(False)
        talk.settle()
    talk.close(1)
    assert talk.forecast.predict() is None
    talk.make(False)
    assert talk.forecast.predict() is None, "it has not come yet"
    talk.settle()
    assert talk.forecast.predict() == (3).to_bytes(4, "big")


@pytest.mark.parametrize("second", [b"\0\0\0\1", b"0", b"\0\0\0\0\0", b""])
def test_a_server_that_gives_another_handle_is_told_nothing_for_good(second: bytes) -> None:
    forecast = HandlePredictor()
    forecast.open_sent(1)
    forecast.answered(1, b"\0\0\0\0")
    forecast.close_sent(b"\0\0\0\0")
    forecast.open_sent(2)
    forecast.answered(2, second)
    assert forecast.broken
    for number in (3, 4):
        forecast.close_sent(second)
        forecast.open_sent(number)
        forecast.answered(number, b"\0\0\0\0")
        assert forecast.predict() is None


def test_answers_out_of_order_are_no_ground_to_go_by() -> None:
    forecast = HandlePredictor()
    forecast.open_sent(1)
    forecast.open_sent(2)
    forecast.answered(2, b"\0\0\0\0")
    assert forecast.broken


def test_a_handle_closed_that_is_not_known_is_no_ground_to_go_by() -> None:
    forecast = HandlePredictor()
    forecast.close_sent(b"\0\0\0\0")
    assert forecast.broken
