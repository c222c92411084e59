"""The list of servers, by the names the command line and the tables have."""

from __future__ import annotations

from tests.servers import daemons, libraries, openssh
from tests.servers.server import Server

SERVERS: dict[str, type[Server]] = {
    "openssh": openssh.OpenSsh,
    "openssh-umask-077": openssh.Umask077,
    "openssh-P-extensions": openssh.NoExtensions,
    "openssh-p-draft": openssh.DraftOnly,
    **{f"openssh-P-{requests}": openssh.refusing(requests) for requests in openssh.REFUSABLE},
    "dropbear": daemons.Dropbear,
    "tinysshd": daemons.Tinysshd,
    "proftpd": daemons.Proftpd,
    "proftpd-store-restart": daemons.ProftpdStoreRestart,
    "proftpd-hidden-stores": daemons.ProftpdHiddenStores,
    "proftpd-default-root": daemons.ProftpdDefaultRoot,
    "gesftpserver": openssh.Gesftpserver,
    "mysecureshell": openssh.MySecureShell,
    "lsh": openssh.LshSftp,
    "erlang": daemons.Erlang,
    "conch": libraries.Conch,
    "paramiko": libraries.Paramiko,
    "asyncssh": libraries.Asyncssh,
    "ssh2": libraries.NodeSsh2,
    "go": daemons.Go,
    "rclone": daemons.Rclone,
    "rclone-writes": daemons.RcloneWrites,
    "perl": openssh.Perl,
}
"""Name → how it is started."""
