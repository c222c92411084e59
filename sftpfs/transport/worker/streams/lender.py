"""Lends a connection to the front, and takes it back (``transport.loan``). One for a worker's last hop.

What is rare stays here: login, key exchange, other channels, our keepalives, and whatever packet the front
does not know. Owns whether the connection is lent. While it is, nothing here may read, write or encrypt: two
packets under one IV would give the keys away.

This reaches into asyncssh's connection and channel, which have no public interface for it. If anything is
not the plain case (another cipher, compression, a key exchange due or under way, several channels, bytes that
wait anywhere), nothing is lent and all goes on as before.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, NoReturn

import asyncssh
from asyncssh.connection import SSHConnection
from asyncssh.encryption import GCMEncryption

from sftpfs.transport.loan.state import CIPHERS, LEAST_PACKET, MOST_RECEIVED, Loan, Return
from sftpfs.transport.messages import Message
from sftpfs.transport.worker.streams.channel_pump import Pump

LEAST_TO_SEND = 256 * 1024
"""Bytes that must be left to send before the next key exchange."""
DRAIN_LIMIT = 0.02
"""Seconds that what was written may take to get into the socket. The front waits meanwhile."""
DRAIN_STEP = 0.001
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
"""Seconds until the next offer: a loan that was not worth the messages makes it twice as long."""
WORTH_WHILE = 1.0
"""Seconds that a loan lasts if it was worth the messages, or (if no stream ended it)"""
WORTH_PACKETS = 100
"""packets that came while it lasted."""
_SEQUENCE_MASK = 0xFFFFFFFF
_LAST_RECEIVED = struct.Struct("=52xI")
"""tcpi_last_data_recv in struct tcp_info (linux/tcp.h), milliseconds."""


_CONNECTION_NAMES = (
    "_deferred_packets",
    "_global_request_waiters",
    "_keepalive_interval",
    "_keepalive_timer",
)
_CHANNEL_NAMES = (
    "_init_recv_window",
    "_recv_buf",
    "_recv_chan",
    "_recv_pktsize",
    "_request_queue",
    "_request_waiters",
)
"""What is used here only, and might be called otherwise in a version of asyncssh that nobody has seen."""


def is_lendable(connection: asyncssh.SSHClientConnection) -> bool:
    """Whether ``connection``, which is logged in over TCP, may ever be lent."""
    said = connection.get_extra_info
    ciphers = {str(said("send_cipher")), str(said("recv_cipher"))}
    compressions = {str(said("send_compression")), str(said("recv_compression"))}
    sock = said("socket")
    return (
        ciphers <= CIPHERS.keys()
        and compressions == {"none"}
        and sock is not None
        and sock.family in (socket.AF_INET, socket.AF_INET6)
        and all(hasattr(connection, name) for name in _CONNECTION_NAMES)
    )


class _NotHere:
    """In the place of both ciphers during a loan."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError("a lent connection is used by its worker")


class _Lent(NamedTuple):
    """What is lent."""

    number: int
    pump: Pump
    channel: asyncssh.SSHClientChannel[bytes]
    outgoing: GCMEncryption
    incoming: GCMEncryption
    since: float


class Lender:
    """See the module.

    INVARIANT: while ``_lent`` is set the connection's transport is paused, both its ciphers are ``_NotHere``,
    and packets to be sent are in ``_held``.
    """

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        say: Callable[[Message], None],
        give: Callable[[Message, int], bool],
        hear: Callable[[], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """``say`` sends a message, ``give`` one with a descriptor if that is possible at once, ``hear`` takes
        the messages that have come, ``spawn`` runs a coroutine whose failure ends the worker."""
        self._connection = connection
        self._say, self._give, self._hear, self._spawn = say, give, hear, spawn
        self._loop = asyncio.get_running_loop()
        self._pumps: dict[int, Pump] = {}
        self._lent: _Lent | None = None
        self._returned: asyncio.Future[None] | None = None
        self._held: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self._doubtful = False
        """Nothing came for the keepalive's interval, and the connection was recalled to ask."""
        self._pause = SHORTEST_PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self._rekeying: asyncio.TimerHandle | None = None
        self._send_packet = connection.send_packet
        self._silent = connection._keepalive_timer_callback
        connection.send_packet = self._send  # type: ignore[method-assign]
        connection._keepalive_timer_callback = self._on_silence  # type: ignore[method-assign]
        connection._reset_keepalive_timer()

    def opened(self, number: int, pump: Pump) -> None:
        """The channel ``number`` is open."""
        self._pumps[number] = pump
        self._offer()

    def ended(self, number: int) -> None:
        """The channel is gone."""
        self._pumps.pop(number, None)

    # --- the beginning of a loan

    def _offer(self) -> None:
        if self._connection._transport is None:
            return
        if len(self._pumps) == 1 and self._lent is None and self._is_plain():
            self._say({"type": "offer", "id": next(iter(self._pumps))})
        else:
            self._offer_later()

    def _offer_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._pause, self._offer)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def borrow(self, number: int) -> None:
        """The front has stopped writing, to borrow."""
        self._spawn(self._answer(number))

    async def _answer(self, number: int) -> None:
        """Lend once everything that was written is on its way; if that takes too long, do not."""
        end = self._loop.time() + DRAIN_LIMIT
        pause = 0.0
        while not self._lend(number):
            if self._loop.time() >= end or self._connection._transport is None:
                self._say({"type": "keep", "id": number})
                self._offer_later()
                return
            await asyncio.sleep(pause)
            pause = DRAIN_STEP

    def _is_plain(self) -> bool:
        """Whether nothing but AES-GCM stands between the one channel and the socket, and a packet begins."""
        connection = self._connection
        return (
            type(connection._send_encryption) is GCMEncryption
            and type(connection._recv_encryption) is GCMEncryption
            and connection._compressor is None
            and connection._decompressor is None
            and connection._kex is None
            and connection._kex_complete
            and connection._auth_complete
            and connection._rekey_bytes - connection._rekey_bytes_sent >= LEAST_TO_SEND
            and not (connection._rekey_seconds and time.monotonic() >= connection._rekey_time)
            and len(connection._channels) == 1
            and not connection._global_request_waiters
        )

    def _is_drained(self, channel: asyncssh.SSHClientChannel[bytes]) -> bool:
        """Whether nothing waits in either direction, nor for an answer."""
        connection = self._connection
        transport: Any = connection._transport  # uvloop's, which no class of asyncio stands above
        return (
            transport is not None
            and all(hasattr(channel, name) for name in _CHANNEL_NAMES)
            and transport.get_write_buffer_size() == 0
            and not transport.is_closing()
            and not connection._deferred_packets
            and len(connection._inpbuf) <= MOST_RECEIVED
            and getattr(connection._recv_handler, "__func__", None) is SSHConnection._recv_pkthdr
            and channel._recv_state == channel._send_state == "open"
            and not channel._recv_paused
            and not channel._recv_buf
            and not channel._send_buf
            and not channel._request_queue
            and not channel._request_waiters
            and channel._send_pktsize >= LEAST_PACKET
        )

    def _lend(self, number: int) -> bool:
        """Lend now, if that is possible. Everything is as it was where it is not."""
        pump = self._pumps.get(number)
        channel = pump.channel if pump is not None else None
        if pump is None or channel is None or len(self._pumps) != 1 or self._lent is not None:
            return False
        connection = self._connection
        if not self._is_plain() or not self._is_drained(channel):
            return False
        transport: Any = connection._transport
        outgoing, incoming = connection._send_encryption, connection._recv_encryption
        assert isinstance(outgoing, GCMEncryption) and isinstance(incoming, GCMEncryption)
        transport.pause_reading()
        loan = _loan_of(connection, channel, outgoing, incoming)
        fd = transport.get_extra_info("socket").fileno()
        if not self._give({"type": "lend", "id": number, **loan.message()}, fd):
            transport.resume_reading()
            return False
        self._lent = _Lent(number, pump, channel, outgoing, incoming, self._loop.time())
        self._returned = self._loop.create_future()
        connection._send_encryption = connection._recv_encryption = _NotHere()  # type: ignore[assignment]
        pump.lend(self._on_front_closed)
        if connection._rekey_seconds:
            left = connection._rekey_time - time.monotonic()
            self._rekeying = self._loop.call_later(left, self._recall)
        return True

    # --- during a loan

    def _send(self, *args: Any, **kwargs: Any) -> None:
        """In the place of the connection's ``send_packet``."""
        if self._lent is None:
            self._send_packet(*args, **kwargs)
        else:
            self._held.append((args, kwargs))
            self._recall()

    def _recall(self) -> None:
        if self._lent is not None:
            self._say({"type": "recall", "id": self._lent.number})

    async def here(self) -> None:
        """Take back what is lent, and wait for it."""
        if self._returned is not None and not self._returned.done():
            self._recall()
            await asyncio.shield(self._returned)

    def _on_front_closed(self) -> None:
        """The front closed the channel. If it returned nothing before, nobody knows the connection's
        state."""
        self._hear()
        if self._lent is not None:
            self._connection.abort()

    def _on_silence(self) -> None:
        """The keepalive's interval is over; what came meanwhile the kernel knows. Only who has the connection
        can ask whether the server lives; and a front that does not run waits for no server."""
        connection = self._connection
        if self._lent is None or connection._transport is None:
            self._silent()
            return
        left = connection._keepalive_interval - self._silence()
        if left > 0:
            connection._keepalive_timer = self._loop.call_later(left, self._on_silence)
        else:
            self._doubtful = True
            self._recall()

    def _silence(self) -> float:
        """Seconds since something came over TCP."""
        transport = self._connection._transport
        assert transport is not None
        sock = transport.get_extra_info("socket")
        information = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_RECEIVED.size)
        return float(_LAST_RECEIVED.unpack(information)[0]) / 1000

    # --- the end of a loan

    def returned(self, message: Message) -> None:
        """The front has returned the connection."""
        lent = self._lent
        if lent is None or lent.number != message["id"]:
            return
        if not message["used"]:
            self._take_back(lent, None, b"")
            return
        try:
            state = Return.of(message)
        except (ValueError, KeyError, TypeError):
            self._connection.abort()  # in no state that anybody knows
            raise
        lent.pump.bring(state.received + state.unsent, lambda carried: self._take_back(lent, state, carried))

    def _take_back(self, lent: _Lent, state: Return | None, carried: bytes) -> None:
        """Go on where the front stopped: what it has not sent, what waited, what it has not opened."""
        connection = self._connection
        transport: Any = connection._transport
        if transport is None:
            return
        connection._send_encryption, connection._recv_encryption = lent.outgoing, lent.incoming
        worth = self._loop.time() - lent.since >= WORTH_WHILE
        if state is not None:
            packets = (state.receive_sequence - connection._recv_seq) & _SEQUENCE_MASK
            worth |= packets >= WORTH_PACKETS and not state.stream
            lent.outgoing._cipher._iv, lent.incoming._cipher._iv = state.send_iv, state.receive_iv
            connection._send_seq, connection._recv_seq = state.send_sequence, state.receive_sequence
            connection._rekey_bytes_sent += state.sent
            lent.channel._send_window, lent.channel._recv_window = state.send_window, state.receive_window
            connection._inpbuf = carried[: state.received]
            if state.unsent:
                transport.write(carried[state.received :])
        self._lent = None
        if worth:
            self._pause = SHORTEST_PAUSE
        self._let_go()
        lent.pump.take_up()
        if connection._inpbuf:
            connection._recv_data()
        if state is not None and state.error:
            connection.connection_lost(OSError(state.error, os.strerror(state.error)))
        elif connection._transport is not None:
            transport.resume_reading()

    def _let_go(self) -> None:
        """Send what waited for the end of the loan, and offer the next one in a while."""
        if self._rekeying is not None:
            self._rekeying.cancel()
            self._rekeying = None
        held, self._held = self._held, []
        for args, kwargs in held:
            self._send_packet(*args, **kwargs)
        doubtful, self._doubtful = self._doubtful, False
        if doubtful:
            self._silent()
        else:
            self._connection._reset_keepalive_timer()
        self._offer_later()
        if self._returned is not None and not self._returned.done():
            self._returned.set_result(None)


def _loan_of(
    connection: asyncssh.SSHClientConnection,
    channel: asyncssh.SSHClientChannel[bytes],
    outgoing: GCMEncryption,
    incoming: GCMEncryption,
) -> Loan:
    """What is lent with ``connection`` as it is now."""
    assert channel._send_chan is not None and channel._recv_chan is not None
    return Loan(
        send_key=outgoing._cipher._key,
        send_iv=outgoing._cipher._iv,
        receive_key=incoming._cipher._key,
        receive_iv=incoming._cipher._iv,
        send_sequence=connection._send_seq,
        receive_sequence=connection._recv_seq,
        send_channel=channel._send_chan,
        receive_channel=channel._recv_chan,
        send_window=channel._send_window,
        receive_window=channel._recv_window,
        full_window=channel._init_recv_window,
        send_packet=channel._send_pktsize,
        receive_packet=channel._recv_pktsize,
        rekey_after=connection._rekey_bytes - connection._rekey_bytes_sent,
        received=bytes(connection._inpbuf),
    )
