"""The process behind DelayProxy: two threads per direction, so that sockets are served while others sleep."""

from __future__ import annotations

import json
import queue
import socket
import sys
import threading
import time
from typing import Any

CHUNK = 1 << 18
QUEUED = 1024
"""Chunks in flight per direction: 256 MiB, above any window × delay used here."""


PIECE = 1 << 14
"""Bytes that pass a link of limited rate in one go: what others send comes between."""

BUFFERED = 0.05
"""Seconds a link of limited rate is behind before it takes nothing more, as a router's buffer does."""


class Direction:
    """One way of a link of limited rate: what all connections send over it follows one another."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._free = 0.0
        self._lock = threading.Lock()

    def pass_through(self, size: int) -> float:
        """Wait for room for ``size`` bytes; when they will have left."""
        if not self.rate:
            return time.monotonic()
        with self._lock:
            self._free = left = max(time.monotonic(), self._free) + size / self.rate
        time.sleep(max(0.0, left - BUFFERED - time.monotonic()))
        return left


class Link:
    """The delay and rate all connections share; ``rate`` in bytes per second each way, 0 for no limit."""

    def __init__(self, target: int, one_way: float, rate: float, later: int) -> None:
        self.target = target
        self.later = later
        """Where all connections but the first lead."""
        self.one_way = one_way
        self.directions = (Direction(rate), Direction(rate))
        self.flowing: list[threading.Event] = []
        """Of each connection there was, whether anything passes on it."""
        self.ends: list[tuple[socket.socket, socket.socket]] = []
        """Of each, too."""

    def carry(
        self, source: socket.socket, sink: socket.socket, direction: Direction, flowing: threading.Event
    ) -> None:
        """One direction of one connection."""
        if not self.one_way and not direction.rate:
            self._copy(source, sink, flowing)
            return
        flight: queue.Queue[tuple[float, bytes]] = queue.Queue(QUEUED)
        threading.Thread(target=self._deliver, args=(flight, sink, flowing), daemon=True).start()
        size = PIECE if direction.rate else CHUNK
        data = b"start"
        while data:
            try:
                data = source.recv(size)
            except OSError:
                data = b""
            flight.put((direction.pass_through(len(data)) + self.one_way, data))

    @staticmethod
    def _deliver(
        flight: queue.Queue[tuple[float, bytes]], sink: socket.socket, flowing: threading.Event
    ) -> None:
        while True:
            due, data = flight.get()
            time.sleep(max(0.0, due - time.monotonic()))
            flowing.wait()
            if not data:
                _end(sink)
                return
            try:
                sink.sendall(data)
            except OSError:
                continue  # the reader of this direction notices by itself

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket, flowing: threading.Event) -> None:
        buffer = memoryview(bytearray(CHUNK))
        try:
            while size := source.recv_into(buffer):
                flowing.wait()
                sink.sendall(buffer[:size])
        except OSError:
            pass
        _end(sink)

    def serve(self, listener: socket.socket) -> None:
        """Accept for ever."""
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", self.later if self.flowing else self.target))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            flowing = threading.Event()
            flowing.set()
            self.flowing.append(flowing)
            self.ends.append((client, server))
            for ends in ((client, server, self.directions[0]), (server, client, self.directions[1])):
                threading.Thread(target=self.carry, args=(*ends, flowing), daemon=True).start()

    def command(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command and answer it."""
        match request["command"]:
            case "delay":
                self.one_way = request["seconds"]
            case "hole":
                flowing = self.flowing[request["number"]]
                flowing.clear() if request["holed"] else flowing.set()
            case "lead":
                self.target = self.later = request["to"]
            case "cut":
                for end in self.ends[request["number"]]:
                    end.shutdown(socket.SHUT_RDWR)
            case "connections":
                return {"connections": len(self.flowing)}
            case other:
                raise ValueError(other)
        return {}


def _end(sink: socket.socket) -> None:
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def main() -> None:
    """Listen, say where, and obey stdin until it ends."""
    link = Link(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=link.serve, args=(listener,), daemon=True).start()
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    for line in sys.stdin:
        print(json.dumps(link.command(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
