"""Messages between the front, its fork server and the workers: one JSON line a packet.

The control sockets are AF_UNIX SOCK_SEQPACKET: the kernel keeps messages apart, a
descriptor can travel with one (SCM_RIGHTS), and end of file means the peer is gone,
however it died. Only the processes of one mount ever hold an end.

Front to fork server: ``fork`` (with the worker's control socket). Back: ``forked``
(pid), ``exited`` (pid, status), ``fork-failed`` (message).

Front to worker: ``connect`` (first, once; with it the ``pins``, the keys earlier connections logged in
to), ``open`` (id, with one end of the data
socketpair), ``answer`` (id, text or null), ``close``. Back: ``prompt`` (id, kind,
text, echo, key, attempt), ``connected`` (with the ``pins`` now), ``opened`` (id), ``ended`` (id, reason),
``failed`` (id or absent, failure, message), ``closed`` (reason), ``log`` (text), and of a fault of ours
``fault`` (text), which the fork server sends as well.

About a loan (``transport.loan``), all with the id of the one channel: the worker's ``offer``; the front's
``borrow``, which writes nothing more until it is answered; the worker's ``keep``, or ``lend`` (with the
connection's socket, and what ``Loan.message`` has: the only message with a secret in it besides ``answer``);
the worker's ``recall``; the front's ``return`` (used; if so, with what ``Return.message`` has). ``connect``
says whether the front ``borrows`` at all."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from enum import Enum
from typing import Any


class HostKey(Enum):
    """How the key that the server showed was judged. The values travel."""

    KNOWN = "known"
    CERTIFIED = "certified"
    """Signed by a known authority."""
    CONFIRMED = "confirmed"
    """A person accepted it as we connected."""
    TAKEN = "taken"
    """Unknown, and accepted unseen: nobody checked who the server is."""


Message = dict[str, Any]

MESSAGE_LIMIT = 128 * 1024
"""Bytes of one message; below the kernel's default for one packet (net.core.wmem_default, 208 KiB)."""

TEXT_LIMIT = 4096
"""Characters kept of any text that a server had us show."""


def socketpair() -> tuple[socket.socket, socket.socket]:
    """Two connected control sockets, both closed on exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def encode(message: Message) -> bytes:
    """The packet for ``message``."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def send(control: socket.socket, message: Message, fds: Iterable[int] = ()) -> None:
    """Sends one message, with descriptors; the caller keeps its own copies of them.

    Raises OSError if the peer is gone.
    """
    descriptors = list(fds)
    if descriptors:
        socket.send_fds(control, [encode(message)], descriptors)
    else:
        control.send(encode(message))


def receive(control: socket.socket) -> tuple[Message, int | None] | None:
    """The next message and the descriptor that came with it; None at end of file.

    Raises BlockingIOError on a non-blocking socket with nothing to read.
    """
    try:
        data, descriptors, _, _ = socket.recv_fds(control, MESSAGE_LIMIT, 1)
    except ConnectionResetError:
        return None
    fd = descriptors[0] if descriptors else None
    if fd is not None:
        os.set_inheritable(fd, False)
    if not data:
        return None
    return json.loads(data), fd


def shown(text: str) -> str:
    """``text`` from a server, made fit for a terminal: no control characters, bounded."""
    kept = "".join(c for c in text[:TEXT_LIMIT] if c.isprintable() or c in "\n\t")
    return kept.replace("\t", " ")


def one_line(text: str) -> str:
    """``text`` as one line, fit for a terminal."""
    return " ".join(shown(text).split())
