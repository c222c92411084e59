"""The beginning of an SFTP session (§4): INIT and VERSION, and what both sides agree on.

Owns what the server offers: versions, extensions, limits. ``Session`` puts the requests on top of it.
"""

from __future__ import annotations

from typing import TypeVar

import trio

from sftpfs.aio import ByteStream, Slot
from sftpfs.errors import Failure, MountError, ProtocolError, Status, StatusError
from sftpfs.server_traits import ServerTraits
from sftpfs.sftp import extensions, packets
from sftpfs.sftp.link_rate import Link
from sftpfs.sftp.replies import printable
from sftpfs.sftp.table.request import Kind
from sftpfs.sftp.table.request_kinds import LIMITS
from sftpfs.sftp.table.request_order import RequestOrder
from sftpfs.sftp.table.request_table import RequestTable
from sftpfs.types import Limits, ServerCapabilities

T = TypeVar("T")


class Handshake(RequestTable):
    """A session that begins on ``stream``, which it owns: call ``start`` once, then ``run`` in a task.

    ``timeout`` is seconds without an answer after which the session is given up;
    ``generation`` tells it from other sessions of the mount; ``max_read`` and
    ``max_write`` bound the data of one request (None: what the server allows); ``link`` is
    what is known of the way to the server, ``traits`` of the server itself, whose SSH server calls itself
    ``software``.

    INVARIANT: no request of an extension is sent that is not among ``capabilities``.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        timeout: float,
        generation: int,
        max_read: int | None = None,
        max_write: int | None = None,
        link: Link | None = None,
        traits: ServerTraits | None = None,
        software: str = "",
    ) -> None:
        super().__init__(stream, timeout=timeout, generation=generation, link=link, traits=traits)
        self._software = software
        self.capabilities = ServerCapabilities()
        self._max_read = max_read
        self._max_write = max_write

    async def start(self, patience: float | None = None) -> None:
        """Exchanges INIT and VERSION and learns the limits; one or two round trips.

        Raises MountError and closes the stream if the other side ends, is silent for ``patience`` seconds
        (None: the session's timeout), or speaks something else than SFTP v3.
        """
        try:
            with trio.fail_after(self.timeout if patience is None else patience):
                await self._greet()
        except MountError as failure:
            self.close(failure.message)
            raise
        except trio.TooSlowError:
            self.close("no answer to the SFTP greeting")
            raise MountError(
                Failure.TIMED_OUT, f"the server did not answer the SFTP greeting within {self.timeout:g} s"
            ) from None
        except trio.ClosedResourceError:
            self.close("the SFTP stream was closed")
            raise MountError(Failure.TRANSPORT, "the connection was closed before SFTP started") from None
        except BaseException:
            self.close("the SFTP session was given up while it started")
            raise
        finally:
            if self.closed_error is not None:
                self._decoder.release()

    async def _greet(self) -> None:
        self.writer.send((packets.encode_init(),))
        await self.writer.flush()
        announced = await self._receive_version()
        spoken = extensions.spoken_extensions(announced)
        self.traits.met(announced, self._software)
        self._keep_apart()
        limits_reply: Limits | None = None
        self.capabilities = ServerCapabilities(spoken)
        if self.capabilities.has(extensions.LIMITS):
            limits_reply = await self._receive_limits()
        limits = extensions.effective_limits(limits_reply, self._max_read, self._max_write)
        self.capabilities = ServerCapabilities(spoken, limits)

    def _keep_apart(self) -> None:
        """Go by what the server is known to do."""
        known = self.traits.known
        if not (known.numbers_handles_as_openssh and known.carries_out_in_order):
            self.handles.give_up()
        if not known.carries_out_in_order and self.order is None:
            self.order = RequestOrder()

    async def _receive_version(self) -> dict[str, bytes]:
        """The extensions the server offers, with their versions, once VERSION came."""
        try:
            while (packet := self._decoder.next_packet()) is None:
                await trio.lowlevel.wait_readable(self._stream.read_fd)
                self._fill()
                if self.closed_error is not None:
                    raise _no_greeting(self._decoder.unread())
            packet_type, version, payload = packet
            if packet_type != packets.VERSION:
                raise ProtocolError(f"a packet of type {packet_type} in answer to the greeting")
            announced = extensions.announced_extensions(payload)
        except ProtocolError as violation:
            raise _foreign_greeting(self._decoder.unread(), violation) from None
        if version not in (packets.PROTOCOL_VERSION, packets.NEARLY_THE_SAME):
            raise MountError(
                Failure.PROTOCOL, f"the server speaks SFTP version {version}; version 3 is needed"
            )
        return announced

    async def _receive_limits(self) -> Limits | None:
        """What limits@openssh.com reports, or None if the server does not answer it after all."""
        slot = self._start_extended(LIMITS, b"")
        await self.writer.flush()
        while not slot.done:
            await trio.lowlevel.wait_readable(self._stream.read_fd)
            self._receive()
        if self.closed_error is not None:
            raise MountError(
                Failure.PROTOCOL, f"the SFTP session did not start: {self.closed_error.strerror}"
            )
        return None if slot.error is not None else slot.result()

    def _start_extended(self, kind: Kind[T], arguments: bytes) -> Slot[T]:
        if kind.extension not in self.capabilities.extensions:
            slot: Slot[T] = Slot()
            slot.fail(StatusError(Status.OP_UNSUPPORTED))
            return slot
        identifier = self._next_id()
        packet = packets.encode_extended(identifier, kind.extension.encode(), arguments)
        return self._start(kind, identifier, packet, arguments)


def _no_greeting(seen: bytes) -> MountError:
    """The error for a stream that ended before VERSION; ``seen`` came before the end."""
    if seen:
        return _foreign_greeting(seen, ProtocolError("an incomplete greeting"))
    return MountError(
        Failure.NO_SFTP,
        "the server closed the connection before SFTP started; is its sftp subsystem enabled?",
    )


def _foreign_greeting(seen: bytes, violation: ProtocolError) -> MountError:
    """The error for a greeting that is not SFTP: usually text of a shell start-up file."""
    if seen and all(byte >= 0x20 or byte in b"\t\n\r\x1b" for byte in seen[:4]):
        seen = seen.partition(b"\0")[0]  # the greeting that follows is none of it
        return MountError(
            Failure.PROTOCOL,
            f"the server printed text before SFTP started: {printable(seen)!r}; if that is not why there is"
            " no SFTP, make its shell start-up files (.bashrc) print nothing when not interactive",
        )
    return MountError(Failure.PROTOCOL, f"the server does not speak SFTP: it sent {violation}")
