"""A borrowed connection: its socket, and both directions of the one channel on it.

Synchronous; owned by one ``lendable_stream``, which waits and decides when to return it. Bytes are taken from
the socket only as somebody reads the stream, so a reader that does not keep up closes the server's window.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from sftpfs.transport.loan.state import MOST_PACKETS, Loan, Return
from sftpfs.transport.loan.wire import (
    BLOCK,
    CHANNEL_DATA,
    CHANNEL_WINDOW_ADJUST,
    DATA_HEADER,
    LENGTH,
    MIN_PADDING,
    OVERHEAD,
    TAG,
    ForgedError,
    Opener,
    Sealer,
)
from sftpfs.types import Buffer

RECEIVE_SIZE = 256 * 1024
"""Bytes taken from the socket at once, and the least space that a reader must give: what one turn can bring.
It bounds what is done between two steps of tasks."""
SEND_SIZE = 128 * 1024
"""Bytes of content encrypted at once, and so about the most that waits for the socket, and travels back."""
MOST_CONTROLS = 256
"""Packets without data handled in one turn. A server that sends more has the worker handle them."""
MOST_UNSENT = 64 * 1024
"""Bytes waiting for the socket beyond which no keepalive is answered here."""

STREAM_SIZE = 8 * 1024 * 1024
"""Bytes beyond what small requests carry after which a stream passes. Then two processes are better than one:
the worker encrypts while the front reads on."""
SMALL_SIZE = 16 * 1024
"""Bytes that small requests carry in one turn, at most."""

_ADJUST = struct.Struct(">BII")
_KEEPALIVE = b"\0\0\0\x15keepalive@openssh.com\x01"
"""The request that wants a reply (OpenSSH PROTOCOL, 'keepalive@openssh.com')."""
_CHANNEL_REQUEST, _CHANNEL_FAILURE = 98, 100
_GLOBAL_REQUEST, _REQUEST_FAILURE = 80, 82
_ADDRESSED = struct.Struct(">BI")


class LentConnection:
    """See the module.

    INVARIANT: a packet is taken whole or not at all: bytes before ``_end`` in the buffer begin with a packet
    that was not accepted. What was encrypted is sent, or is in ``_unsent``, in order, once.
    INVARIANT: once ``over`` is not empty, nothing more is encrypted or sent, and nothing more is read.
    """

    __slots__ = (
        "_buffer",
        "_channel",
        "_end",
        "_error",
        "_full_window",
        "_keepalives",
        "_longest",
        "_opener",
        "_own_channel",
        "_packet",
        "_receive_window",
        "_rekey_after",
        "_sealer",
        "_send_window",
        "_streamed",
        "_unsent",
        "_view",
        "fd",
        "flushing",
        "over",
    )

    def __init__(self, fd: int, loan: Loan) -> None:
        """``fd`` is the connected socket, owned from now on; its other holder has it non-blocking."""
        self.fd = fd
        self.over = ""
        """Why it must be returned; empty while it need not be."""
        self.flushing = False
        """Somebody waits until the socket takes what is ``unsent``."""
        self._error = 0
        self._sealer = Sealer(loan.send_key, loan.send_iv, loan.send_sequence)
        self._opener = Opener(loan.receive_key, loan.receive_iv, loan.receive_sequence)
        self._channel, self._own_channel = loan.send_channel, loan.receive_channel
        self._send_window, self._receive_window = loan.send_window, loan.receive_window
        self._full_window, self._packet = loan.full_window, loan.send_packet
        self._longest = min(loan.receive_packet, RECEIVE_SIZE // 2) + OVERHEAD
        self._rekey_after = loan.rekey_after
        self._streamed = 0
        self._unsent = b""
        self._buffer = bytearray(RECEIVE_SIZE)
        self._view = memoryview(self._buffer)
        self._end = len(loan.received)
        self._buffer[: self._end] = loan.received
        self._keepalives = {
            _ADDRESSED.pack(_CHANNEL_REQUEST, self._own_channel) + _KEEPALIVE: _ADDRESSED.pack(
                _CHANNEL_FAILURE, self._channel
            ),
            bytes((_GLOBAL_REQUEST,)) + _KEEPALIVE: bytes((_REQUEST_FAILURE,)),
        }

    @property
    def room(self) -> bool:
        """Whether ``send`` takes something now."""
        return not self._unsent and self._send_window > 0 and not self.over

    @property
    def unsent(self) -> bool:
        """Whether encrypted bytes wait for the socket: call ``flush`` once it is writable."""
        return bool(self._unsent)

    # --- from the server

    def receive_into(self, space: memoryview) -> int:
        """Read once, and put what has come of the channel's data into ``space``; how many bytes, perhaps 0.

        ``space`` has at least RECEIVE_SIZE bytes.
        """
        if len(space) < RECEIVE_SIZE:
            raise ValueError("too little space for what one read may bring")
        if self.over:
            return 0
        try:
            count = os.readv(self.fd, (self._view[self._end :],))
        except BlockingIOError:
            count = 0
        except OSError as failure:
            self._fail(failure)
            count = 0
        else:
            if not count:
                self.over = "the connection ended"
        self._end += count
        return self._take(space)

    def _take(self, space: memoryview) -> int:
        """Hand over the whole packets that are there, as far as they are ours to handle."""
        view, opener, end = self._view, self._opener, self._end
        start = filled = controls = 0
        while end - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(view, start)
            if not BLOCK <= length <= self._longest:
                self.over = self.over or "a packet of a length that is not expected"
                break
            stop = start + LENGTH.size + length + TAG
            if stop > end:
                break
            try:
                plain = opener.open(view[start:stop])
            except ForgedError:
                self.over = self.over or "a packet that is not authentic"
                break
            padding, kind, number, carried = DATA_HEADER.unpack_from(plain)
            if (
                kind == CHANNEL_DATA
                and number == self._own_channel
                and 0 < carried <= self._receive_window
                and padding >= MIN_PADDING
                and DATA_HEADER.size + carried + padding == length
            ):
                space[filled : filled + carried] = memoryview(plain)[DATA_HEADER.size : length - padding]
                filled += carried
                self._receive_window -= carried
            else:
                controls += 1
                if controls > MOST_CONTROLS or not self._handle(plain[1 : length - padding]):
                    self.over = self.over or f"a packet of type {kind}"
                    break
            opener.accept()
            start = stop
        self._end = end - start
        if start:
            view[: self._end] = view[start:end]
        if filled:
            self._grant()
            self._count(filled)
        if opener.packets > MOST_PACKETS:
            self.over = self.over or "many packets were received"
        return filled

    def _handle(self, payload: bytes) -> bool:
        """Do what a packet without data asks; False where that is not ours to do."""
        if payload[:1] == bytes((CHANNEL_WINDOW_ADJUST,)) and len(payload) == _ADJUST.size:
            _, number, more = _ADJUST.unpack(payload)
            if number != self._own_channel:
                return False
            self._send_window += more
            return True
        answer = self._keepalives.get(payload)
        if answer is None or self.over or len(self._unsent) > MOST_UNSENT:
            return False
        self._write([self._sealer.seal(answer)])
        return True

    def _grant(self) -> None:
        """Open the server's window again once half of it is used, as asyncssh does."""
        more = self._full_window - self._receive_window
        if self._receive_window < self._full_window / 2 and not self.over:
            self._write([self._sealer.seal(_ADJUST.pack(CHANNEL_WINDOW_ADJUST, self._channel, more))])
            self._receive_window = self._full_window

    # --- to the server

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Encrypt and send of ``buffers`` what the server's window and the socket take; how many bytes of
        content that was. They may still be ``unsent``."""
        if not self.room:
            return 0
        most = min(SEND_SIZE, self._send_window)
        content = memoryview(_first(buffers, most)).cast("B")[:most]
        if (
            self._sealer.sealed + len(content) + OVERHEAD >= self._rekey_after
            or self._sealer.packets > MOST_PACKETS
        ):
            self.over = "keys are to be exchanged"
            return 0
        self._send_window -= len(content)
        self._write(self._sealer.seal_data(self._channel, content, self._packet))
        self._count(len(content))
        return len(content)

    def flush(self) -> None:
        """Send what waits for the socket, as far as it takes it."""
        unsent, self._unsent = self._unsent, b""
        if unsent:
            self._write([unsent])

    def _write(self, packets: list[bytes]) -> None:
        """Send ``packets``, behind what waits already."""
        if self._unsent or self._error:
            self._unsent += b"".join(packets)
            return
        try:
            sent = os.writev(self.fd, packets)
        except BlockingIOError:
            sent = 0
        except OSError as failure:
            self._fail(failure)
            sent = 0
        if sent < sum(map(len, packets)):
            self._unsent = b"".join(packets)[sent:]

    def _fail(self, failure: OSError) -> None:
        self._error = failure.errno or 0
        self.over = self.over or "the connection failed"

    def _count(self, size: int) -> None:
        """A turn has brought or taken ``size`` bytes of content."""
        self._streamed = max(0, self._streamed + size - SMALL_SIZE)
        if self._streamed > STREAM_SIZE:
            self.over = self.over or "a stream passes"

    # --- the end

    def end(self) -> tuple[Return, bytes]:
        """What becomes of the loan: its state, and the bytes that go back with it, received ones first.

        The keys are forgotten; the socket is the caller's to close.
        """
        sealer, opener = self._sealer, self._opener
        received = bytes(self._view[: self._end])
        state = Return(
            sealer.iv,
            opener.iv,
            sealer.sequence,
            opener.sequence,
            self._send_window,
            self._receive_window,
            sealer.sealed,
            len(received),
            len(self._unsent),
            self._error,
            self._streamed > STREAM_SIZE,
        )
        carried = received + self._unsent
        self.forget()
        return state, carried

    def forget(self) -> None:
        """Drop the keys and all bytes: nothing can be sent or received any more."""
        self.over = self.over or "ended"
        self._unsent = b""
        self._view = memoryview(b"")
        self._buffer = bytearray()
        self._end = 0
        del self._sealer, self._opener


def _first(buffers: Sequence[Buffer], most: int) -> Buffer:
    """The first ``most`` bytes of ``buffers``, or a few more, without a copy where they lie together."""
    if len(buffers) == 1:
        return buffers[0]
    parts: list[Buffer] = []
    size = 0
    for buffer in buffers:
        parts.append(buffer)
        size += len(buffer)
        if size >= most:
            break
    return b"".join(parts)
