"""What a session counts and queues, and how it ends, with OpenSSH's own sftp-server."""

# Looking at the local directory blocks, and may: nothing else runs in these loops.
# ruff: noqa: ASYNC220

from __future__ import annotations

import errno
import os
import socket
import subprocess
from pathlib import Path

import pytest
import trio

from sftpfs.aio import ByteStream
from sftpfs.errors import SessionLostError
from sftpfs.sftp.session import Session
from sftpfs.types import OpenFlags
from tests.contract.openssh_server import LIMIT, SFTP_SERVER, against_server, serving


def test_counters(tmp_path: Path) -> None:
    async def body(session: Session, directory: Path) -> None:
        statistics = session.statistics
        waits, replies = statistics.waits, statistics.replies
        slots = [session.start_lstat(bytes(directory)) for _ in range(50)]
        assert session.outstanding == 50
        for slot in slots:
            await slot.wait()
        await session.start_stat(bytes(directory)).wait()
        assert (statistics.requests["lstat"], statistics.requests["stat"]) == (50, 1)
        assert statistics.replies - replies == 51
        assert statistics.waits - waits == 2
        assert 0 < statistics.minimum_latency <= statistics.last_latency < LIMIT

    against_server(tmp_path, body)


def test_more_than_the_socket_takes_is_queued_and_sent(tmp_path: Path) -> None:
    size = 200_000
    count = 40
    blocks = [bytes([number]) * size for number in range(count)]

    async def body(session: Session, directory: Path) -> None:
        flags = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE
        handle = await session.start_open(bytes(directory / "file"), flags, 0o600).wait()
        slots = [session.start_write(handle, at * size, block) for at, block in enumerate(blocks)]
        # All of it was handed over without a chance for the socket to drain.
        assert session.writer.queued_bytes > size
        for slot in slots:
            await slot.wait()
        assert (directory / "file").read_bytes() == b"".join(blocks)
        reads = [session.start_read(handle, at * size, size) for at in range(count)]
        for block, read in zip(blocks, reads, strict=True):
            assert await read.wait() == block
        await session.start_close(handle).wait()

    against_server(tmp_path, body)


def test_many_waiters_and_a_cancelled_one(tmp_path: Path) -> None:
    async def body(session: Session, directory: Path) -> None:
        slot = session.start_lstat(bytes(directory))
        found = []

        async def wait() -> None:
            found.append(await slot.wait())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
            with trio.move_on_after(0):
                await slot.wait()
        assert len(found) == 3

    against_server(tmp_path, body)


def test_closing_fails_what_is_outstanding_and_all_that_comes_later(tmp_path: Path) -> None:
    async def main() -> None:
        with trio.fail_after(LIMIT):
            async with serving(tmp_path) as session:
                slots = [session.start_lstat(bytes(tmp_path)) for _ in range(3)]
                session.close("enough", errno.ENOTCONN)
                session.close("twice changes nothing")
                late = session.start_lstat(bytes(tmp_path))
                for slot in [*slots, late]:
                    assert slot.done
                    with pytest.raises(SessionLostError, match="enough") as caught:
                        slot.result()
                    assert caught.value.errno == errno.ENOTCONN
                assert (session.outstanding, session.writer.queued_bytes) == (0, 0)

    trio.run(main)


def test_the_death_of_the_server_fails_what_is_outstanding(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    async def main() -> None:
        with trio.fail_after(LIMIT):
            ours, theirs = socket.socketpair()
            server = subprocess.Popen([SFTP_SERVER], stdin=theirs, stdout=theirs)
            theirs.close()
            descriptor = ours.detach()
            session = Session(ByteStream(descriptor, descriptor), timeout=LIMIT, generation=1)
            try:
                await session.start()
                # Opening a fifo without a writer does not return: the server hangs in it.
                slot = session.start_open(bytes(tmp_path / "fifo"), OpenFlags.READ)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(session.run)
                    server.kill()
                    with pytest.raises(SessionLostError):
                        await slot.wait()
                assert session.closed_error is not None
                assert session.closed_error.errno == errno.EIO
            finally:
                session.close("the test is over")
                server.kill()
                server.wait(LIMIT)

    trio.run(main)


def test_a_stream_closed_from_outside_is_never_mistaken_for_what_gets_its_number(tmp_path: Path) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        server = subprocess.Popen([SFTP_SERVER], stdin=theirs, stdout=theirs, cwd=tmp_path)
        theirs.close()
        number = ours.detach()
        stream = ByteStream(number, number)
        session = Session(stream, timeout=LIMIT, generation=1)
        await session.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run)
            under_way = session.start_lstat(b"/")
            stream.close()
            file = tmp_path / "file"
            file.write_bytes(b"what is there")
            opened = os.open(file, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            later = session.start_lstat(b"/")  # before any task of the session has run
            for slot in (under_way, later):
                with pytest.raises(SessionLostError):
                    await slot.wait()
            assert os.lseek(number, 0, os.SEEK_CUR) == 0, "nothing was read or written"
            os.close(number)
            assert file.read_bytes() == b"what is there"
        server.wait(LIMIT)

    async def limited() -> None:
        with trio.fail_after(LIMIT):
            await main()

    trio.run(limited)
