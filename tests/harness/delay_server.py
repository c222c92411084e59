"""The process behind DelayProxy: two threads per direction, so that sockets are served while others sleep."""

from __future__ import annotations

import json
import queue
import socket
import sys
import threading
import time

CHUNK = 1 << 18
QUEUED = 1024
"""Chunks in flight per direction: 256 MiB, above any window × delay used here."""


class Link:
    """The delay and rate all connections share."""

    def __init__(self, target: int, one_way: float, rate: float) -> None:
        self.target = target
        self.one_way = one_way
        self.rate = rate

    def carry(self, source: socket.socket, sink: socket.socket) -> None:
        """One direction of one connection."""
        if not self.one_way and not self.rate:
            self._copy(source, sink)
            return
        flight: queue.Queue[tuple[float, bytes]] = queue.Queue(QUEUED)
        threading.Thread(target=self._deliver, args=(flight, sink), daemon=True).start()
        free = 0.0
        data = b"start"
        while data:
            try:
                data = source.recv(CHUNK)
            except OSError:
                data = b""
            departure = max(time.monotonic(), free)
            if self.rate:
                free = departure + len(data) / self.rate
                departure = free
            flight.put((departure + self.one_way, data))

    @staticmethod
    def _deliver(flight: queue.Queue[tuple[float, bytes]], sink: socket.socket) -> None:
        while True:
            due, data = flight.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                _end(sink)
                return
            try:
                sink.sendall(data)
            except OSError:
                continue  # the reader of this direction notices by itself

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        buffer = memoryview(bytearray(CHUNK))
        try:
            while size := source.recv_into(buffer):
                sink.sendall(buffer[:size])
        except OSError:
            pass
        _end(sink)

    def serve(self, listener: socket.socket) -> None:
        """Accept for ever."""
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", self.target))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self.carry, args=pair, daemon=True).start()


def _end(sink: socket.socket) -> None:
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def main() -> None:
    """Listen, say where, and obey stdin until it ends."""
    link = Link(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=link.serve, args=(listener,), daemon=True).start()
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    for line in sys.stdin:
        link.one_way = json.loads(line)["seconds"]
        print("{}", flush=True)


if __name__ == "__main__":
    main()
