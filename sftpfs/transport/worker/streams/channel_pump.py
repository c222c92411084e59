"""Moves bytes between an SSH channel and the front's socket, both ways, with backpressure.

Runs in a transport worker, one ``Pump`` a channel. Nothing is queued without a bound. If the front does not
take data, the pump does not ask the server for more (the channel's window fills). If the server does not take
data, the pump does not read the front's socket.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable

import asyncssh

from sftpfs.transport.messages import one_line
from sftpfs.transport.worker.streams.channel_fast_path import ChannelFastPath

RECEIVE_SIZE = 256 * 1024
"""Bytes taken from the front's socket at once."""
STDERR_LIMIT = 4096
"""Bytes kept of what the server's sftp program says on stderr."""


def bytes_waiting(fd: int) -> int:
    """Bytes that can be read of a socket."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0])


class Congestion:
    """Tells the pumps of one connection whether its TCP connection takes more.

    asyncssh bounds what a channel may send by the server's window only, and the
    server may open that as wide as it likes.
    """

    def __init__(self) -> None:
        self.congested = False
        self.pumps: set[Pump] = set()

    def pause_writing(self) -> None:
        """The connection's send buffer is full."""
        self.congested = True
        for pump in self.pumps:
            pump.update_reading()

    def resume_writing(self) -> None:
        """There is room again."""
        self.congested = False
        for pump in self.pumps:
            pump.update_reading()


class Pump(asyncssh.SSHClientSession[bytes]):
    """One channel and one socket.

    INVARIANT: while ``_pending`` is not empty the channel is paused and the socket is
    watched for room; a reader is registered exactly while ``_reading``, or during a loan.
    """

    def __init__(
        self,
        front: socket.socket,
        connection: asyncssh.SSHClientConnection,
        congestion: Congestion,
        ended: Callable[[str], None],
    ) -> None:
        self._front = front
        self._connection = connection
        self._fd = front.fileno()
        self._congestion = congestion
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._chan: asyncssh.SSHClientChannel[bytes] | None = None
        self._outlet: ChannelFastPath | None = None
        self._received = memoryview(bytearray(RECEIVE_SIZE))
        self._pending: deque[bytes | memoryview] = deque()
        self._stderr = b""
        self._started = False
        self._reading = False
        self._send_paused = False
        self._front_eof = False
        self._server_eof = False
        self._closed = False
        self._lent: Callable[[], None] | None = None
        self._owed = 0
        self._brought = bytearray()
        self._bring: Callable[[bytes], None] | None = None

    # --- a loan of the connection, which ``lender`` decides on

    @property
    def channel(self) -> asyncssh.SSHClientChannel[bytes] | None:
        """The channel, while it is open and nothing of it is here."""
        waiting = self._pending or not self._started or self._closed or bytes_waiting(self._fd)
        return None if waiting else self._chan

    def lend(self, ended: Callable[[], None]) -> None:
        """The front has the connection: leave its socket alone. ``ended`` is called once it is closed."""
        self._lent = ended
        self.update_reading()
        self._loop.add_reader(self._fd, self._read_while_lent)

    def _read_while_lent(self) -> None:
        """What goes back with a loan waits for the message that says how much it is. Anything else is the
        end."""
        try:
            ended = not self._front.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        self._loop.remove_reader(self._fd)
        if ended and self._lent is not None:
            self._lent()

    def bring(self, size: int, brought: Callable[[bytes], None]) -> None:
        """Call ``brought`` with the next ``size`` bytes of the front's socket."""
        if self._closed:
            return
        self._loop.remove_reader(self._fd)
        self._owed, self._bring = size, brought
        self._brought = bytearray()
        self._read_owed()
        if self._bring is not None and not self._closed:
            self._loop.add_reader(self._fd, self._read_owed)

    def _read_owed(self) -> None:
        try:
            while len(self._brought) < self._owed:
                data = self._front.recv(self._owed - len(self._brought))
                if not data:
                    raise ConnectionResetError
                self._brought += data
        except BlockingIOError:
            return
        except OSError:
            self._loop.remove_reader(self._fd)
            if self._lent is not None:
                self._lent()
            return
        self._loop.remove_reader(self._fd)
        brought, self._bring = self._bring, None
        if brought is not None:
            brought(bytes(self._brought))

    def take_up(self) -> None:
        """The loan is over: go on."""
        if self._closed:
            return
        self._loop.remove_reader(self._fd)
        self._lent = None
        self.update_reading()

    # --- the channel's side

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open; nothing moves before the subsystem runs."""
        self._chan = chan
        self._outlet = ChannelFastPath(self._connection, chan, self.update_reading)

    def session_started(self) -> None:
        """The subsystem runs."""
        self._started = True
        self._congestion.pumps.add(self)
        self.update_reading()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Bytes for the front: passed on at once, or kept and the channel paused."""
        if datatype is not None:
            self._stderr = (self._stderr + data)[-STDERR_LIMIT:]
            return
        if self._closed:
            return
        if self._pending:
            self._pending.append(data)
            return
        try:
            sent = self._front.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._finish()
            return
        if sent < len(data):
            self._pending.append(memoryview(data)[sent:])
            assert self._chan is not None
            self._chan.pause_reading()
            self._loop.add_writer(self._fd, self._flush)

    def _flush(self) -> None:
        try:
            while self._pending:
                data = self._pending[0]
                sent = self._front.send(data)
                if sent < len(data):
                    self._pending[0] = memoryview(data)[sent:]
                    return
                self._pending.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._finish()
            return
        self._loop.remove_writer(self._fd)
        if self._server_eof:
            self._finish()
        elif self._chan is not None:
            self._chan.resume_reading()

    def pause_writing(self) -> None:
        """The channel's window is used up."""
        self._send_paused = True
        self.update_reading()

    def resume_writing(self) -> None:
        """The channel takes more."""
        self._send_paused = False
        self.update_reading()

    def eof_received(self) -> bool:
        """The server's program closed its output: the session is over."""
        self._server_eof = True
        if not self._pending:
            self._finish()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone; what came before is still handed over."""
        self._server_eof = True
        if not self._pending or self._closed:
            self._finish()
        self._ended(self._reason(exc))
        self._chan = self._outlet = None

    def _reason(self, exc: Exception | None) -> str:
        said = one_line(self._stderr.decode(errors="replace").strip().rpartition("\n")[2])
        if exc is not None:
            return one_line(str(exc))
        status = self._chan.get_exit_status() if self._chan is not None else None
        text = "the server ended the SFTP session"
        if status:
            text += f" with status {status}"
        return f"{text}: {said}" if said else text

    # --- the front's side

    def update_reading(self) -> None:
        """Read the front's socket exactly while the bytes can go somewhere."""
        wanted = not (
            self._closed
            or not self._started
            or self._lent is not None
            or self._front_eof
            or self._send_paused
            or self._congestion.congested
            or (self._outlet is not None and not self._outlet.window)
        )
        if wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            self._loop.add_reader(self._fd, self._read)
        else:
            self._loop.remove_reader(self._fd)

    def _read(self) -> None:
        outlet = self._outlet
        if outlet is None:
            self._front_ended()
            return
        try:
            size = self._front.recv_into(self._received, min(RECEIVE_SIZE, outlet.window))
            outlet.write(self._received[:size])
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._front_ended()
        elif not outlet.window:
            self.update_reading()

    def _front_ended(self) -> None:
        """The front closed its socket, or there is no channel for what it sends."""
        self._front_eof = True
        self.update_reading()
        if self._chan is not None:
            self._chan.close()
        self._finish()

    def _finish(self) -> None:
        """Close the socket; the channel too, whichever of them ended."""
        if self._closed:
            return
        self._closed = True
        self._pending.clear()
        self._congestion.pumps.discard(self)
        if self._reading or self._lent is not None:
            self._reading = False
            self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._front.close()
        if self._chan is not None:
            self._chan.close()
