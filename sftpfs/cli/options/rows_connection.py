"""Rows of the table of options: how the program is run, and how it reaches the server.

Read through ``cli.options.table``.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpfs.cli.options import value_parsers
from sftpfs.cli.options.row import Option, Section
from sftpfs.config import TransportKind


def _transport(name: str, field: str, parse: Callable[[str], object], metavar: str, help: str) -> Option:
    return Option(name, help, Section.CONNECTION, (field,), parse, metavar, excludes="transport")


COMMAND = [
    Option("", "show this help and end", Section.COMMAND, flags=("-h", "--help")),
    Option("", "show the version and end", Section.COMMAND, flags=("-V", "--version")),
    Option("", "stay in the foreground, log to stderr", Section.COMMAND, ("foreground",), flags=("-f",)),
    Option(
        "debug",
        "stay in the foreground, and log every request to the server",
        Section.COMMAND,
        ("debug", "foreground", "transport.debug"),
        flags=("-d", "--debug"),
    ),
    Option(
        "sshfs_debug",
        "log every request to the server",
        Section.COMMAND,
        ("debug", "transport.debug"),
    ),
    Option(
        "verbose",
        "log the steps of the mount and which options have no effect",
        Section.COMMAND,
        ("verbose",),
        flags=("-v",),
        aliases=("sshfs_verbose",),
    ),
    Option(
        "log_file",
        "log to FILE instead of syslog or stderr",
        Section.COMMAND,
        ("log_file",),
        value_parsers.path,
        "FILE",
    ),
]

CONNECTION = [
    Option(
        "port",
        "port to connect to",
        Section.CONNECTION,
        ("endpoint.port",),
        value_parsers.port,
        "PORT",
        flags=("-p",),
    ),
    Option(
        "ssh_config",
        "read FILE instead of ~/.ssh/config and /etc/ssh/ssh_config; none: read no file",
        Section.CONNECTION,
        ("transport.ssh_config_file",),
        value_parsers.path_or_none,
        "FILE",
        flags=("-F",),
    ),
    Option(
        "",
        "compress the connection, as Compression=yes does",
        Section.CONNECTION,
        ("transport.compression",),
        flags=("-C",),
    ),
    Option(
        "password_stdin",
        "read the password from standard input",
        Section.CONNECTION,
        ("transport.password_stdin",),
    ),
    Option(
        "max_conns",
        "how many connections to the server are made at most; further ones follow when bulk data needs them",
        Section.CONNECTION,
        ("pool.max_connections",),
        value_parsers.integer(1, 64),
        default="4",
    ),
    Option(
        "timeout",
        "a request that is not answered for this long fails",
        Section.CONNECTION,
        ("pool.timeout",),
        value_parsers.positive_seconds,
        "SECONDS",
        default="30",
    ),
    Option(
        "reconnect",
        "operations and open files survive the loss of a connection (default)",
        Section.CONNECTION,
        ("pool.reconnect",),
    ),
    Option(
        "no_reconnect",
        "what is under way or open when a connection is lost fails; later requests connect again",
        Section.CONNECTION,
        ("pool.reconnect",),
        constant=False,
    ),
    Option(
        "soft",
        "operations fail when the server is lost for longer than timeout= (default)",
        Section.CONNECTION,
        ("pool.hard",),
        constant=False,
    ),
    Option(
        "hard",
        "operations wait for ever for a server that is lost",
        Section.CONNECTION,
        ("pool.hard",),
    ),
    Option("delay_connect", "connect when the mount is first used", Section.CONNECTION, ("delay_connect",)),
    Option(
        "no_check_root",
        "do not check whether the directory exists on the server",
        Section.CONNECTION,
        ("check_root",),
        constant=False,
    ),
    Option(
        "sftp_server",
        "subsystem, or path of the SFTP server program on the server",
        Section.CONNECTION,
        ("transport.sftp_server",),
        value_parsers.text,
        "NAME",
        default="sftp",
    ),
    _transport(
        "ssh_command",
        "transport.ssh_command",
        value_parsers.command,
        "COMMAND",
        "connect with COMMAND, for example ssh",
    ),
    _transport(
        "directport",
        "transport.direct_port",
        value_parsers.port,
        "PORT",
        "speak SFTP on a bare TCP port, without SSH",
    ),
    _transport(
        "unix_socket",
        "transport.unix_path",
        value_parsers.path,
        "PATH",
        "speak SFTP on a UNIX socket, without SSH",
    ),
    _transport(
        "vsock",
        "transport.vsock",
        value_parsers.vsock_address,
        "CID:PORT",
        "speak SFTP on a vsock, without SSH",
    ),
    Option(
        "passive",
        "speak SFTP on standard input and output",
        Section.CONNECTION,
        ("transport.kind",),
        constant=TransportKind.PASSIVE,
        aliases=("slave",),
        excludes="transport",
    ),
    Option(
        "bwlimit",
        "content takes so many bytes a second at most, to the server and from it (one for both); K, M and G "
        "are 1024 each",
        Section.CONNECTION,
        ("pool.bandwidth",),
        value_parsers.bandwidth,
        "UP[:DOWN]",
        default="off",
    ),
    Option(
        "max_read",
        "how many bytes one request reads at most; the default is what the server takes",
        Section.CONNECTION,
        ("pool.max_read",),
        value_parsers.integer(512, 1 << 20),
        "BYTES",
    ),
    Option(
        "max_write",
        "how many bytes one request writes at most; the default is what the server takes",
        Section.CONNECTION,
        ("pool.max_write",),
        value_parsers.integer(512, 1 << 20),
        "BYTES",
    ),
]

TRANSPORT_KINDS = {
    "ssh_command": TransportKind.COMMAND,
    "directport": TransportKind.TCP,
    "unix_socket": TransportKind.UNIX,
    "vsock": TransportKind.VSOCK,
    "passive": TransportKind.PASSIVE,
}
"""The option that gives each transport other than the default."""
