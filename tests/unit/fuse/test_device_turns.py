"""The turn at the kernel's device: kept by who does not wait, passed on by who does."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing

from sftpfs.aio.readiness import poller
from sftpfs.fuse import device_turns
from sftpfs.fuse.device_turns import Turn, step


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Turn:
    """A turn of the test's own, which ``step`` gives away."""
    fresh = Turn()
    monkeypatch.setattr(device_turns, "_turn", fresh)
    return fresh


class Device:
    """A pipe in the place of the device: a byte is a request."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)

    def ask(self, requests: bytes) -> None:
        os.write(self.write_fd, requests)

    def close(self) -> None:
        os.close(self.read_fd)
        os.close(self.write_fd)


async def serve(turn: Turn, device: Device, name: str, done: list[str], gate: trio.Event) -> None:
    """As pyfuse3's tasks do: ``q`` is answered at once, ``w`` waits for ``gate``, ``e`` ends the task."""

    async def handle(request: str) -> str:
        if request == "w":
            await gate.wait()
        return name + request

    while True:
        async with turn:
            await turn.wait_readable(device.read_fd)
        request = os.read(device.read_fd, 1).decode()
        done.append(await step(handle(request)))
        if request == "e":
            turn.pass_on()
            return


def run(requests: list[bytes], expected: list[str], turn: Turn) -> None:
    """Two tasks, each batch of ``requests`` when all before is done; what was done in the end."""
    device, done, gate = Device(), [], trio.Event()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, turn, device, "A", done, gate)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(serve, turn, device, "B", done, gate)
            for batch in requests:
                await trio.testing.wait_all_tasks_blocked()
                device.ask(batch)
            with trio.move_on_after(5):
                while len(done) < len(expected):
                    await trio.testing.wait_all_tasks_blocked(0.001)
                    if len(done) == len(expected) - sum("w" in one for one in expected):
                        gate.set()
            nursery.cancel_scope.cancel()

    try:
        trio.run(main)
    finally:
        device.close()
    assert done == expected


def test_who_does_not_wait_reads_the_next_request_too(turn: Turn) -> None:
    run([b"q", b"qq"], ["Aq", "Aq", "Aq"], turn)


def test_who_waits_passes_the_turn_on(turn: Turn) -> None:
    run([b"w", b"q", b"q"], ["Bq", "Bq", "Aw"], turn)


def test_who_ends_passes_the_turn_on(turn: Turn) -> None:
    run([b"e", b"q"], ["Ae", "Bq"], turn)


def test_many_at_once_are_all_answered(turn: Turn) -> None:
    """More than are taken without a break, one after another."""
    run([b"q" * (3 * device_turns.UNBROKEN)], ["Aq"] * (3 * device_turns.UNBROKEN), turn)


def test_the_session_s_end_reaches_everybody_who_waits(turn: Turn) -> None:
    heard = []

    async def wait(name: str) -> None:
        try:
            async with turn:
                await trio.lowlevel.wait_readable(fd)
        except trio.ClosedResourceError:
            heard.append(name)

    async def ended(name: str) -> None:
        async with turn:
            heard.append(name)

    fd, other = os.pipe()

    async def main() -> None:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, "first")
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(ended, "second")
                nursery.start_soon(ended, "third")
                await trio.testing.wait_all_tasks_blocked()
                trio.lowlevel.notify_closing(fd)

    try:
        trio.run(main)
    finally:
        os.close(fd)
        os.close(other)
    assert heard[0] == "first" and sorted(heard[1:]) == ["second", "third"]


def test_a_cancelled_task_is_not_given_the_turn(turn: Turn) -> None:
    async def main() -> None:
        with trio.fail_after(5):
            async with turn:
                with trio.move_on_after(0) as scope:
                    async with turn:
                        raise AssertionError("the turn was held")
                assert scope.cancelled_caught
            async with turn:
                pass

    trio.run(main)


def test_a_step_hands_on_results_errors_and_cancellation(turn: Turn) -> None:
    async def returns(value: int, rounds: int) -> int:
        for _ in range(rounds):
            await trio.lowlevel.checkpoint()
        return value

    async def fails(rounds: int) -> None:
        await returns(0, rounds)
        raise OSError(5, "refused")

    async def main() -> None:
        for rounds in (0, 1, 3):
            assert await step(returns(7, rounds)) == 7
            with pytest.raises(OSError, match="refused"):
                await step(fails(rounds))
        with trio.move_on_after(0) as scope:
            await step(returns(1, 1000))
        assert scope.cancelled_caught

    trio.run(main)


def test_at_the_end_nobody_looks_at_the_device(turn: Turn) -> None:
    """Its number may be a stream's next, which stays watched and gets no message meant for the kernel."""
    device = Device()

    async def main() -> None:
        found = poller()
        assert found is not None
        with trio.move_on_after(0.01):
            await turn.wait_readable(device.read_fd)
        number = turn.device
        assert number == device.read_fd
        device_turns.end()
        assert device_turns.device() is None
        came = trio.Event()
        found.add(number, came.set)
        device_turns.end()
        turn.notify_closing(number)
        device.ask(b"x")
        with trio.fail_after(5):
            await came.wait()
        found.remove(number)

    try:
        trio.run(main)
    finally:
        device.close()


def test_who_waited_takes_the_next_request_if_none_came_meanwhile(turn: Turn) -> None:
    """So nobody is woken only to wait in its place."""
    device, done, gate = Device(), [], trio.Event()

    async def main() -> None:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, turn, device, "A", done, gate)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(serve, turn, device, "B", done, gate)
                device.ask(b"w")
                while not gate.statistics().tasks_waiting:
                    await trio.testing.wait_all_tasks_blocked(0.001)
                gate.set()
                await trio.testing.wait_all_tasks_blocked(0.001)
                device.ask(b"q")
                while len(done) < 2:
                    await trio.testing.wait_all_tasks_blocked(0.001)
                nursery.cancel_scope.cancel()

    try:
        trio.run(main)
    finally:
        device.close()
    assert done == ["Aw", "Aq"]


def test_the_session_s_end_is_heard_while_nobody_has_the_turn(turn: Turn) -> None:
    device, heard, gate = Device(), [], trio.Event()

    async def ended(name: str) -> None:
        async with turn:
            heard.append(name)

    async def main() -> None:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, turn, device, "A", [], gate)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(ended, "first")
                nursery.start_soon(ended, "second")
                device.ask(b"w")
                while not gate.statistics().tasks_waiting:
                    await trio.testing.wait_all_tasks_blocked(0.001)
                assert not heard
                turn.notify_closing(device.read_fd)
                while len(heard) < 2:
                    await trio.testing.wait_all_tasks_blocked(0.001)
                nursery.cancel_scope.cancel()

    try:
        trio.run(main)
    finally:
        device.close()
    assert sorted(heard) == ["first", "second"]
