"""Whether two connections lead to one server: behind a name there may be many, each with files of its own.

Connections to one address do. If the address is not known, behind a proxy or a jump host, a Linux server
proves it by what /proc shows of its kernel's boot and of its view of the file systems. A connection that is
not proven is not used beside another one: ``remote.pool.pool`` and ``remote.pool.bulk_connections`` see to
that.
"""

from __future__ import annotations

from sftpfs.errors import StatusError
from sftpfs.remote.pool.connection import Connection
from sftpfs.remote.slots import handle_or_close, value_or_none
from sftpfs.sftp.session import Session
from sftpfs.transport.api import Transport
from sftpfs.types import OpenFlags

BOOT = b"/proc/sys/kernel/random/boot_id"
"""Another for each boot of each machine (random(4))."""
MOUNTS = b"/proc/self/ns/mnt"
"""The name of the mounts a process sees, among those of one boot (mount_namespaces(7))."""
LONGEST = 100
"""Bytes asked for of the former, which has 37."""


def at_one_address(one: Transport, other: Transport) -> bool:
    """Whether both are known to lead to the same server."""
    return one is other or (one.address is not None and one.address == other.address)


async def same_server(one: Connection, other: Connection) -> bool:
    """Whether both certainly lead to the same server. Raises SessionLostError.

    Two waits each if the addresses do not show it.
    """
    if at_one_address(one.transport, other.transport):
        return True
    machine = await _machine(one.session)
    return machine is not None and machine == await _machine(other.session)


async def _machine(session: Session) -> tuple[bytes, bytes] | None:
    """What tells the server of ``session`` from all others; None if it does not say."""
    link = session.start_readlink(MOUNTS)
    try:
        handle = await handle_or_close(session, session.start_open(BOOT, OpenFlags.READ))
    except StatusError:
        return None
    boot = await value_or_none(session.start_read(handle, 0, LONGEST))
    session.start_close(handle)
    mounts = await value_or_none(link)
    return (bytes(boot), mounts) if boot and mounts else None
