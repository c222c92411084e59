"""The process behind FaultyLink: TCP both ways, with what goes wrong on the way."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

READ_SIZE = 1 << 16

CHANGES: dict[str, Callable[[bytes, int], bytes]] = {
    "corrupt": lambda data, at: data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :],
    "duplicate": lambda data, at: data[: at + 1] + data[at:],
    "drop": lambda data, at: data[:at] + data[at + 1 :],
}
"""What becomes of a chunk at one of its bytes."""


@dataclass
class Order:
    """What to do as byte ``left`` from now passes in ``direction``: "cut", or one of CHANGES."""

    direction: str
    left: int
    action: str


class Link:
    """All connections, and what is ordered of them."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.refusing = False
        self.order: Order | None = None
        self.held = 0
        self.writers: set[asyncio.StreamWriter] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        if self.refusing:
            reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            reset(writer)
            return
        pair = {writer, far_writer}
        self.writers |= pair
        jobs = [
            asyncio.create_task(self.carry("up", reader, far_writer)),
            asyncio.create_task(self.carry("down", far_reader, writer)),
        ]
        try:
            await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for job in jobs:
                job.cancel()
            self.writers -= pair
            for one in pair:
                one.close()

    async def carry(self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction of one connection."""
        try:
            while data := await reader.read(READ_SIZE):
                self.held += 1
                await self.flowing.wait()
                self.held -= 1
                writer.write(self.passing(direction, data))
                await writer.drain()
        except OSError:
            pass

    def passing(self, direction: str, data: bytes) -> bytes:
        """What is to go on in place of ``data``."""
        order = self.order
        if order is None or order.direction != direction:
            return data
        if order.left >= len(data):
            order.left -= len(data)
            return data
        self.order = None
        if order.action == "cut":
            self.cut()
            return b""
        return CHANGES[order.action](data, order.left)

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self.writers):
            reset(writer)

    def command(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command and answer it."""
        match request["command"]:
            case "pause":
                self.held = 0
                self.flowing.clear()
            case "resume":
                self.flowing.set()
            case "held":
                return {"held": self.held}
            case "cut":
                self.cut()
            case "refuse":
                self.refusing = request["refuse"]
            case "order":
                self.order = Order(request["direction"], request["after"], request["action"])
            case "ordered":
                return {"left": self.order is not None}
            case other:
                raise ValueError(other)
        return {}


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a TCP reset."""
    raw = writer.get_extra_info("socket")
    if not writer.is_closing() and raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main(target: int) -> None:
    """Listen, say where, and obey stdin until it ends."""
    link = Link(target)
    listener = await asyncio.start_server(link.accept, "127.0.0.1", 0)
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print(json.dumps({"port": listener.sockets[0].getsockname()[1]}), flush=True)
    while line := await commands.readline():
        print(json.dumps(link.command(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
