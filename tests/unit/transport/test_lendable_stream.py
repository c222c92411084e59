"""A stream that goes past its worker for a while: what the worker says and when, and descriptors that are
short."""

from __future__ import annotations

import array
import gc
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from sftpfs.aio import readiness
from sftpfs.transport import messages
from sftpfs.transport.loan.borrower import Borrower
from sftpfs.transport.loan.lendable_stream import LendableStream
from sftpfs.transport.loan.lent_connection import RECEIVE_SIZE
from sftpfs.transport.loan.state import Loan
from sftpfs.transport.messages import Message
from tests.unit.transport.test_loan import Peer, loan

LIMIT = 20.0


class Front:
    """A stream that somebody reads, its worker's end, and the server behind."""

    def __init__(self, stream: LendableStream, worker: socket.socket, said: list[Message]) -> None:
        self.stream, self.worker, self.said = stream, worker, said
        self.data = b""
        self.ended = False
        self.came = trio.Event()
        self.space = memoryview(bytearray(RECEIVE_SIZE))
        self.lent: Loan | None = None
        self.peer: Peer | None = None

    def read(self) -> None:
        try:
            count = self.stream.read_into(self.space)
        except BlockingIOError:
            return
        self.data += self.space[:count]
        self.ended = self.ended or not count
        if not count:
            self.stream.close()
        self.came.set()

    async def serve(self) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await self.stream.serve(self.read)

    async def has(self, data: bytes) -> None:
        """``data`` and no more has come."""
        while len(self.data) < len(data):
            self.came = trio.Event()
            await self.came.wait()
        assert self.data == data

    def lend(self, fd: bool = True, **changed: Any) -> None:
        """The worker lends the connection to a new peer."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.lent = loan(**changed)
        self.peer = Peer(theirs, self.lent)
        self.stream.lend(self.lent.message(), ours.detach() if fd else None)
        ours.close()

    async def write(self, data: bytes) -> None:
        """All of it."""
        while data:
            try:
                data = data[self.stream.write((data,)) :]
            except BlockingIOError:
                await self.stream.writable()

    def brought(self) -> bytes:
        """What the front put into the data socket."""
        data = b""
        while True:
            try:
                more = self.worker.recv(1 << 20)
            except BlockingIOError:
                return data
            if not more:
                return data
            data += more


@asynccontextmanager
async def front(buffer: int = 1 << 20, serving: bool = True) -> AsyncIterator[Front]:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    theirs.setblocking(False)
    said: list[Message] = []

    def say(message: Message) -> bool:
        said.append(message)
        return True

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            made = Front(LendableStream(ours.detach(), say, nursery.start_soon), theirs, said)
            if serving:
                nursery.start_soon(made.serve)
                await trio.testing.wait_all_tasks_blocked()
            try:
                yield made
            finally:
                made.stream.close()
                theirs.close()
                if made.peer is not None:
                    made.peer.socket.close()


def run(check: Callable[[], Awaitable[None]]) -> None:
    """Run it; no socket is left."""
    before = sockets()
    trio.run(check)
    gc.collect()
    assert sockets() == before


def sockets() -> int:
    """How many this process has."""
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith("socket:") for link in links if os.path.lexists(link))


def test_there_and_back_nothing_is_lost_and_nothing_overtakes() -> None:
    async def check() -> None:
        async with front() as made:
            made.worker.send(b"one,")
            await made.write(b"1,")
            made.stream.offer()
            assert made.said == [{"type": "borrow"}]
            with pytest.raises(BlockingIOError):
                made.stream.write((b"not through the worker any more",))
            made.worker.send(b"two,")  # by a worker that has not lent yet
            made.lend(received=b"")
            assert made.data == b"one,two,"
            assert made.peer is not None and made.lent is not None
            await made.write(b"2,")
            made.peer.socket.send(made.peer.data(b"three,") + (half := made.peer.data(b"four,"))[:9])
            await made.has(b"one,two,three,")
            assert made.brought() == b"1,"
            made.stream.recall()
            message = made.said.pop()
            assert (message["type"], message["used"], message["received"]) == ("return", True, 9)
            await made.write(b"3,")
            assert made.brought() == half[:9] + b"3,"
            made.peer.read()
            assert made.peer.content == b"2,"
            made.worker.send(b"four,five")
            await made.has(b"one,two,three,four,five")
            made.stream.recall()
            assert made.said == [{"type": "borrow"}]

    run(check)


def test_what_is_written_as_the_last_of_the_worker_is_read_goes_with_the_loan() -> None:
    """A reply that is read between ``lend`` and the loan has a request sent at once: the worker reads its
    socket no more."""

    async def check() -> None:
        async with front() as made:
            read = made.read
            refused: list[bool] = []

            def read_and_ask() -> None:
                read()
                try:
                    made.stream.write((b"asked meanwhile,",))
                except BlockingIOError:
                    refused.append(True)

            made.stream._read = read_and_ask
            made.stream.offer()
            made.worker.send(b"reply")
            made.lend()
            assert made.data == b"reply"
            assert made.brought() == b""
            assert refused
            made.stream._read = read
            await made.write(b"later")
            assert made.peer is not None
            made.peer.read()
            assert made.peer.content.endswith(b"later")

    run(check)


def test_an_offer_before_anybody_reads_is_taken_then() -> None:
    async def check() -> None:
        async with front(serving=False) as made, trio.open_nursery() as nursery:
            made.stream.offer()
            assert made.said == []
            nursery.start_soon(made.serve)
            await trio.testing.wait_all_tasks_blocked()
            assert made.said == [{"type": "borrow"}]
            made.stream.keep()
            await made.write(b"through the worker")
            assert made.brought() == b"through the worker"
            made.stream.close()

    run(check)


def test_trio_s_public_means_borrow_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(readiness.PLAIN, "1")

    async def check() -> None:
        async with front() as made:
            made.stream.offer()
            assert made.said == []
            await made.write(b"x")
            assert made.brought() == b"x"

    run(check)


@pytest.mark.parametrize("why", ["no descriptor", "not asked", "closed"])
def test_what_cannot_be_borrowed_goes_back_unused(why: str) -> None:
    async def check() -> None:
        async with front() as made:
            if why != "not asked":
                made.stream.offer()
            if why == "closed":
                made.stream.close()
            made.lend(fd=why != "no descriptor")
            assert made.said[-1] == {"type": "return", "used": False}
            if why != "closed":
                await made.write(b"x")
                assert made.brought() == b"x"

    run(check)


def test_a_descriptor_that_does_not_fit_is_no_message_less() -> None:
    """As the kernel drops it where the process has too many: the message comes without it."""
    ours, theirs = messages.socketpair()
    with ours, theirs, socket.socket() as extra:
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [extra.fileno()]))]
        theirs.sendmsg([messages.encode({"type": "lend"})], control)
        import resource

        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (ours.fileno(), limits[1]))
        try:
            received = messages.receive(ours)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert received == ({"type": "lend"}, None)


def test_a_message_that_makes_no_sense_leaves_no_descriptor() -> None:
    async def check() -> None:
        async with front() as made:
            made.stream.offer()
            with pytest.raises(ValueError):
                made.stream.lend(loan().message() | {"send_key": "AAAA"}, os.dup(0))

    run(check)


def test_a_worker_that_is_gone_is_the_end_of_the_stream() -> None:
    async def check() -> None:
        async with front() as made:
            made.stream.offer()
            made.lend()
            made.worker.close()
            while not made.ended:
                made.came = trio.Event()
                await made.came.wait()
            assert made.stream.closed
            assert [one["type"] for one in made.said] == ["borrow"]

    run(check)


@pytest.mark.parametrize("way", ["close", "end of the connection", "foreign packet"])
def test_what_ends_a_loan_brings_it_back(way: str) -> None:
    async def check() -> None:
        async with front() as made:
            made.stream.offer()
            made.lend()
            assert made.peer is not None
            await made.write(b"last")
            if way == "close":
                made.stream.close()
            elif way == "foreign packet":
                made.peer.socket.send(made.peer.packet(b"\x14" + bytes(40)))
            else:
                made.peer.socket.shutdown(socket.SHUT_WR)
            while made.said[-1]["type"] != "return":
                await trio.testing.wait_all_tasks_blocked(0.01)
            message = made.said[-1]
            assert message["used"] and message["error"] == 0
            assert len(made.brought()) == message["received"] == (68 if way == "foreign packet" else 0)
            made.peer.read()
            assert made.peer.content == b"last"

    run(check)


def test_what_a_full_socket_has_not_taken_goes_back_in_order_and_is_not_encrypted_again() -> None:
    """Neither the server nor the worker takes anything for a while; a writer waits for both."""
    content = os.urandom(600_000)

    async def check() -> None:
        async with front(buffer=4096) as made, trio.open_nursery() as nursery:
            made.stream.offer()
            made.lend()
            peer, lent = made.peer, made.lent
            assert peer is not None and lent is not None
            nursery.start_soon(made.write, content + b"the end")
            await trio.testing.wait_all_tasks_blocked(0.01)
            made.stream.recall()
            message = made.said[-1]
            assert message["unsent"] > 0
            await trio.testing.wait_all_tasks_blocked(0.01)
            through = made.brought()
            assert 0 < len(through) < message["unsent"]
            while not through.endswith(b"the end"):
                await trio.sleep(0.001)
                through += made.brought()
            peer.read()
            peer.take(through[: message["unsent"]])
            assert peer.content + through[message["unsent"] :] == content + b"the end"
            assert message["send_window"] == lent.send_window - len(peer.content)

    run(check)


def test_a_writer_goes_on_when_the_window_opens() -> None:
    content = os.urandom(300_000)

    async def check() -> None:
        async with front() as made, trio.open_nursery() as nursery:
            made.stream.offer()
            made.lend(send_window=100_000)
            peer = made.peer
            assert peer is not None
            nursery.start_soon(made.write, content)
            while len(peer.content) < len(content):
                await trio.testing.wait_all_tasks_blocked(0.01)
                peer.read()
                if len(peer.content) % 100_000 == 0:
                    peer.socket.send(peer.packet(b"\x5d" + bytes(4) + (100_000).to_bytes(4, "big")))
            assert peer.content == content

    run(check)


def test_who_waits_to_write_hears_of_the_end() -> None:
    async def check() -> None:
        async with front() as made, trio.open_nursery() as nursery:
            made.stream.offer()

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await made.stream.writable()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.01)
            made.stream.close()

    run(check)


def test_messages_reach_the_channel_they_are_about() -> None:
    """And a descriptor for a channel that is not there is closed."""
    said: list[Message] = []

    def say(message: Message) -> bool:
        said.append(message)
        return True

    async def check() -> None:
        async with trio.open_nursery() as nursery:
            borrower = Borrower(say, nursery.start_soon)
            assert not borrower.take({"type": "opened", "id": 3}, None)
            assert borrower.take({"type": "offer", "id": 3}, None)
            assert borrower.take({"type": "keep", "id": 4}, None)
            assert borrower.take({"type": "lend", "id": 4}, os.dup(0))
            ours, theirs = socket.socketpair()
            stream = borrower.stream(3, ours.detach())
            with theirs:
                nursery.start_soon(serve, stream)
                await trio.testing.wait_all_tasks_blocked()
                assert said == [{"type": "borrow", "id": 3}]
                lent_socket, server = socket.socketpair()
                with server:
                    borrower.take({"type": "lend", "id": 3, **loan().message()}, lent_socket.detach())
                    borrower.give_back()
                assert said[-1]["type"] == "return" and said[-1]["id"] == 3
                stream.close()

    async def serve(stream: LendableStream) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.serve(lambda: None)

    run(check)
