"""Who is compared: file systems, each mounted freshly over the same sshd, and the plain tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import own_commands
from tests.harness.mounts import Flavour, Mount, sftpfs_command, sshfs_command
from tests.sshd import Sshd


@dataclass(frozen=True, slots=True)
class Server:
    """Where everybody connects: sshd itself, or the delay in front of it."""

    sshd: Sshd
    port: int
    known_hosts: Path

    @classmethod
    def at(cls, sshd: Sshd, port: int, directory: Path) -> Server:
        """``sshd`` as reached through ``port``."""
        known_hosts = directory / f"known_hosts_{port}"
        known_hosts.write_text(f"[{sshd.host}]:{port} {sshd.public_host_key()}\n")
        return cls(sshd, port, known_hosts)

    @property
    def user_and_host(self) -> str:
        """As ssh, rsync and the mounts take it."""
        return f"{self.sshd.user}@{self.sshd.host}"

    def keywords(self) -> list[str]:
        """ssh_config keywords with which a client gets in without a question."""
        return [
            f"IdentityFile={self.sshd.client_key}",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            f"UserKnownHostsFile={self.known_hosts}",
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
        ]

    def ssh_words(self) -> list[str]:
        """Options for ssh and scp, the port as a keyword too."""
        words = ["-F", "/dev/null", "-o", f"Port={self.port}"]
        for keyword in self.keywords():
            words += ["-o", keyword]
        return words


def rclone_command(server: Server) -> Flavour:
    """argv for ``rclone mount``, cache mode off: what close acknowledged is on the server."""

    def command(spec: str, mountpoint: str, _options: Sequence[str]) -> list[str]:
        directory = spec.partition(":")[2]
        remote = f":sftp,host={server.sshd.host},port={server.port},user={server.sshd.user}"
        remote += f",key_file={server.sshd.client_key},known_hosts_file={server.known_hosts}:{directory}"
        return ["rclone", "mount", remote, mountpoint, "--config", "/dev/null"]

    return command


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One that mounts; ``options`` beside those that get in."""

    flavour: Callable[[Server], Flavour]
    options: tuple[str, ...] = ()


TUNED = ("Ciphers=aes128-gcm@openssh.com", "cache_timeout=600", "max_conns=4", "kernel_cache")
"""What people who measured recommend for sshfs."""

FILE_SYSTEMS = {
    "sftpfs": FileSystem(lambda _server: sftpfs_command),
    own_commands.NAME: FileSystem(lambda _server: sftpfs_command),
    "sshfs": FileSystem(lambda _server: sshfs_command),
    "sshfs-tuned": FileSystem(lambda _server: sshfs_command, TUNED),
    "rclone": FileSystem(rclone_command),
}


def mount(name: str, server: Server, backing: Path, place: Path, options: Iterable[str] = ()) -> Mount:
    """A fresh mount of ``backing`` by file system ``name`` at ``place``."""
    one = FILE_SYSTEMS[name]
    return Mount(
        f"{server.user_and_host}:{backing}",
        place,
        backing,
        [f"port={server.port}", *server.keywords(), *one.options, *options],
        flavour=one.flavour(server),
    )
