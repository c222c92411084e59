"""SFTP servers that are not OpenSSH's, or are told to do less: each on a port of 127.0.0.1, with own keys.

Every one runs in a mount namespace rid of FUSE mounts, for the reason ``harness.namespaces`` gives.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness import processes
from tests.harness.command import environment
from tests.harness.namespaces import apart
from tests.harness.waiting import eventually
from tests.sshd import SFTP_SERVER, Sshd, free_port, generate_key

PLAIN = "posix-rename,statvfs,fstatvfs,hardlink,fsync,lsetstat,limits,expand-path,copy-data,home-directory"
"""OpenSSH without its extensions is a server of the protocol as it was drafted."""

NEEDED = (
    "open,close,read,write,lstat,fstat,stat,setstat,fsetstat,opendir,readdir,remove,mkdir,rmdir,realpath,"
    "rename,readlink,symlink"
)
"""What version 3 of the protocol has."""

START_LIMIT = 30.0

Options = list[str]


class _Server:
    """Keys and directory of a server; ``options`` let a mount in."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.port = free_port()
        self.host_key = generate_key(directory / "host_key")
        self.client_key = generate_key(directory / "client_key")
        self.public_key = self.client_key.with_suffix(".pub")
        self.known_hosts = directory / "known_hosts"

    def options(self) -> Options:
        """``-o`` options of a mount."""
        kind, key = self.host_key.with_suffix(".pub").read_text().split()[:2]
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        return [
            f"port={self.port}",
            f"IdentityFile={self.client_key}",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            f"UserKnownHostsFile={self.known_hosts}",
            "GlobalKnownHostsFile=/dev/null",
        ]

    @contextmanager
    def running(self, script: str, *words: object) -> Iterator[Options]:
        """Run a shell script that ends in ``exec`` of the server."""
        with open(self.directory / "log", "wb") as log:
            process = subprocess.Popen(
                [*apart(script), *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                start_new_session=True,
            )
        try:
            eventually(lambda: self._listens(process), START_LIMIT, "the server listens")
            yield self.options()
        finally:
            processes.kill_tree(process.pid)
            process.wait()

    def _listens(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, (self.directory / "log").read_text()
        wanted = f"0100007F:{self.port:04X} 00000000:0000 0A"
        return wanted in Path("/proc/net/tcp").read_text()


DROPBEAR = """
mount -t tmpfs -o mode=700 tmpfs /root
mkdir -m 700 /root/.ssh
cp "$1" /root/.ssh/authorized_keys
exec dropbear -F -E -s -r "$2" -p "127.0.0.1:$3" -P "$2.pid"
"""


@contextmanager
def dropbear(directory: Path) -> Iterator[Options]:
    """dropbear, which starts OpenSSH's sftp-server."""
    server = _Server(directory)
    key = directory / "dropbear_key"
    made = subprocess.run(
        ["dropbearkey", "-t", "ed25519", "-f", str(key)], capture_output=True, text=True, check=True
    )
    public = next(line for line in made.stdout.splitlines() if line.startswith("ssh-"))
    server.host_key.with_suffix(".pub").write_text(public)
    with server.running(DROPBEAR, server.public_key, key, server.port) as options:
        yield options


ASYNCSSH = """
import asyncio, sys
import asyncssh
async def main(port, host_key, clients):
    server = await asyncssh.listen("127.0.0.1", int(port), server_host_keys=[host_key],
        authorized_client_keys=clients, sftp_factory=True, allow_scp=False)
    await server.wait_closed()
asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def asyncssh_server(directory: Path) -> Iterator[Options]:
    """asyncssh's own server, which speaks more versions of SFTP than three."""
    server = _Server(directory)
    script = 'exec "$@"'
    words = (sys.executable, "-c", ASYNCSSH, server.port, server.host_key, server.public_key)
    with server.running(script, *words) as options:
        yield options


PROFTPD = """
LoadModule mod_sftp.c
ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
Port {port}
User root
Group root
UseReverseDNS off
AuthOrder mod_auth_file.c
AuthUserFile {directory}/passwd
RequireValidShell off
RootLogin on
UseFtpUsers off
DefaultRoot /
AllowOverwrite on
AllowStoreRestart on
WtmpLog off
PidFile {directory}/pid
ScoreboardFile {directory}/scoreboard
DelayEngine off
SFTPEngine on
SFTPLog {directory}/sftp.log
SFTPHostKey {directory}/host_key
SFTPAuthorizedUserKeys file:{directory}/keys
SFTPAuthMethods publickey
"""


@contextmanager
def proftpd(directory: Path) -> Iterator[Options]:
    """ProFTPD's mod_sftp: a server of its own making."""
    server = _Server(directory)
    (directory / "proftpd.conf").write_text(PROFTPD.format(port=server.port, directory=directory))
    passwd = directory / "passwd"
    passwd.write_text(f"root:*:0:0::{directory}:/bin/sh\n")
    passwd.chmod(0o600)
    command = ["ssh-keygen", "-e", "-f", str(server.public_key)]
    (directory / "keys").write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    with server.running('exec proftpd -n -q -c "$1"', directory / "proftpd.conf") as options:
        yield options


@contextmanager
def openssh(directory: Path, limits: str) -> Iterator[Options]:
    """OpenSSH with ``sftp-server``'s -P or -p."""
    with Sshd(directory, subsystem=f"{SFTP_SERVER} {limits}") as server:
        options = [f"{name}={value}" for name, value in server.ssh_options() if name != "User"]
        yield [f"port={server.port}", *options]


SERVERS: dict[str, Callable[[Path], object]] = {
    "dropbear": dropbear,
    "asyncssh": asyncssh_server,
    "proftpd": proftpd,
    "openssh-P": lambda directory: openssh(directory, f"-P {PLAIN}"),
    "openssh-p": lambda directory: openssh(directory, f"-p {NEEDED}"),
}
