"""The configuration of one mount: frozen, validated values. No parsing.

Owns what can be configured, in SI units (bytes, seconds). ``cli`` builds it from argv and ``-o``; every other
room only reads the part that it is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from sftpfs.types import Bandwidth


class SymlinkPolicy(Enum):
    """How symbolic links are shown whose target leaves the mount."""

    CONTAIN = "contain"
    """Targets inside the root work (absolute ones rewritten); escaping ones give EPERM."""
    TRANSFORM = "transform"
    """As CONTAIN for absolute targets inside the root; every other target is passed as it is."""
    PASS = "pass"
    """Targets are passed as they are."""
    FOLLOW = "follow"
    """The server follows them: the mount shows no links."""


class IdMapping(Enum):
    """How remote owners become local ones."""

    NONE = "none"
    USER = "user"
    FILE = "file"
    NAME = "name"


class UnmappedId(Enum):
    """How an id is treated that ``idmap=file`` or ``idmap=name`` does not map (``nomap=``)."""

    ERROR = "error"
    IGNORE = "ignore"


class TransportKind(Enum):
    """Which program or socket brings the byte stream."""

    ASYNCSSH = "asyncssh"
    COMMAND = "command"
    TCP = "tcp"
    UNIX = "unix"
    VSOCK = "vsock"
    PASSIVE = "passive"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``[user@]host:[dir]``; ``directory`` empty means where the server starts us (home)."""

    host: str
    directory: bytes = b""
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return f"{user}{host}:{self.directory.decode(errors='backslashreplace')}"


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """How to reach the server."""

    kind: TransportKind = TransportKind.ASYNCSSH
    ssh_config_file: str | None = None
    """``-F``: None means ~/.ssh/config and /etc/ssh/ssh_config; "none" means no file."""
    ssh_options: tuple[tuple[str, str], ...] = ()
    """ssh_config keywords given with ``-o``, in order; they win over the file."""
    ssh_command: tuple[str, ...] = ()
    """argv of the program for COMMAND; options, host and ``-s sftp`` are appended."""
    sftp_server: str = "sftp"
    """Subsystem name, or a path (then run as a command on the server)."""
    direct_port: int | None = None
    unix_path: str | None = None
    vsock: tuple[int, int] | None = None
    """(context id, port)."""
    compression: bool = False
    password_stdin: bool = False
    keep_taken_keys: bool = True
    """Write host keys into known_hosts that were accepted although nobody confirmed them, as ssh does."""
    connect_timeout: float = 20.0
    keepalive_interval: float = 15.0
    keepalive_count: int = 3
    debug: bool = False


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Connections and deadlines."""

    max_connections: int = 4
    timeout: float = 30.0
    """Seconds after which a request without an answer fails."""
    hard: bool = False
    """Wait for a lost server for ever, instead of ``timeout`` seconds."""
    reconnect: bool = True
    """Requests and open files survive the loss of a connection; otherwise they fail with it."""
    max_read: int | None = None
    max_write: int | None = None
    bandwidth: Bandwidth = field(default_factory=Bandwidth)
    several_handles: bool = True
    """A large file may be opened on several connections; otherwise each OPEN is one that a program asked for
    (``no_readahead``)."""

    @property
    def patience(self) -> float:
        """Seconds an operation waits for a lost server to come back."""
        return math.inf if self.hard else self.timeout


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Metadata leases, in seconds (sshfs's dcache_* options)."""

    enabled: bool = True
    stat_timeout: float = 20.0
    directory_timeout: float = 20.0
    link_timeout: float = 20.0
    negative_timeout: float = 20.0
    max_entries: int = 10000
    """Bounds the names kept beyond those the kernel holds: of those known to be missing, and of those no
    program uses."""
    entry_timeout: float | None = None
    """Upper bound for what the kernel may keep; None follows the lease."""
    attribute_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class DataConfig:
    """File content."""

    cache_bytes: int = 48 << 20
    """Clean chunks kept in memory over all files."""
    dirty_bytes: int = 32 << 20
    """Bytes accepted from writers and not yet acknowledged by the server."""
    read_ahead: bool = True
    read_ahead_bytes: int = 32 << 20
    """Upper bound of bytes asked for ahead over all files."""
    synchronous_writes: bool = False
    """``sshfs_sync``: every write waits for the server."""
    direct_io: bool = False
    kernel_cache: bool = False
    """Keep the kernel's pages across opens whatever the server says (sshfs's kernel_cache)."""
    auto_cache: bool = True


@dataclass(frozen=True, slots=True)
class OwnershipConfig:
    """Owners, groups and permission bits shown and set."""

    id_mapping: IdMapping = IdMapping.USER
    uid_file: str | None = None
    gid_file: str | None = None
    unmapped: UnmappedId | None = None
    """None: ERROR with FILE, as sshfs has it, and IGNORE with NAME: most servers have users nobody knows."""
    uid: int | None = None
    gid: int | None = None
    umask: int | None = None


@dataclass(frozen=True, slots=True)
class NamesConfig:
    """What character sets names are in."""

    modules: tuple[str, ...] = ()
    """``iconv``: they are converted."""
    from_code: str = "UTF-8"
    """On the server."""
    to_code: str | None = None
    """Here; set if names are converted."""


@dataclass(frozen=True, slots=True)
class FuseConfig:
    """The options for the kernel and libfuse."""

    allow_other: bool = False
    allow_root: bool = False
    default_permissions: bool | None = None
    """None: on exactly when others may enter the mount."""
    read_only: bool = False
    filesystem_name: str | None = None
    subtype: str = "sftpfs"
    passthrough: tuple[str, ...] = ()
    """Options handed to libfuse as they are (nosuid, nodev, max_background=N, ...)."""

    @property
    def kernel_judges(self) -> bool:
        """The kernel decides by owners and mode bits, before the server is asked."""
        if self.default_permissions is not None:
            return self.default_permissions
        return self.allow_other or self.allow_root


@dataclass(frozen=True, slots=True)
class MountConfig:
    """Everything about one mount."""

    endpoint: Endpoint
    mountpoint: str
    transport: TransportConfig = field(default_factory=TransportConfig)
    pool: PoolConfig = field(default_factory=PoolConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    data: DataConfig = field(default_factory=DataConfig)
    ownership: OwnershipConfig = field(default_factory=OwnershipConfig)
    names: NamesConfig = field(default_factory=NamesConfig)
    fuse: FuseConfig = field(default_factory=FuseConfig)
    symlinks: SymlinkPolicy = SymlinkPolicy.CONTAIN
    hard_links: bool = True
    check_root: bool = True
    delay_connect: bool = False
    foreground: bool = False
    debug: bool = False
    verbose: bool = False
    log_file: str | None = None
