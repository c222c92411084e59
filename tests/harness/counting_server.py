"""The process behind CountingProxy: TCP in front, a real sftp-server per connection behind."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.harness import shifted
from tests.harness.sftp_frames import Framer, Packet
from tests.harness.spoiled import SPOILED

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
READ_SIZE = 1 << 18

NOBODY_WAITS_FOR = "CLOSE"
"""Whose reply is no wait: what is sent after it came, as on a busy machine, does not depend on it."""


class Ledger:
    """Requests, replies and their depths over all connections."""

    def __init__(self) -> None:
        self.waits = 0
        self.requests: Counter[str] = Counter()
        self.trace: list[str] = []
        self.sent: Counter[str] = Counter()
        self.outstanding = 0
        self._round = 0
        self._delivered: list[tuple[float, int]] = []
        """When each reply was handed over, by the monotonic clock, and how deep it was."""

    def reset(self) -> None:
        """Forget what was; replies still to come belong to the past and count no more."""
        self.waits = 0
        self.requests.clear()
        self.trace.clear()
        self.sent.clear()
        self._delivered.clear()
        self._round += 1

    def request(self, packet: Packet) -> tuple[int, int]:
        """Note a request; the token to note its reply with."""
        depth = self.waits + 1
        self.requests[packet.name] += 1
        self.trace.append(f"{depth} {packet.name}")
        self.outstanding += 1
        return self._round, depth

    def reply(self, token: tuple[int, int], name: str) -> None:
        """Note that the reply to a request ``name`` was handed to the client."""
        current, depth = token
        self.outstanding -= 1
        if current == self._round and name != NOBODY_WAITS_FOR:
            self.waits = max(self.waits, depth)
            self._delivered.append((time.monotonic(), depth))

    def waits_until(self, until: float) -> int:
        """The depth of the deepest reply handed over by then."""
        return max((depth for at, depth in self._delivered if at <= until), default=0)


@dataclass
class Spoil:
    """Replies to be spoiled: ``how`` as in ``spoiled``, of requests ``name`` that hold ``about``."""

    name: str
    how: str
    about: bytes
    skip: int
    times: int
    done: int = 0

    def applies(self, request: Packet) -> bool:
        """Is the reply to this request one of them? Counts it."""
        if request.name != self.name or self.about not in request.raw or self.done >= self.times:
            return False
        self.skip -= 1
        return self.skip < 0


class Proxy:
    """The listener's state and the commands on stdin."""

    def __init__(self, latency: float, directory: str) -> None:
        self.latency = latency
        self.directory = directory
        self.ledger = Ledger()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.delivering = asyncio.Event()
        self.delivering.set()
        self.passing = 0
        """So many of these replies pass first."""
        self.holding = ""
        """Requests whose replies wait for ``delivering``; all where it is empty."""
        self.connections: dict[Connection, None] = {}
        self.accepted: list[Connection] = []
        self.refusing = False
        self.cuts: list[tuple[str, bool]] = []
        """Requests at whose next coming everything is cut: the name, and whether they are carried out."""
        self.spoil: Spoil | None = None
        self.ahead = 0
        """Seconds the server's clock is ahead of the true one."""

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        connection = Connection(self, reader, writer)
        if self.refusing:
            connection.cut()
            return
        self.connections[connection] = None
        self.accepted.append(connection)
        try:
            await connection.run()
        finally:
            self.connections.pop(connection, None)

    def command(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command and answer it."""
        ledger = self.ledger
        match request["command"]:
            case "read":
                return {
                    "waits": ledger.waits_until(request["until"]),
                    "requests": dict(ledger.requests),
                    "trace": ledger.trace,
                    "sent": dict(ledger.sent),
                }
            case "outstanding":
                return {"outstanding": ledger.outstanding}
            case "reset":
                ledger.reset()
            case "latency":
                self.latency = request["seconds"]
            case "clock":
                self.ahead = request["ahead"]
            case "pause":
                self.flowing.clear()
            case "resume":
                self.flowing.set()
            case "hold replies":
                self.holding, self.passing = request["name"], request["skip"]
                self.delivering.clear()
            case "deliver replies":
                self.delivering.set()
            case "hole":
                self.accepted[request["number"]].flowing.clear()
            case "cut":
                self.cut_all()
            case "cut at":
                self.cuts.append((request["name"], request["carried_out"]))
            case "forget cuts":
                self.cuts.clear()
            case "cuts left":
                return {"left": len(self.cuts)}
            case "refuse":
                self.refusing = request["refuse"]
            case "spoil":
                self.spoil = Spoil(
                    request["name"],
                    request["how"],
                    request["about"].encode(),
                    request["skip"],
                    request["times"],
                )
            case "spoiled":
                spoil = self.spoil
                if request["heal"]:
                    self.spoil = None
                return {"done": spoil.done if spoil else 0}
            case other:
                raise ValueError(other)
        return {}

    def cut_all(self) -> None:
        """Reset every connection."""
        for connection in list(self.connections):
            connection.cut()

    def cut_at(self, name: str) -> bool | None:
        """Is to be cut at this request? Then whether it is carried out before."""
        if not self.cuts or self.cuts[0][0] != name:
            return None
        return self.cuts.pop(0)[1]


class Connection:
    """One client and its sftp-server."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.reader = reader
        self.writer = writer
        self.pending: dict[int, tuple[tuple[int, int], str]] = {}
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.spoilt: dict[int, Packet] = {}
        """Requests whose replies are to be spoiled, by their ids."""
        self.task: asyncio.Task[None] | None = None
        self.last: int | None = None
        """The request whose reply nobody gets."""

    async def run(self) -> None:
        """Move packets both ways until one side ends."""
        server = await asyncio.create_subprocess_exec(
            *sys.argv[3:],
            SFTP_SERVER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=self.proxy.directory,
            limit=READ_SIZE,
        )
        assert server.stdin is not None and server.stdout is not None
        held: asyncio.Queue[tuple[float, Packet]] = asyncio.Queue()
        jobs = [
            asyncio.create_task(self._requests(server.stdin)),
            asyncio.create_task(self._replies(server.stdout, held)),
            asyncio.create_task(self._deliver(held)),
        ]
        self.task = asyncio.current_task()
        try:
            await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass
        finally:
            for job in jobs:
                job.cancel()
            self.proxy.ledger.outstanding -= len(self.pending)
            self.pending.clear()
            if server.returncode is None:
                server.kill()
            await server.wait()
            self.writer.close()

    def cut(self) -> None:
        """End it with a TCP reset."""
        if not self.writer.is_closing():
            raw = self.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        if self.task is not None:
            self.task.cancel()

    async def _requests(self, server: asyncio.StreamWriter) -> None:
        framer = Framer()
        while data := await self.reader.read(READ_SIZE):
            for packet in framer.feed(data):
                self.pending[packet.identifier] = self.proxy.ledger.request(packet), packet.name
                await self.proxy.flowing.wait()
                await self.flowing.wait()
                carried_out = self.proxy.cut_at(packet.name)
                if carried_out is False:
                    self.proxy.cut_all()
                    return
                if carried_out:
                    self.last = packet.identifier
                if self.proxy.spoil is not None and self.proxy.spoil.applies(packet):
                    self.spoilt[packet.identifier] = packet
                server.write(shifted.request(packet, self.proxy.ahead).raw)
            await server.drain()

    async def _replies(self, server: asyncio.StreamReader, held: asyncio.Queue[tuple[float, Packet]]) -> None:
        framer = Framer()
        clock = asyncio.get_running_loop().time
        while data := await server.read(READ_SIZE):
            due = clock() + self.proxy.latency
            for packet in framer.feed(data):
                if packet.identifier == self.last:
                    self.proxy.cut_all()
                    return
                self.proxy.ledger.sent[packet.name] += len(packet.raw)
                held.put_nowait((due, self._spoiled(shifted.reply(packet, self.proxy.ahead))))

    def _spoiled(self, reply: Packet) -> Packet:
        """The reply as the client is to get it."""
        request, spoil = self.spoilt.pop(reply.identifier, None), self.proxy.spoil
        if request is None or spoil is None or spoil.done >= spoil.times:
            return reply
        raw = SPOILED[spoil.how](request, reply, spoil.done)
        spoil.done += 1
        return reply._replace(raw=raw)

    async def _deliver(self, held: asyncio.Queue[tuple[float, Packet]]) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, packet = await held.get()
            await asyncio.sleep(max(0.0, due - clock()))
            pending = self.pending.get(packet.identifier)
            if pending is not None and self.proxy.holding in ("", pending[1]):
                if self.proxy.passing:
                    self.proxy.passing -= 1
                else:
                    await self.proxy.delivering.wait()
            await self.proxy.flowing.wait()
            await self.flowing.wait()
            pending = self.pending.pop(packet.identifier, None)
            if pending is not None:
                self.proxy.ledger.reply(*pending)
            self.writer.write(packet.raw)
            await self.writer.drain()


async def main(latency: float, directory: str) -> None:
    """Listen, say where, and obey stdin until it ends."""
    proxy = Proxy(latency, directory)
    listener = await asyncio.start_server(proxy.accept, "127.0.0.1", 0, limit=READ_SIZE)
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    answer({"port": listener.sockets[0].getsockname()[1]})
    while line := await commands.readline():
        answer(proxy.command(json.loads(line)))


def answer(reply: dict[str, Any]) -> None:
    """One line to the test."""
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), sys.argv[2]))
