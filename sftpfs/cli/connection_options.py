"""Rows of the table of options: how the program is run, and how it reaches the server.

Read through ``cli.options``.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpfs.cli import values
from sftpfs.cli.option import Option, Section
from sftpfs.config import TransportKind


def _transport(name: str, field: str, parse: Callable[[str], object], metavar: str, help: str) -> Option:
    return Option(name, help, Section.CONNECTION, (field,), parse, metavar, excludes="transport")


COMMAND = [
    Option("", "show this help and end", Section.COMMAND, flags=("-h", "--help")),
    Option("", "show the version and end", Section.COMMAND, flags=("-V", "--version")),
    Option("", "stay in the foreground, log to stderr", Section.COMMAND, ("foreground",), flags=("-f",)),
    Option(
        "debug",
        "foreground, and log every request to the server",
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
        values.path,
        "FILE",
    ),
]

CONNECTION = [
    Option(
        "port",
        "port to connect to",
        Section.CONNECTION,
        ("endpoint.port",),
        values.port,
        "PORT",
        flags=("-p",),
    ),
    Option(
        "ssh_config",
        "read FILE instead of ~/.ssh/config and /etc/ssh/ssh_config; none: read no file",
        Section.CONNECTION,
        ("transport.ssh_config_file",),
        values.path_or_none,
        "FILE",
        flags=("-F",),
    ),
    Option("", "compress, as Compression=yes", Section.CONNECTION, ("transport.compression",), flags=("-C",)),
    Option(
        "password_stdin",
        "read the password from standard input",
        Section.CONNECTION,
        ("transport.password_stdin",),
    ),
    Option(
        "max_conns",
        "connections to the server at most; further ones are made when bulk data needs them",
        Section.CONNECTION,
        ("pool.max_connections",),
        values.integer(1, 64),
        default="4",
    ),
    Option(
        "timeout",
        "a request without an answer for so long fails",
        Section.CONNECTION,
        ("pool.timeout",),
        values.positive_seconds,
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
        "do not look whether the directory exists on the server",
        Section.CONNECTION,
        ("check_root",),
        constant=False,
    ),
    Option(
        "sftp_server",
        "subsystem, or path of the server program on the remote side",
        Section.CONNECTION,
        ("transport.sftp_server",),
        values.text,
        "NAME",
        default="sftp",
    ),
    _transport(
        "ssh_command",
        "transport.ssh_command",
        values.command,
        "COMMAND",
        "connect with COMMAND, for example ssh",
    ),
    _transport(
        "directport",
        "transport.direct_port",
        values.port,
        "PORT",
        "speak SFTP on a bare TCP port, without SSH",
    ),
    _transport(
        "unix_socket", "transport.unix_path", values.path, "PATH", "speak SFTP on a UNIX socket, without SSH"
    ),
    _transport(
        "vsock", "transport.vsock", values.vsock_address, "CID:PORT", "speak SFTP on a vsock, without SSH"
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
        "max_read",
        "bytes one request reads at most; without it, what the server takes",
        Section.CONNECTION,
        ("pool.max_read",),
        values.integer(512, 1 << 20),
        "BYTES",
    ),
    Option(
        "max_write",
        "bytes one request writes at most; without it, what the server takes",
        Section.CONNECTION,
        ("pool.max_write",),
        values.integer(512, 1 << 20),
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
