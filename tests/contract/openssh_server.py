"""A session with a process of OpenSSH's own sftp-server."""

# Looking at the local directory blocks, and may: nothing else runs in these loops.
# ruff: noqa: ASYNC220

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from sftpfs.aio import ByteStream
from sftpfs.sftp.session import Session

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
LIMIT = 30.0

Body = Callable[[Session, Path], Awaitable[None]]


@asynccontextmanager
async def serving(directory: Path, *options: str) -> AsyncIterator[Session]:
    """A session with an sftp-server of its own, gone afterwards."""
    ours, theirs = socket.socketpair()
    server = subprocess.Popen([SFTP_SERVER, *options], stdin=theirs, stdout=theirs, cwd=directory)
    theirs.close()
    descriptor = ours.detach()
    session = Session(ByteStream(descriptor, descriptor), timeout=LIMIT, generation=1)
    try:
        await session.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run)
            yield session
            session.close("the test is over")
    finally:
        session.close("the test is over")
        server.terminate()
        server.wait(LIMIT)


def against_server(directory: Path, body: Body, *options: str) -> None:
    """Run ``body`` on a fresh session."""

    async def main() -> None:
        with trio.fail_after(LIMIT):
            async with serving(directory, *options) as session:
                await body(session, directory)
                assert session.closed_error is None
                assert session.outstanding == 0
                assert session.writer.queued_bytes == 0

    trio.run(main)
