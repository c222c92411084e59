"""The networks this machine is in, for ``Match localnetwork`` of ssh_config(5)."""

from __future__ import annotations

import ctypes
import ipaddress
import socket
from collections.abc import Iterable

from sftpfs.errors import Failure, MountError

_UP = 1
"""IFF_UP (netdevice(7))."""
_ADDRESS_AT = {socket.AF_INET: (4, 4), socket.AF_INET6: (8, 16)}
"""Where a socket address holds its address, and of how many bytes (ip(7), ipv6(7))."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class _Interface(ctypes.Structure):
    """``struct ifaddrs`` as far as it is read (getifaddrs(3))."""


_Interface._fields_ = [
    ("next", ctypes.POINTER(_Interface)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
]


def local_addresses() -> list[Address]:
    """The addresses of the interfaces that are up; none if the system does not report them."""
    libc = ctypes.CDLL(None)
    first = ctypes.POINTER(_Interface)()
    if libc.getifaddrs(ctypes.byref(first)) != 0:
        return []
    found: list[Address] = []
    try:
        entry = first
        while entry:
            interface = entry.contents
            if interface.flags & _UP and interface.address:
                family = ctypes.c_ushort.from_address(interface.address).value
                if family in _ADDRESS_AT:
                    start, size = _ADDRESS_AT[socket.AddressFamily(family)]
                    found.append(ipaddress.ip_address(ctypes.string_at(interface.address + start, size)))
            entry = interface.next
    finally:
        libc.freeifaddrs(first)
    return found


def on_network(networks: Iterable[str], where: str) -> bool:
    """True if an address of ours is in one of ``networks``. Raises MountError(CONFIGURATION)."""
    ours = local_addresses()
    try:
        named = [ipaddress.ip_network(network) for network in networks]
    except ValueError as error:
        raise MountError(Failure.CONFIGURATION, f"{where}: Match localnetwork: {error}") from None
    return any(address in network for network in named for address in ours)
