"""The words for connections that cannot be made. Front and workers share them, so no event loop is imported
here."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence

from sftpfs.errors import Failure, MountError, said
from sftpfs.transport.messages import one_line

UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL)


def words(error: BaseException) -> str:
    """What happened, in one line fit for a terminal; a server may have worded it."""
    return one_line(said(error)) or type(error).__name__


def name_failure(host: str, error: Exception) -> MountError:
    """The words for a name that is not found."""
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        message = f"cannot look up '{host}' just now: the name service does not answer; is the network up?"
        return MountError(Failure.NAME_NOT_FOUND, message)
    return MountError(Failure.NAME_NOT_FOUND, f"host name '{host}' not found; check its spelling")


def connect_failure(where: str, failures: Sequence[BaseException], timeout: float) -> MountError:
    """The words for several addresses none of which could be reached. A refusal says most, silence least."""
    numbers = [error.errno for error in failures if isinstance(error, OSError)]
    if errno.ECONNREFUSED in numbers:
        return MountError(Failure.REFUSED, f"{where} refused the connection; is the server running there?")
    if any(number in UNREACHABLE for number in numbers):
        return MountError(Failure.UNREACHABLE, f"no route to {where}; is the network up?")
    if not failures or any(isinstance(error, TimeoutError) for error in failures):
        return timeout_failure(where, timeout, "connecting")
    number = numbers[-1] if numbers else None
    why = os.strerror(number) if number else one_line(str(failures[-1]))
    return MountError(Failure.UNREACHABLE, f"cannot connect to {where}: {why}")


def timeout_failure(where: str, timeout: float, stage: str) -> MountError:
    """The words for a server that does not answer in time."""
    if stage == "connecting":
        cure = "is it up, and does a firewall let us through?"
        message = f"connecting to {where} timed out after {timeout:g} s; {cure}"
    else:
        message = f"{where} accepted the connection, then did not answer for {timeout:g} s"
    return MountError(Failure.TIMED_OUT, message)
