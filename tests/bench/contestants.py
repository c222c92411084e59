"""The file systems compared, each mounted freshly over the same sshd with its defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.mounts import Flavour, Mount, sftpfs_command, sshfs_command
from tests.sshd import Sshd


@dataclass(frozen=True)
class Server:
    """Where everybody connects: sshd itself, or the delay in front of it."""

    sshd: Sshd
    port: int
    known_hosts: Path

    @classmethod
    def at(cls, sshd: Sshd, port: int, directory: Path) -> Server:
        """``sshd`` as reached through ``port``."""
        known_hosts = directory / "known_hosts"
        known_hosts.write_text(f"[{sshd.host}]:{port} {sshd.public_host_key()}\n")
        return cls(sshd, port, known_hosts)

    def ssh_options(self) -> list[str]:
        """``-o`` options for sftpfs and sshfs."""
        return [
            f"port={self.port}",
            f"IdentityFile={self.sshd.client_key}",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            f"UserKnownHostsFile={self.known_hosts}",
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
        ]


def rclone_command(server: Server) -> Flavour:
    """argv for ``rclone mount``, cache mode off: what close acknowledged is on the server."""

    def command(spec: str, mountpoint: str, _options: Sequence[str]) -> list[str]:
        directory = spec.partition(":")[2]
        remote = f":sftp,host={server.sshd.host},port={server.port},user={server.sshd.user}"
        remote += f",key_file={server.sshd.client_key},known_hosts_file={server.known_hosts}:{directory}"
        return ["rclone", "mount", remote, mountpoint, "--config", "/dev/null"]

    return command


MakeFlavour = Callable[[Server], Flavour]

CONTESTANTS: dict[str, MakeFlavour] = {
    "sshfs": lambda _server: sshfs_command,
    "sftpfs": lambda _server: sftpfs_command,
    "rclone": rclone_command,
}


def mount(name: str, server: Server, backing: Path, place: Path, options: Iterable[str] = ()) -> Mount:
    """A fresh mount of ``backing`` by contestant ``name`` at ``place``."""
    return Mount(
        f"{server.sshd.user}@{server.sshd.host}:{backing}",
        place,
        backing,
        [*server.ssh_options(), *options],
        flavour=CONTESTANTS[name](server),
    )
